"""The texts of `omicard-relay postfix`, in both languages; importing the module registers them.

Apart from cli/postfix.py only so that both files stay short.
"""

from omicard_relay.cli.language import register

__all__: list[str] = []

register(
    {
        "postfix.no-domain": (
            "left out, `return_path.domain` is not set.",
            "略過，尚未設定 `return_path.domain`。",
        ),
        "postfix.no-ip": ("left out, there is no `[[steer.ip]]`.", "略過，尚未設定 `[[steer.ip]]`。"),
        "postfix.option": (
            "the entry of {command} gets this at its end: {words}",
            "在 {command} 的設定行末尾加上：{words}",
        ),
        "postfix.table": (
            "first of all, make the table that Postfix reads: omicard-relay steer expire (it is {path}.lmdb)",
            "請先建立 Postfix 讀取的表：omicard-relay steer expire（即 {path}.lmdb）",
        ),
        "postfix.units": ("systemd units: {path}", "systemd 單元檔：{path}"),
        "postfix.copy": ("a program", "程式"),
        "postfix.join-first": (
            "{name} is a list: put this before what stands there.",
            "{name} 是清單：把這一項放在原有項目之前。",
        ),
        "postfix.join-last": (
            "{name} is a list: put this after what stands there.",
            "{name} 是清單：把這一項放在原有項目之後。",
        ),
        "postfix.join-last-if-set": (
            "{name}: only when it has a value already; put this after it.",
            "{name}：只在原本已有值時，才把這一項加在後面。",
        ),
        "postfix.name-one": (
            "nothing is installed yet; name what to install with --with: {names}.",
            "尚未安裝任何片段；請用 --with 指定要安裝的：{names}。",
        ),
        "postfix.check-what": (
            "{folder}: nothing is installed by this program; name what was pasted with --with: {names}.",
            "{folder}：沒有由本程式安裝的片段；請用 --with 指定您貼上的片段：{names}。",
        ),
        "postfix.nothing": (
            "{folder}: everything is in place, nothing was changed.",
            "{folder}：一切就緒，沒有任何變更。",
        ),
        "postfix.not-installed": ("{folder}: nothing of this is installed.", "{folder}：沒有安裝這些片段。"),
        "postfix.would": ("Would change:", "將會變更："),
        "postfix.did": ("Changed:", "已變更："),
        "postfix.not-set": ("(not set)", "（未設定）"),
        "postfix.change": (
            "{target}: {name}\n    was {before}\n    is  {after}",
            "{target}：{name}\n    原為 {before}\n    現為 {after}",
        ),
        "postfix.change-gone": (
            "{target}: {name}\n    was {before}\n    is  gone",
            "{target}：{name}\n    原為 {before}\n    現已移除",
        ),
        "postfix.file-new": ("{target}: {name} written", "{target}：已寫入 {name}"),
        "postfix.file-gone": ("{target}: {name} deleted", "{target}：已刪除 {name}"),
        "postfix.left": (
            "{target}: {name} was changed by somebody since; it is left as it is.",
            "{target}：{name} 之後被人改過，保留現狀。",
        ),
        "postfix.left-file": (
            "{target}: {name} was changed by somebody since, or is still in use; it is left as it is.",
            "{target}：{name} 之後被人改過或仍在使用，保留現狀。",
        ),
        "postfix.warning": ("postfix check says: {line}", "postfix check 提醒：{line}"),
        "postfix.undo": (
            "To undo: omicard-relay postfix remove --config-dir {folder}{chosen}\n(the files as they were: {backup})",
            "復原：omicard-relay postfix remove --config-dir {folder}{chosen}\n（原始檔案：{backup}）",
        ),
        "postfix.removed": ("The files as they were: {backup}", "原始檔案：{backup}"),
        "postfix.requeue": (
            "Mails that still wait for the relay keep waiting for it; after the reload, this sends them on without it: "
            "postsuper -c {folder} -r ALL",
            "仍在等候 relay 的郵件會繼續等候；重新載入後，執行此指令可不經 relay 送出：postsuper -c {folder} -r ALL",
        ),
        "postfix.reloaded": ("Postfix was reloaded.", "Postfix 已重新載入。"),
        "postfix.reload-next": (
            "Next step, at once: postfix -c {folder} reload",
            "下一步，請立即執行：postfix -c {folder} reload",
        ),
        "postfix.column-state": ("State", "狀態"),
        "postfix.column-about": ("What", "項目"),
        "postfix.column-detail": ("Detail", "說明"),
        "postfix.state-ok": ("ok", "正常"),
        "postfix.state-missing": ("missing", "缺少"),
        "postfix.state-differs": ("differs", "不同"),
        "postfix.state-wrong": ("wrong", "有誤"),
        "postfix.state-note": ("note", "提醒"),
        "postfix.detail-missing": ("should be {wanted}", "應為 {wanted}"),
        "postfix.detail-differs": ("is {found}; should be {wanted}", "目前為 {found}；應為 {wanted}"),
        "postfix.check-good": ("Everything is as it should be.", "一切正常。"),
        "postfix.check-bad": (
            "Not as they should be: {number}.",
            "不符的項目：{number}。",
        ),
        "postfix.check-values": (
            "`omicard-relay postfix install` puts values right, with --replace also those that somebody changed.",
            "`omicard-relay postfix install` 可修正設定值（加上 --replace，連同被人改過的）。",
        ),
        "postfix.fact-version": ("Postfix's version, at least", "Postfix 版本（最低）"),
        "postfix.fact-queue-ids": ("enable_long_queue_ids holds", "enable_long_queue_ids 生效值"),
        "postfix.fact-listening-relay": ("the relay listens", "relay 正在監聽"),
        "postfix.fact-listening-reinject": ("Postfix listens for the relay", "Postfix 正在監聽 relay 的回送"),
        "postfix.fact-listening-ingest": ("the ingest service listens", "ingest 服務正在監聽"),
        "postfix.fact-xforward": ("the relay may send XFORWARD", "relay 可使用 XFORWARD"),
        "postfix.fact-size-limit": (
            "Postfix's message_size_limit is below relay.size_limit",
            "Postfix 的 message_size_limit 小於 relay.size_limit",
        ),
        "postfix.fact-route": ("a bounce finds its way", "退信的路由"),
        "postfix.fact-lmdb": ("Postfix can read LMDB tables", "Postfix 可讀取 LMDB 表"),
        "postfix.fact-steer-table": ("the exceptions table is there", "例外表已存在"),
        "postfix.fact-steer-first": (
            "the exceptions table is not the first in transport_maps",
            "例外表不是 transport_maps 的第一項",
        ),
        "postfix.fact-listening-steer": ("the status filter listens", "狀態過濾器正在監聽"),
        "postfix.fact-steer-address": ("this machine has the IP", "本機擁有此 IP"),
        "postfix.fact-pipe-starts": ("the pipe's command starts as its user", "pipe 指令能以其使用者啟動"),
        "postfix.fact-pipe-client": ("the pipe's light client starts as its user", "pipe 的輕量程式能以其使用者啟動"),
        "postfix.fact-pipe-config": ("the pipe's user may read the configuration", "pipe 的使用者可讀取設定檔"),
    }
)
