"""Mails that only look like reports: newsletters about bounces, and spam in a bounce's clothes -> `not-a-bounce`.

Asked after the standard forms and before those in plain text. A newsletter has RFC 2369's List-Unsubscribe, or comes from an
ordinary address by an ordinary reverse-path (RFC 3464 §2: a report has the null one). A person who is the postmaster writes by
a person's mail program. Spam asks to click: "release your
pending messages", "verify your mailbox" (policies/formats/responders.toml), and quotes no reply to a mail of ours.
Known limits: a lure by the null reverse-path that also quotes a reply code is read as the report that it pretends to be;
without our signed reverse-path it changes no list (mail/evidence.py, Trust).
"""

import re

from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.recipients import our_addresses
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.says import Says
from omicard_relay.bounce.systems import is_by_person
from omicard_relay.bounce.text import addresses_in, first_address
from omicard_relay.mail import MailKind
from omicard_relay.tables.responders import Means, Responders

__all__ = ["Decoy"]

#: Characters of the text in which a lure is looked for.
_LIMIT = 2_000
#: Characters of it in which a carrier names what it carries.
_OPENING = 300
#: A server's reply, or the enhanced status code that stands in its place.
_REPLY = re.compile(r"(?<![\d.])[45]\d\d[ -]|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.])")
# Goods that could not be delivered, by carriers and shops.
_PARCEL = Says(
    r"\b(?:parcel|package|shipment|courier|your order|paket|sendung|lieferung|colis|livraison|paquete|env[ií]o"
    r"|pedido|pacco|spedizione"
    r"|encomenda|pakket|bestelling|paczka|przesyłk\w{1,3}|kargo)\b|посылк|заказ|包裹|貨件|快遞|快递|訂單|订单|宅配"
    r"|荷物|お届け物|ご不在|택배|배송"
)
_MAIL = Says(
    r"mail|message|nachricht|mensaje|mensagem|messaggio|bericht|courriel|wiadomo|письм|сообщени|信件|郵件|邮件"
    r"|メール|메일|메시지"
)


class Decoy:
    """Knows what is no report although it looks like one; without a table it knows newsletters alone."""

    def __init__(self, responders: Responders | None = None) -> None:
        self._responders = responders or Responders()

    def read(self, letter: Letter) -> MailReading | None:
        if not letter.looks_like_report or letter.report_type or letter.head.get("x-failed-recipients"):
            return None
        if not letter.from_daemon and not letter.null_reverse_path and _is_mailing(letter):
            return reading(letter, MailKind.NOT_A_BOUNCE, (), "a mailing, no report")
        if is_by_person(letter) and first_address(letter.head.get("return-path")) and not letter.returned.get("from"):
            return reading(letter, MailKind.NOT_A_BOUNCE, (), "a person's mail about a report")
        if not letter.from_daemon and _is_about_goods(letter) and not _speaks_of_mail(letter):
            return reading(letter, MailKind.NOT_A_BOUNCE, (), "a delivery of goods, no mail")
        return self.lure(letter)

    def lure(self, letter: Letter) -> MailReading | None:
        """`not-a-bounce` where the words of a mail lure to click, whatever else it looks like."""
        text = f"{letter.subject[:300]} {letter.text[:_LIMIT]}".replace("\n", " ")
        if not self._responders.says(Means.LURE, text) or _quotes_reply(letter, text):
            return None
        return reading(letter, MailKind.NOT_A_BOUNCE, (), "a lure, no report")


def _is_about_goods(letter: Letter) -> bool:
    """Whether the subject speaks of goods, or the first words do and no address stands there but the sender's own domain's."""
    if _PARCEL(letter.subject[:300]):
        return True
    words = letter.own_words[:_LIMIT]
    if not _PARCEL(words[:_OPENING]):
        return False
    home = letter.sender.partition("@")[2].lower()
    return all(found.address.lower().endswith(f"@{home}") for found in addresses_in(words))


def _speaks_of_mail(letter: Letter) -> bool:
    """Whether a report may be meant after all: it speaks of a mail, quotes a reply, or returns a mail."""
    words = f"{letter.subject[:300]} {letter.own_words[:_LIMIT]}"
    return _MAIL(words) or _REPLY.search(words) is not None or bool(letter.returned.get("from"))


def _quotes_reply(letter: Letter, text: str) -> bool:
    """Whether a server's reply stands there, told of a recipient, of a mail that is returned, or by the null reverse-path."""
    found = _REPLY.search(text)
    if found is None:
        return False
    if letter.returned.get("from") or (letter.null_reverse_path and "." not in found.group()):
        return True
    ours = our_addresses(letter)
    return any(one.address.lower() not in ours for one in addresses_in(letter.own_words[:_LIMIT]))


def _is_mailing(letter: Letter) -> bool:
    if letter.head.get("list-unsubscribe"):
        return True
    path = first_address(letter.head.get("return-path"))
    return bool(path) and not letter.auto_submitted.startswith("auto-")
