"""What the receivers of a world say: replies in our own words, of the kinds that are seen in the wild, as Postfix reports them.

Each kind of behaviour has several wordings; a provider keeps to one of them, as real ones do. A world may give its own
words (`texts`). The stage is where such replies come in the wild: blocks at MAIL or the greeting, greylisting at RCPT,
content at the end of DATA. A 5xx at the greeting is not among them: products differ there, and it would measure
that alone.
"""

from collections.abc import Mapping

import msgspec

from omicard_relay.mail import Stage
from omicard_relay.tables.worldtables import Behaviour

__all__ = ["Spoken", "Wording", "wordings"]

_C, _M, _R, _E = Stage.CONNECT, Stage.MAIL, Stage.RCPT, Stage.END_OF_DATA
_COMMAND = {_M: "MAIL FROM command", _R: "RCPT TO command", _E: "end of DATA command"}


class Spoken(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One reply as our side has it: `text` in the words of Postfix's log, `reply_class` its first digit (0: no reply came).

    `is_final`: no later attempt would ever fare better. `at_greeting`: the session did not even begin.
    """

    kind: str
    text: str
    stage: Stage
    host: str
    reply_class: int
    is_final: bool = False
    at_greeting: bool = False


class Wording(msgspec.Struct, frozen=True, gc=False):
    """One way to say it."""

    stage: Stage
    text: str

    def spoken(self, kind: str, host: str, address: str, ip: str, recipient: str) -> Spoken:
        """The reply of this host, as Postfix would report it."""
        text = self.text.replace("{ip}", ip).replace("{recipient}", recipient)
        if not text[:1].isdigit():
            told = text.replace("{host}", f"{host}[{address}]")
        elif self.stage is _C:
            told = f"host {host}[{address}] refused to talk to me: {text}"
        else:
            told = f"host {host}[{address}] said: {text} (in reply to {_COMMAND[self.stage]})"
        return Spoken(
            kind=kind,
            text=told,
            stage=self.stage,
            host=host,
            reply_class=int(text[0]) if text[:1].isdigit() else 0,
            is_final=kind in _FINAL,
            at_greeting=self.stage is _C,
        )


#: Told once, it stays so.
_FINAL = frozenset({"unknown", "refuse", "false_4xx"})

_W: Mapping[str, tuple[tuple[Stage, str], ...]] = {
    "greylist-4": (
        (_R, "450 4.2.0 <{recipient}>: Recipient address rejected: Greylisted, please come back in 300 seconds"),
        (_R, "451 4.7.1 Greylisting in action, please try again later"),
        (_R, "451 4.7.1 This sender is new to us: greylisted for some minutes"),
        (_R, "450 4.7.1 First delivery of this triplet seen; greylist delay is running"),
    ),
    "greylist-5": ((_R, "550 5.7.1 Greylisted: resend this mail after some minutes"),),
    "rate-4": (
        (_M, "421 4.7.0 Too many messages from {ip} in a short time; slow down and try again later"),
        (_R, "450 4.7.1 Your server is sending at too high a rate; rate limit exceeded, try later"),
        (_M, "451 4.7.1 Message rate limit for your address {ip} reached, please retry later"),
        (_R, "452 4.5.3 You have sent too many mails this minute"),
    ),
    "rate-5": (
        (_R, "550 5.7.1 Too many messages, try again later"),
        (_M, "550 5.7.0 Sending rate limit exceeded for {ip}, please slow down"),
        (_R, "554 5.7.1 You are sending too much mail at the moment; message frequency limited"),
    ),
    "block-4": (
        (_M, "421 4.7.0 Mail from {ip} is temporarily deferred because of unusual traffic"),
        (_C, "421 4.7.1 Your IP address {ip} has been temporarily blocked, try again later"),
        (_M, "421 4.7.28 {ip}: temporarily blocked, we saw an unusual volume of mail from your IP address"),
        (_M, "451 4.7.650 The mail server {ip} has been temporarily blocked due to its reputation"),
    ),
    "block-5": (
        (_M, "554 5.7.1 Your IP {ip} is temporarily blocked because of too many offences; try again later"),
        (_M, "550 5.7.1 Temporary block on {ip} after excessive traffic"),
    ),
    "banned-5": (
        (_M, "550 5.7.1 Messages from {ip} are not accepted: your IP is on our block list"),
        (_M, "554 5.7.1 Your IP address {ip} has been permanently banned from this server"),
        (_M, "550 5.7.606 Access denied, banned sending IP {ip}"),
    ),
    "banned-4": (
        (_M, "421 4.7.0 {ip} is blocked on this server because of its reputation"),
        (_M, "451 4.7.1 Mail from your IP {ip} is permanently deferred"),
    ),
    "connections-4": (
        (_C, "421 4.7.0 Too many concurrent connections from {ip}"),
        (_C, "421 4.3.2 Too many sessions open from your host"),
        (_C, "421 4.7.1 Connection limit for {ip} reached, too many connections"),
    ),
    "warmup-4": (
        (
            _M,
            "421 4.7.28 We see an unusual amount of mail from {ip}, which has no history here; temporarily rate limited",
        ),
        (_M, "451 4.7.1 Daily limit of messages for the new address {ip} exceeded, try again later"),
    ),
    "warmup-5": ((_M, "550 5.7.1 {ip} has sent too many messages for its reputation today; try again tomorrow"),),
    "unknown-5": (
        (_R, "550 5.1.1 <{recipient}>: Recipient address rejected: User unknown"),
        (_R, "550 5.1.1 The mailbox {recipient} does not exist here"),
        (_R, "550 No such user here"),
    ),
    "full-4": (
        (_R, "452 4.2.2 <{recipient}> mailbox is full, over quota"),
        (_R, "452 4.2.2 The recipient's inbox is out of storage space"),
    ),
    "full-5": (
        (_R, "552 5.2.2 Mailbox of <{recipient}> is full, quota exceeded"),
        (_R, "550 5.2.2 User is over the quota"),
    ),
    "content-5": (
        (_E, "554 5.7.1 Message content rejected by our filter"),
        (_E, "550 5.7.1 The content of this message is not accepted here"),
    ),
    "content-4": ((_E, "451 4.7.1 Message content rejected for now"),),
    "spam-5": ((_E, "554 5.7.1 Message looks like spam and was refused"), (_E, "550 5.7.1 Spam detected")),
    "spam-4": ((_E, "451 4.7.1 Message is likely unsolicited mail, deferred"),),
    "policy-5": ((_R, "554 5.7.1 Mail refused by policy"), (_R, "550 5.7.1 Access denied")),
    "policy-4": ((_R, "450 4.7.1 Mail refused by local policy"),),
    "false-rate": (
        (_R, "550 5.7.1 Too many messages to this mailbox; try again later"),
        (_R, "550 5.4.6 Recipient is receiving mail at too high a rate right now"),
    ),
    "false-policy": ((_R, "554 5.7.1 Message refused"), (_R, "550 5.7.1 Mail not accepted")),
    "false-block": ((_R, "550 5.7.1 Temporary block for {ip}"), (_R, "554 5.7.1 IP {ip} temporarily blocked")),
    "false-unknown": ((_R, "550 5.1.1 <{recipient}>: User unknown"),),
    "false-busy": ((_R, "554 5.3.0 Internal error while looking up the mailbox"), (_R, "554 5.3.2 System is busy")),
    "gone-unknown": (
        (_R, "450 4.1.1 <{recipient}>: Recipient address rejected: user unknown"),
        (_R, "450 4.1.1 No such user here"),
    ),
    "gone-later": (
        (_R, "451 4.3.0 Delivery delayed, please try again later"),
        (_R, "450 Cannot deliver right now, try again later"),
    ),
    "gone-full": ((_R, "452 4.2.2 Mailbox full"),),
    "timeout": ((_C, "connect to {host}:25: Connection timed out"),),
    "refused": ((_C, "connect to {host}:25: Connection refused"),),
    "lost": ((_C, "lost connection with {host} while receiving the initial server greeting"),),
    "busy-4": (
        (_C, "421 4.3.2 Service shutting down, try again later"),
        (_C, "421 4.3.2 Server busy, please try again later"),
    ),
}
#: Where own words of a world come.
_STAGES = {"busy": _C, "connections": _C, "block": _M, "banned": _M, "warmup": _M, "refuse": _E}


def wordings(behaviour: Behaviour, kind: str, says: int, pick: float, looks: str = "") -> tuple[Wording, ...]:
    """The words of a kind at a provider: its own ones, else the one that `pick` (0 to 1) takes of ours for `says` (4 or 5).

    `looks` says which words a refusal, or a reply that lies, wears.
    """
    if own := behaviour.texts.get(kind):
        return tuple(Wording(_STAGES.get(kind, _R), text) for text in own)
    name = {"refuse": f"{looks}-{says}", "false_5xx": f"false-{looks}", "false_4xx": f"gone-{looks}"}.get(
        kind, kind if kind in _W else f"{kind}-{says}"
    )
    choices = _W[name]
    return (Wording(*choices[int(pick * len(choices)) % len(choices)]),)
