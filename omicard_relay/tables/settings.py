"""The configuration file -> `Settings`. Every key has a default, so that no file at all is a working set-up.

Paths in the file may be relative: they count from the file's own folder. docs/configuration.md lists each key; a test
holds the two in step.
"""

import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from omicard_relay.tables.settings_check import check_settings, is_kind
from omicard_relay.tables.toml import convert, read_toml

__all__ = [
    "AnswersSettings",
    "CampaignSettings",
    "DkimKeySettings",
    "FollowSettings",
    "IngestSettings",
    "KeepSettings",
    "ListMode",
    "RelaySettings",
    "ReturnPathSettings",
    "ScrubSettings",
    "Settings",
    "SteerIpSettings",
    "SteerSettings",
    "StepName",
    "StoreSettings",
    "is_kind",
    "load_settings",
]

Port = Annotated[int, Meta(ge=1, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
#: A hundred years at most: any date can be counted with them.
Natural = Annotated[int, Meta(ge=0, le=36_500)]
#: What the client sees of a dropped recipient: 250 and silence, a 5xx with our code, or no dropping at all.
ListMode = Literal["discard", "reject", "off"]
#: As in mail.MailKind.
AnswerKind = Literal["dsn", "arf", "autoreply", "not-a-bounce", "other"]
#: How far steering may go: not at all, write down what it would do, or do it.
SteerMode = Literal["off", "observe", "act"]
StepName = Literal["syntax", "duplicate", "unsubscribed", "blacklist", "known-bounce"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration: a key that is not known is an error, never ignored."""


class StoreSettings(_Table, frozen=True, kw_only=True):
    """[store]: where everything is kept."""

    #: SQLAlchemy URL; empty: SQLite in `data_dir`.
    url: str = ""
    #: Seconds to wait for a locked database before giving a temporary failure.
    busy_seconds: Positive = 10


class RelaySettings(_Table, frozen=True, kw_only=True):
    """[relay]: the front door and the hand-over to Postfix."""

    host: str = "127.0.0.1"
    port: Port = 10025
    #: The name in the greeting and in Received; empty: the machine's own.
    hostname: str = ""
    #: Clients that may submit without logging in.
    networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    #: Clients that may speak XFORWARD (our own Postfix).
    xforward_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    #: Where Postfix takes the scrubbed mail.
    next_host: str = "127.0.0.1"
    next_port: Port = 10026
    #: Connections to Postfix that are kept open and shared.
    pool_size: Positive = 8
    #: Seconds to wait for a free connection before the client gets a 451.
    pool_wait_seconds: Positive = 5
    #: Seconds for one answer of Postfix.
    next_timeout_seconds: Positive = 60
    #: Octets of one mail (RFC 1870).
    size_limit: Positive = 52_428_800
    #: Octets of all mails that are in memory at once; above, clients get 452.
    memory_limit: Positive = 268_435_456
    max_recipients: Positive = 1000
    max_connections: Positive = 200
    #: Seconds of silence after which a client is let go.
    client_timeout_seconds: Positive = 300
    tls_certificate: str = ""
    tls_key: str = ""
    #: Demand STARTTLS before MAIL.
    tls_required: bool = False
    #: One `user:scrypt hash` a line, made by `omicard-relay relay password`; empty: no AUTH.
    auth_file: str = ""
    #: Give a direct submission the Date and Message-ID that it lacks (RFC 6409 §8).
    add_missing_headers: bool = True
    #: Seconds after which a hand-over that a crash left in doubt, and of which the followed log shows nothing, is tried anew.
    doubt_seconds: Positive = 60


class CampaignSettings(_Table, frozen=True, kw_only=True):
    """[campaign]: how a submission names its campaign."""

    header: str = "X-Campaign"
    #: Take the campaign from the header off before the mail goes out.
    remove_header: bool = True
    #: Without the header, MAIL's ENVID names it (RFC 3461 §4.4).
    envid: bool = True
    #: The header that tells the kind of mail by itself; it goes as the other does.
    kind_header: str = "X-Campaign-Kind"
    #: Else (pattern of a campaign's name, kind), such as ("news-*", "marketing"); the first that fits.
    kinds: tuple[tuple[str, str], ...] = ()
    #: Else the kind of mail that names a campaign …
    default_kind: str = "marketing"
    #: … and of mail that names none.
    kind_without: str = "transactional"


class ScrubSettings(_Table, frozen=True, kw_only=True):
    """[scrub]: which steps run, in which order, and what the client sees."""

    order: tuple[StepName, ...] = ("syntax", "duplicate", "unsubscribed", "blacklist", "known-bounce")
    syntax: ListMode = "reject"
    duplicate: ListMode = "discard"
    unsubscribed: ListMode = "discard"
    blacklist: ListMode = "reject"
    known_bounce: ListMode = msgspec.field(default="discard", name="known-bounce")
    #: Over which of the others a whitelist entry wins.
    whitelist_wins_over: tuple[StepName, ...] = ("blacklist", "known-bounce")


class ReturnPathSettings(_Table, frozen=True, kw_only=True):
    """[return_path]: the signed reverse-path of each recipient; without a domain it is off."""

    #: The domain that this machine's Postfix gives to the pipe or to LMTP; empty: off.
    domain: str = ""
    local_part: str = "b"
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = "+"
    #: `key id = secret` lines, the first one signs, all verify; made at first start when missing.
    key_file: str = "return-path.keys"
    #: Days after which a token proves nothing any more.
    max_age_days: Positive = 30
    #: Reverse-paths or domains whose mail keeps its own reverse-path.
    off_for: tuple[str, ...] = ()


class DkimKeySettings(_Table, frozen=True, kw_only=True):
    """[[dkim]]: one signature."""

    domain: str
    selector: str
    key_file: str
    #: Header From domains that it signs; empty: `domain` and what is below it.
    senders: tuple[str, ...] = ()


class FollowSettings(_Table, frozen=True, kw_only=True):
    """[follow]: which logs are read."""

    files: tuple[str, ...] = ("/var/log/mail.log",)
    #: Lines that are stored in one transaction at most.
    batch_size: Positive = 500


class IngestSettings(_Table, frozen=True, kw_only=True):
    """[ingest]: how bounces come in."""

    #: LMTP for Postfix (`lmtp:inet:127.0.0.1:10027`).
    host: str = "127.0.0.1"
    port: Port = 10027
    #: The socket at which `bounce ingest` hands its mail to the running service; empty: each one stores by itself.
    socket: str = "ingest.sock"
    #: Octets of one bounce that are kept and parsed; the rest is cut off and noted.
    size_limit: Positive = 10_485_760
    #: Octets of all large mails that are in memory at once; above, clients wait.
    memory_limit: Positive = 67_108_864
    #: Mails without a valid token that are parsed and kept whole, a minute; above, only counted, with notes of some.
    unproven_per_minute: Positive = 600
    #: Octets of such mails that are kept, an hour.
    unproven_octets_per_hour: Positive = 134_217_728


class AnswersSettings(_Table, frozen=True, kw_only=True):
    """[answers]: where a person's own mail to the return path is handed on."""

    #: A Maildir, in `data_dir` unless absolute; empty: none.
    mailbox: str = "answers"
    #: An address to which Postfix takes it instead, at `relay.next_host` and `relay.next_port`; empty: the Maildir.
    forward: str = ""
    #: Which kinds of mails are handed on.
    kinds: tuple[AnswerKind, ...] = ("not-a-bounce",)


class KeepSettings(_Table, frozen=True, kw_only=True):
    """[keep]: for how long what is kept. 0: for ever."""

    #: Days after which the content of a mail to the return path is deleted.
    mail_days: Natural = 90
    #: Days after which all that is known of a mail goes; longer than suppress.toml and the return path look back.
    evidence_days: Natural = 400
    #: Days after which a list entry goes that was removed or has run out, with its history.
    list_history_days: Natural = 0
    #: Days after which steering's steps, decisions and snapshots go; not 0, since they grow with every attempt.
    steering_days: Annotated[int, Meta(ge=1, le=36_500)] = 30
    #: The key by which forgotten addresses are still known, in `data_dir` unless absolute; made by the first `db forget`.
    key_file: str = "forget.key"


class SteerIpSettings(_Table, frozen=True, kw_only=True):
    """[[steer.ip]]: one IP from which mail goes out."""

    #: What it is called in transports, tables and reports.
    name: str
    address: str
    #: The name in its EHLO; empty: Postfix's own.
    helo: str = ""
    #: Its share of ordinary mail, beside those of the others.
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    #: The day on which it was taken into use, for the warm-up; left out: it is warm.
    since: datetime.date | None = None


class SteerSettings(_Table, frozen=True, kw_only=True):
    """[steer]: how failed mail is steered."""

    #: The ceiling over what retry.toml says for a provider and code.
    mode: SteerMode = "observe"
    #: The exceptions table, in `data_dir` unless absolute, without `.lmdb`.
    table: str = "exceptions"
    #: Recipients and domains that may be in it at once.
    table_limit: Positive = 1_000_000
    #: Where Postfix's status filter asks.
    host: str = "127.0.0.1"
    port: Port = 10028
    #: Milliseconds after which it gets no change instead of an answer; Postfix itself would wait 100 s.
    deadline_ms: Annotated[int, Meta(ge=10, le=30_000)] = 200
    #: Seconds between two looks at new attempts.
    every_seconds: Positive = 1
    #: Days of attempts that a start without a kept state learns from.
    learn_days: Annotated[int, Meta(ge=1, le=36_500)] = 30
    #: This machine's name in the log; empty: the system's own.
    machine: str = ""
    #: Postfix's configuration folder, for `postqueue`.
    postfix_dir: str = "/etc/postfix"
    #: How many `postqueue` run at once, and how many mails are woken one by one before all are.
    wake_parallel: Annotated[int, Meta(ge=1, le=64)] = 4
    wake_most: Positive = 500
    ip: tuple[SteerIpSettings, ...] = ()


class Settings(_Table, frozen=True, kw_only=True):
    """The whole configuration. `folder` is that of the file, from which relative paths count."""

    #: For the store, keys and sockets, unless a path says otherwise.
    data_dir: str = "/var/lib/omicard-relay"
    #: A folder with the site's own rule packs, layered over the shipped ones; empty: none.
    policies_dir: str = ""
    store: StoreSettings = StoreSettings()
    relay: RelaySettings = RelaySettings()
    campaign: CampaignSettings = CampaignSettings()
    scrub: ScrubSettings = ScrubSettings()
    return_path: ReturnPathSettings = ReturnPathSettings()
    dkim: tuple[DkimKeySettings, ...] = ()
    follow: FollowSettings = FollowSettings()
    ingest: IngestSettings = IngestSettings()
    answers: AnswersSettings = AnswersSettings()
    keep: KeepSettings = KeepSettings()
    steer: SteerSettings = SteerSettings()

    def data_path(self, name: str) -> Path:
        """A file of `data_dir`, or the path itself when it is absolute."""
        return Path(self.data_dir) / name

    @property
    def steer_table(self) -> Path:
        """Of the exceptions table, as Postfix names it behind `lmdb:`."""
        return self.data_path(self.steer.table)

    @property
    def store_url(self) -> str:
        """The store's URL, with its default filled in."""
        return self.store.url or f"sqlite:///{self.data_path('relay.db')}"


def load_settings(path: Path | None) -> Settings:
    """The settings of a file (None: the built-in default). Raises TableError with file, key, found and allowed."""
    if path is None:
        return Settings()
    settings = convert(read_toml(path), Settings, path)
    check_settings(settings, path)
    folder = path.resolve().parent
    return msgspec.structs.replace(
        settings,
        data_dir=str(folder / settings.data_dir),
        policies_dir=str(folder / settings.policies_dir) if settings.policies_dir else "",
        follow=msgspec.structs.replace(
            settings.follow,
            # `-` is standard input.
            files=tuple(name if name == "-" else str(folder / name) for name in settings.follow.files),
        ),
        dkim=tuple(msgspec.structs.replace(key, key_file=str(folder / key.key_file)) for key in settings.dkim),
        relay=msgspec.structs.replace(
            settings.relay,
            **{
                name: str(folder / value) if (value := getattr(settings.relay, name)) else ""
                for name in ("tls_certificate", "tls_key", "auth_file")
            },
        ),
    )
