"""The words of closed sets (states, actions, scrub steps, outcomes, lists) as people read them; English is the word itself.

JSON output never comes by here: programs get the words as they are stored.
"""

from omicard_relay.cli.language import current_language

__all__ = ["shown"]

_CHINESE = {
    # What to do, see mail.Action.
    "return": "退信",
    "retry": "休息後重送",
    "alert": "警示",
    # where a recipient stands (mail.RecipientState)
    "handing-over": "交付中",
    "queued": "排隊中",
    "resting": "休息中",
    "delivered": "送達",
    "returned": "已退信",
    "dropped": "發信前剔除",
    "refused": "遭自己的 Postfix 拒絕",
    "not-taken": "暫未收下",
    # scrub steps and lists
    "syntax": "無效信箱",
    "duplicate": "重複",
    "unsubscribed": "取消訂閱",
    "blacklist": "黑名單",
    "whitelist": "白名單",
    "known-bounce": "已知退信",
    # outcomes of an attempt (mail.Outcome), and what a report says (RFC 3464 §2.3.3)
    "sent": "已送出",
    "deferred": "延遲",
    "bounced": "被退",
    "expired": "逾時",
    "rejected": "被拒",
    "failed": "失敗",
    "delayed": "延遲",
    "relayed": "已轉交",
    "expanded": "已展開",
    # events of a history
    "attempt": "嘗試",
    "rest": "休息",
    "bounce": "退信郵件",
    "echo": "本機退信通知",
    "autoreply": "自動回覆",
    "decision": "決定",
    "scrub": "發信前檢查",
    "list": "名單",
    "kept": "通過",
    "add": "加入",
    "remove": "移除",
    "observe": "觀察",
    "act": "執行",
    "abuse": "檢舉",
}


def shown(word: str | None) -> str:
    """The word in the chosen language; a word that is in no set stays as it is, None is empty."""
    if word is None:
        return ""
    return _CHINESE.get(word, word) if current_language() == "zh-TW" else word
