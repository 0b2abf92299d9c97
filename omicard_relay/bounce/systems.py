"""Whether a mail's sender is a system rather than a person, by its address and name: `noreply@`, `mailgw@`, "Mail Gateway".

Weaker than `Letter.from_daemon`: shops and newsletters write from such addresses too, so it counts beside other marks only.
"""

import re

from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.says import Says

__all__ = ["is_by_person", "is_system"]

_LOCAL = re.compile(
    r"(?:no|do-?not|dont|never|ne-?pas|nicht|nao|non|niet)[-_.]?(?:reply|respond|answer|repondre|antworten"
    r"|responder|rispondere)"
    r"|noreply|no-responder|nepasrepondre|(?:auto|system|robot|bot|daemon|root|www-data|apache|nobody|mail|smtp|mx"
    r"|relay|router"
    r"|gateway|gw|mailgw|mailgate|mailgateway|filter|antispam|spam|virus|quarantine|sniper|secmail|secure|notif"
    r"|alert|admin"
    r"|administrator|it|edv|helpdesk|hostmaster|webmaster|posta-certificata|listserv|majordomo|list|server|mailer"
    r"|bounce"
    r"|digest|spamdigest|quarantines?|spamreport|reports?|monitor|probe|watchdog|cron|nagios|zabbix)"
    r"(?:$|[-_.\d])|.{0,30}(?:admin|daemon|system|gateway|mailgw|notify|notification|filter|robot|2sms|autoreply"
    r"|autoresponder)$",
    re.I,
)
_NAME = Says(
    r"gateway|mail ?(?:system|server|router|filter|guard|marshal)|\bserver\b|no.?reply|e-?mail system|postmaster"
    r"|antispam"
    r"|(?:security|secure) mail|administrator|passerelle|messagerie|relais|serveur|servidor|correo|serwer|шлюз"
    r"|сервер|система"
    r"|почтов|系統|系统|閘道|网关|計算機中心|网络中心|網路中心|資訊中心|伺服器|服务器|システム|サーバ|게이트웨이"
    r"|시스템|서버"
)

# Mail programs that people write with; systems fill X-Mailer too.
_PROGRAMS = Says(
    r"outlook|apple mail|(?:iphone|ipad|ios|android) mail|foxmail|thunderbird|the bat|eudora|kmail|evolution|mutt"
    r"|pine|zimbra|roundcube"
    r"|squirrelmail|horde|airmail|spark|mailspring|em client|becky|shuriken|al-?mail|lotus notes|hcl notes|webmail"
    r"|yahoomail|live mail"
    r"|sylpheed|claws"
)


def is_by_person(letter: Letter) -> bool:
    """Whether a person's mail program wrote it, with a reverse-path that takes an answer."""
    program = letter.head.get("x-mailer") or letter.head.get("user-agent")
    return bool(program) and not letter.null_reverse_path and _PROGRAMS(program[:200])


def is_system(letter: Letter) -> bool:
    """Whether From names a program, a service's own address or a mail system."""
    if letter.from_daemon:
        return True
    local = letter.sender.partition("@")[0]
    return _LOCAL.match(local) is not None or _NAME(letter.head.get("from")[:300])
