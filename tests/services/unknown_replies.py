"""Invented replies that no rule knows: thirty templates in several languages, each with what changes from mail to mail.

Some share most of their words and differ in the cause alone; some hold names, which must not be taken for causes.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Draw = random.Random


def _hex(draw: Draw, length: int) -> str:
    return "".join(draw.choice("0123456789ABCDEF") for _ in range(length - 1)) + "7"


def _long_id(draw: Draw) -> str:
    return "4" + "".join(draw.choice("bcdfghjklmnpqrstvwxyzBCDFGHJKLMNPQRSTVWXYZ0123456789") for _ in range(13)) + "9"


def _ip(draw: Draw) -> str:
    return draw.choice(
        (
            f"192.0.2.{draw.randint(1, 254)}",
            f"198.51.100.{draw.randint(1, 254)}",
            f"2001:db8::{draw.randint(1, 9)}:{draw.randint(1, 99)}",
        )
    )


def _host(draw: Draw) -> str:
    domain = draw.choice(("example.com", "example.net", "mail.example.org"))
    return f"{draw.choice(('mx', 'in', 'gate', 'smtp-in'))}{draw.randint(1, 40)}.{domain}"


_NAME_TEXT = """
kowalski nguyen schmidt tanaka oyelaran garcia rossi petrov
lindqvist haddad moreau okafor silva novak jansen dubois
"""
_NAMES = _NAME_TEXT.split()


def _name(draw: Draw) -> str:
    return draw.choice(_NAMES) + draw.choice(("", "", "er", "ova", "ez", "sen", "ovic", "ini", "ian"))


def _date(draw: Draw) -> str:
    day, month = draw.randint(1, 28), draw.choice(("Oct", "Nov", "Dec"))
    clock = f"{draw.randint(0, 23):02}:{draw.randint(0, 59):02}:{draw.randint(0, 59):02}"
    return draw.choice(
        (
            f"{draw.choice(('Mon', 'Tue', 'Fri'))}, {day} {month} 2026 {clock} +0800 (CST)",
            f"2026-11-{day:02}T{clock}Z",
            f"{day} {month} 2026 {clock}",
        )
    )


#: Place in a template -> what is drawn for it.
FIELDS: dict[str, Callable[[Draw], str]] = {
    "ip": _ip,
    "host": _host,
    "name": _name,
    "date": _date,
    "hex": lambda draw: _hex(draw, draw.choice((10, 11, 12))),
    "id": _long_id,
    "exim": lambda draw: (
        f"1t{draw.randint(100, 999)}Ab-0000{draw.randint(10, 99)}xQ-{draw.choice('ABC')}{draw.choice('xyz')}"
    ),
    "n": lambda draw: str(draw.choice((3, 60, 300, 900, 3600, draw.randint(1, 99_999)))),
    "link": lambda draw: f"https://help.example.com/q?ip=192.0.2.{draw.randint(1, 254)}&t={_hex(draw, 8)}",
}


@dataclass(frozen=True)
class Origin:
    """A template and how many replies were made by it."""

    template: str
    count: int


#: `{to}` is the recipient's address.
ORIGINS = tuple(
    Origin(template, 160 - 5 * place if place < 10 else 110 - 3 * (place - 10))
    for place, template in enumerate(
        (
            "550 5.7.1 <{to}>: zebra gate {host} shut for {ip} (ref {hex})",
            "421 4.7.0 {host} lantern dimmed; relight after {n} seconds [{id}]",
            "554 the drawbridge of {host} lifted at {date}, ask for toll {link}",
            "550 5.7.1 letters from {ip} drown in our moat, log {exim}",
            "451 4.3.0 <{to}>: Quartermaster could not find a shelf, {id}",
            # one frame, three causes
            "550 {host} parcel sent back because the pigeonhole is asleep ({hex})",
            "550 {host} parcel sent back because the courier is banished ({hex})",
            "550 {host} parcel sent back because the wax seal is broken ({hex})",
            # names of people
            "550 account of {name} hibernates until spring",
            "554 5.0.0 our clerk {name} has put your scroll into the fire",
            "450 4.2.0 <{to}>: {name} travels by camel, come again in {n} days",
            # a number that names the cause
            "554 5.7.0 tollkeeper verdict, error 17 ({id})",
            "554 5.7.0 tollkeeper verdict, error 23 ({id})",
            # a provider's own marks
            "550 QX417 crate from {ip} refused at dock",
            "550 QX552 crate from {ip} refused at dock",
            "550 來自{ip}的信件掉進河裡，請洽河神 {link}",
            "550 收件者{to}的信箱正在孵蛋，{n}天後再試",
            "554 来自{ip}的包裹被龙吃掉了({hex})",
            "550 5.7.1 {ip}からの手紙は忍者に奪われました ({id})",
            "451 {to} の郵便受けは冬眠中です。{n} 秒後にもう一度",
            "550 {ip}에서 온 편지는 호랑이가 먹었습니다 ({hex})",
            "550 5.7.1 Ihr Brief von {ip} wurde vom Kobold versteckt, Zeichen {id}",
            "450 Der Briefkasten von {name} liegt im Winterschlaf, bitte in {n} Minuten",
            "550 5.7.1 Votre pli depuis {ip} dort au fond du puits, voir {link}",
            "554 La carta de {ip} fue devorada por un dragon, caso {hex}",
            "550 A carta vinda de {ip} caiu no poço, protocolo {n}",
            "550 5.7.1 Письмо с {ip} съел медведь, номер {id}",
            "550-5.7.1 [{ip}] The owls of {host} are on strike since {date}.\n550-5.7.1 Ask the owlery at\n"
            "550 5.7.1 {link} {exim} - owlmail",
            "host {host}[{ip}] said: 552 5.2.0 <{to}> the burrow of this badger is crowded (in reply to RCPT TO command)",
            "lighthouse keeper hung up on {host}[{ip}] while trimming the wick",
        )
    )
)


@dataclass(frozen=True)
class Made:
    """One reply, its template's place in ORIGINS, and its recipient."""

    origin: int
    text: str
    recipient: str


def made_replies(seed: int = 4) -> list[Made]:
    """All of them, well mixed; the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311 - a stream that is the same every time
    replies = [Made(origin, *_made(one.template, draw)) for origin, one in enumerate(ORIGINS) for _ in range(one.count)]
    draw.shuffle(replies)
    return replies


def _made(template: str, draw: Draw) -> tuple[str, str]:
    to = f"{_name(draw)}.{draw.randint(1, 999)}@{draw.choice('abcdefgh')}{draw.randint(1, 30)}.example"
    fields = {name: make(draw) for name, make in FIELDS.items()}
    return template.format(to=to, **fields), to


def as_lines(replies: list[Made]) -> Iterator[bytes]:
    """The replies as lines of JSON."""
    import json

    for one in replies:
        yield json.dumps({"text": one.text, "recipient": one.recipient}, ensure_ascii=False).encode() + b"\n"
