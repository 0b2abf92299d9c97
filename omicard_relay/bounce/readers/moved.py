"""An announced new mailbox: "my new address is …", "no longer uses this address, please write to …".

`new_address` looks at each address of a person's own words and at the words just before and after it. Explicit wording
("new address is", "changed to") always counts; "please write to" counts only in a text that says the old mailbox is gone for
good. A stand-in during an absence is no new address.
"""

import re

from omicard_relay.bounce.text import addresses_in

__all__ = ["new_address"]

#: Characters before and after an address that may announce it; a sentence of ordinary length.
_REACH = 160
_ADDRESSES = 50

_EXPLICIT = re.compile(
    r"(?:my |our |his |her |their |the )?new (?:e-?mail |mail |mailing |contact )?(?:address|e-?mail|mail"
    r"|account|mailbox)|"
    r"(?:e-?mail|mail|address)(?: address)? (?:has been |has |was |is |have )?(?:changed|moved|migrated"
    r"|replaced)\b|"
    r"(?:has|have) (?:been )?(?:moved|changed|migrated) to|"
    r"(?:e-?mail|address) is now|can now be (?:reached|contacted) at|update your (?:records|address ?book"
    r"|contacts)|"
    r"新(?:的)?(?:電子)?(?:郵件|信箱|郵箱|电子邮件|邮件|邮箱|電郵)(?:地址|位址)?|(?:信箱|郵箱|邮箱|郵件地址"
    r"|邮件地址|電子郵件)(?:已|將)?(?:更改|變更|更換|变更|更换|改)(?:為|为|成)|"
    r"新しい(?:メール)?(?:アドレス|メール)|メールアドレス(?:が|を)変更|アドレスが(?:変わり|変更)"
    r"|새(?:로운)? ?(?:이메일|메일|전자 ?우편) ?주소|주소가 변경|"
    r"neue (?:e-?mail-?|mail-?)?adresse|neuen (?:e-?mail-?|mail-?)?adresse|adresse hat sich geändert"
    r"|ab sofort unter|"
    r"nouvelle adresse|adresse (?:e-?mail |mail )?a changé|nueva (?:dirección|cuenta)|nuevo (?:correo"
    r"|e-?mail)|novo (?:endereço|e-?mail)|"
    r"nuovo indirizzo|nuova (?:e-?mail|mail|casella)|nieuwe? (?:e-?mail-?|mail-?)?adres|новый (?:адрес"
    r"|e-?mail)|новая почта|nowy adres",
    re.I,
)
_GONE = re.compile(
    r"no longer (?:use|uses|used|using|work|works|working|employed|with|at|active|in use|valid|monitored"
    r"|available|part of|checking|check)|"
    r"(?:has|have) left (?:the |our )?(?:company|organi[sz]ation|firm|university|office)?|not (?:use|using"
    r"|monitoring) this (?:e-?mail|address|account|mailbox) any|"
    r"(?:address|mailbox|account|e-?mail) (?:is|has been|will be|was) (?:closed|discontinued|retired"
    r"|deactivated|no longer)|"
    r"已(?:經|经)?(?:離職|离职|停用|不再使用)|不再使用|退職(?:いたし|し)|使用(?:して(?:おり|い)ません"
    r"|を終了)|퇴사|더 이상 사용하지|"
    r"nicht mehr (?:aktiv|gültig|verwendet|genutzt|erreichbar|für|im unternehmen|bei)|ausgeschieden"
    r"|n['’]est plus (?:utilisée?|valide|active)|ne travaille plus|"
    r"ya no (?:trabaja|utiliza|está activa|uso|es válida)|não (?:trabalha|utiliza|uso) mais|non (?:lavora"
    r"|utilizza|è) più|"
    r"niet meer (?:in gebruik|werkzaam|actief)|больше не (?:работает|используется|использую)",
    re.I,
)
_ASKS = re.compile(
    r"(?:please|kindly)?,? ?(?:write|contact|reach|send|e-?mail|use|forward|resend|direct|address|update"
    r"|mail)\b|instead|"
    r"請(?:改|寄|聯絡|來信|洽)|请(?:改|寄|联系|发|洽)|までご連絡|へご連絡|宛に|(?:으로|로) (?:연락|보내)|"
    r"bitte|wenden sie sich|veuillez|merci de|por favor|per favore|si prega|gelieve|neem contact|пожалуйста"
    r"|пишите|обращайтесь",
    re.I,
)
#: An absence that ends: then "please contact …" names a stand-in.
_AWAY = re.compile(
    r"\buntil\b|\breturn(?:ing)? on\b|\bback (?:on|in)\b|during my absence|in my absence|bis zum|jusqu"
    r"|hasta el|fino al|до ",
    re.I,
)


def new_address(text: str, *, known: frozenset[str]) -> str | None:
    """The announced address; None when there is none. `known` (lower case) are addresses that it cannot be."""
    gone = _GONE.search(text) is not None
    away = _AWAY.search(text) is not None
    for number, found in enumerate(addresses_in(text)):
        if number >= _ADDRESSES:
            break
        if found.address.lower() in known:
            continue
        before = text[max(0, found.start - _REACH) : found.start]
        after = text[found.end : found.end + _REACH // 2]
        if _EXPLICIT.search(before) or re.match(
            r"\W{0,5}(?:is|ist|est|es|é|è) (?:my|our|meine|mon|ma|mi|mia)\b.{0,20}new", after, re.I
        ):
            return found.address
        if gone and not away and _ASKS.search(before):
            return found.address
    return None
