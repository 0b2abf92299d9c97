"""Whether a mail's sender is a system rather than a person, by its address and name: `noreply@`, `mailgw@`, "Mail Gateway".

Weaker than `Letter.from_daemon`: shops and newsletters write from such addresses too, so it counts beside other marks only.
"""

import re

from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.says import Says

__all__ = ["is_system"]

_LOCAL = re.compile(
    r"(?:no|do-?not|dont|never|ne-?pas|nicht|nao|non|niet)[-_.]?(?:reply|respond|answer|repondre|antworten|responder|rispondere)"
    r"|noreply|no-responder|nepasrepondre|(?:auto|system|robot|bot|daemon|root|www-data|apache|nobody|mail|smtp|mx|relay|router"
    r"|gateway|gw|mailgw|mailgate|mailgateway|filter|antispam|spam|virus|quarantine|sniper|secmail|secure|notif|alert|admin"
    r"|administrator|it|edv|helpdesk|hostmaster|webmaster|posta-certificata|listserv|majordomo|list|server|mailer|bounce)"
    r"(?:$|[-_.\d])|.{0,30}(?:admin|daemon|system|gateway|mailgw|notify|notification|filter|robot|2sms|autoreply|autoresponder)$",
    re.I,
)
_NAME = Says(
    r"gateway|mail ?(?:system|server|router|filter|guard|marshal)|\bserver\b|no.?reply|e-?mail system|postmaster|antispam"
    r"|(?:security|secure) mail|administrator|passerelle|messagerie|relais|serveur|servidor|correo|serwer|шлюз|сервер|система"
    r"|почтов|系統|系统|閘道|网关|計算機中心|网络中心|網路中心|資訊中心|伺服器|服务器|システム|サーバ|게이트웨이|시스템|서버"
)


def is_system(letter: Letter) -> bool:
    """Whether From names a program, a service's own address or a mail system."""
    if letter.from_daemon:
        return True
    local = letter.sender.partition("@")[0]
    return _LOCAL.match(local) is not None or _NAME(letter.head.get("from")[:300])
