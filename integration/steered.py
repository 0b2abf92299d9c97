"""What the scenarios of steering share: a line with two source IPs, habits, mails, and what store and books say."""

import smtplib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from lab.behaviour import Behaviour
from lab.line import SENDER_DOMAIN, Line
from lab.smtp_server import Session
from omicard_relay.store import schema
from omicard_relay.store.decisions import Followed, followed

__all__ = ["IPS", "BlocksIp", "decisions", "delivered", "fates", "lines_of", "send", "steered"]

IPS = {"ip1": "127.0.2.1", "ip2": "127.0.2.2"}
#: Rests of the shipped policy are minutes and hours; a scenario has some. The bounds are the site's own to set.
_POLICY = """\
[model]
explore = 0
explore_unknown = 0

[[retry]]
codes = [935, 938, 939, 921]
rest_minutes = [0.2, 2]
explore = 0
"""


class BlocksIp(Behaviour):
    """Has one IP on its list, at MAIL, for now."""

    def __init__(self, ip: str) -> None:
        self._ip = ip

    async def mail(self, session: Session, reverse_path: str, parameters: str) -> str | None:
        if session.client_ip == self._ip:
            return f"450 4.7.1 The IP {self._ip} is temporarily blocked, try again later"
        return await super().mail(session, reverse_path, parameters)


def steered(mode: str, folder: Any) -> Mapping[str, Any]:
    """How a line is made whose failures are steered."""
    policies = folder / "policies"
    policies.mkdir(parents=True, exist_ok=True)
    (policies / "retry.toml").write_text(_POLICY)
    ips = "".join(f'\n[[steer.ip]]\nname = "{name}"\naddress = "{ip}"\n' for name, ip in IPS.items())
    table = folder / "table"
    table.mkdir(exist_ok=True)
    table.chmod(0o755)
    return {
        "snippets": ["steering"],
        "services": ["steer"],
        "extra_configuration": {
            "": f'policies_dir = "{policies}"',
            "steer": f'mode = "{mode}"\ntable = "{table / "exceptions"}"\npostfix_dir = "{{postfix}}"\n{ips}',
        },
        # Postfix's own schedule, as short as the rests are: what it does by itself happens within the scenario, too.
        "postfix_settings": {
            "minimal_backoff_time": "20s",
            "maximal_backoff_time": "60s",
            "queue_run_delay": "10s",
            "smtp_connection_cache_on_demand": "no",
        },
    }


def send(recipients: Iterable[str]) -> None:
    """One mail for each recipient, through the relay. Raises where it is not taken."""
    with smtplib.SMTP("127.0.0.1", 10025, local_hostname="client.lab.test", timeout=60) as client:
        for recipient in recipients:
            content = f"From: news@{SENDER_DOMAIN}\r\nTo: {recipient}\r\nSubject: news\r\n\r\nnews for {recipient}\r\n"
            client.sendmail(f"news@{SENDER_DOMAIN}", [recipient], content.encode())


def fates(line: Line) -> dict[str, str]:
    """Where each recipient stands, as the store says."""
    store = line.store()
    try:
        with store.read() as tx:
            rows = tx.execute(sa.select(schema.recipient.c.address, schema.recipient.c.state)).all()
            return {row.address: row.state for row in rows}
    finally:
        store.close()


def lines_of(line: Line, recipient: str) -> list[Any]:
    """The true attempts of a recipient, in order."""
    store = line.store()
    try:
        with store.read() as tx:
            return list(
                tx.execute(
                    sa.select(schema.attempt)
                    .where(schema.attempt.c.address_key == recipient, schema.attempt.c.is_attempt)
                    .where(schema.attempt.c.is_hop.is_(False))
                    .order_by(schema.attempt.c.id)
                ).all()
            )
    finally:
        store.close()


def decisions(line: Line) -> list[Followed]:
    """All that was decided, with what came of it."""
    store = line.store()
    try:
        return list(followed(store))
    finally:
        store.close()


def delivered(line: Line) -> Counter[str]:
    """How often the receivers took a mail for each recipient."""
    return Counter(entry.recipient for entry in line.internet.books().accepted())
