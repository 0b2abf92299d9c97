"""Plain values: what every floor speaks of. No I/O, no clock, no table."""

from omicard_relay.mail.address import address_digest, address_key, domain_of, local_part_of
from omicard_relay.mail.clean import one_line, printable
from omicard_relay.mail.delivery import Attempt, Outcome
from omicard_relay.mail.errors import RelayError, SigningError, StoreBusyError, StoreError, TableError, WireError
from omicard_relay.mail.evidence import Evidence, MailKind, Road, Trust
from omicard_relay.mail.lists import ListEntry, ListName, covers
from omicard_relay.mail.reading import read_reply
from omicard_relay.mail.reply import Reply, Stage
from omicard_relay.mail.submission import RecipientState, Submission, Way
from omicard_relay.mail.verdict import Action, Decision, RunnerUp, Verdict

__all__ = [
    "Action",
    "Attempt",
    "Decision",
    "Evidence",
    "ListEntry",
    "ListName",
    "MailKind",
    "Outcome",
    "RecipientState",
    "RelayError",
    "Reply",
    "Road",
    "RunnerUp",
    "SigningError",
    "Stage",
    "StoreBusyError",
    "StoreError",
    "Submission",
    "TableError",
    "Trust",
    "Verdict",
    "Way",
    "WireError",
    "address_digest",
    "address_key",
    "covers",
    "domain_of",
    "local_part_of",
    "one_line",
    "printable",
    "read_reply",
]
