"""Lines of a report that never tell a reason: fields of the mail that came back, whom to ask, who wrote the notice.

In a dozen languages; by whole lines, so that a reason on the same line stays.
Not here: which paragraph is about whom (stanzas.py).
"""

from omicard_relay.bounce.says import Says

__all__ = ["without_noise"]

# Lines beside the reason: fields of the mail that came back, whom to ask, who wrote the notice.
_NOISE = Says(
    r"^\W{0,10}(?:(?:the |your )?(?:message |mail |e-?mail )?(?:subject|date|message[ -]?id|sent)|betreff|datum"
    r"|objet|sujet|asunto"
    r"|fecha|assunto|oggetto|onderwerp|ämne|emne|temat|předmět|konu|тема|дата|主旨|主題|主题|标题|標題|日期"
    r"|寄件日期|郵件主旨|邮件主题"
    r"|件名|題名|送信日時|제목|날짜|본문 ?시각|보낸 ?시각)\s{0,5}[:：|]",
    r"^\W{0,10}(?:(?:the |your |envelope |mail |header )?(?:from|sender)|absender|von|expéditeur|de|remitente"
    r"|remetente|mittente|afzender"
    r"|avsändare|nadawca|отправитель|寄件者|寄件人|发件人|發件人|差出人|送信者|발신자|보낸 ?사람)\s{0,5}[:："
    r"|]\s{0,5}<?[^\s@]{1,128}@\S{1,255}\s{0,5}$",
    r"do not (?:reply|answer|respond) to this|^\W{0,5}please (?:reply|respond|write) to "
    r"|feel this message to be in error"
    r"|^\W{0,5}(?:need (?:a hand|help)\?|questions?\?|(?:bei |noch )?fragen[?:]|vragen\?|des questions ?\?"
    r"|domande\?|dudas\?|dúvidas\?)",
    r"請勿(?:直接)?回[覆復]|请勿(?:直接)?回复|返信しないで|返信はできません|회신(?:하지|은|이)|如有(?:任何)?(?:疑問"
    r"|问题|疑问|問題)|お問い合わせ(?:は|先)"
    r"|(?:自動|自动)(?:通知|發[送出]|发[送出]|產生)",
)


def without_noise(words: str) -> str:
    """The words without the lines that never tell a reason."""
    if not _NOISE(words):
        return words
    return "\n".join(line for line in words.split("\n") if not _NOISE(line))
