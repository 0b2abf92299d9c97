"""`omicard-relay dkim …`: make keys, show and check their DNS records, verify the signatures of a mail.

DNS is asked through dnspython, five seconds at most a name; `--nameserver` asks one server (the domain's own, before
caches know the record). Exit 1 whenever something is wrong or could not be checked.
"""

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click
import dns.exception
import dns.rdatatype
import dns.resolver

from omicard_relay.cli.context import print_jsonl, print_table, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.mail import SigningError, printable
from omicard_relay.services.keyfiles import load_dkim_key, make_dkim_key
from omicard_relay.signing import (
    DkimKey,
    RecordFault,
    a_label,
    record_faults,
    record_text,
    verify_signatures,
    zone_line,
)
from omicard_relay.tables.settings import DkimKeySettings

__all__ = ["command"]

#: Seconds for all queries of one name.
DNS_SECONDS = 5.0
#: Octets of a mail that `verify` reads: the relay's own size limit.
MAIL_LIMIT = 52_428_800

_nameserver = click.option(
    "--nameserver", metavar="IP[:PORT]", help="Ask this DNS server instead of the system's ([IPv6]:PORT)."
)
_jsonl = click.option("--jsonl", is_flag=True, help="One JSON object a line, for programs.")


class DnsSilentError(SigningError):
    """DNS did not answer: nothing is known, neither good nor bad."""


@click.group()
def command() -> None:
    """DKIM keys: make, show, check; verify a mail."""


@command.command()
@click.option("--domain", required=True, help="The signing domain (d=), such as example.com.")
@click.option("--selector", required=True, help="The key's name below the domain (s=), such as s2026.")
@click.option("--algorithm", type=click.Choice(["rsa", "ed25519"]), default="rsa", show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The new key file.")
def keygen(domain: str, selector: str, algorithm: str, out: Path) -> None:
    """Make a private key (RSA of 2048 bits, or Ed25519); print its DNS record and its lines of the configuration."""
    for name in (domain, selector):
        # Before the file is made: a wrong name must not leave a key behind.
        if a_label(name) is None:
            raise SigningError(say("dkim-bad-name", name=printable(name)))
    private_key = make_dkim_key(out, ed25519_key=algorithm == "ed25519")
    key = DkimKey(domain=domain, selector=selector, private_key=private_key)
    click.echo(say("dkim-made", file=printable(str(out))))
    click.echo("\n" + say("dkim-dns") + f"\n\n{zone_line(key)}\n")
    click.echo(say("dkim-dns-value", name=key.dns_name) + f"\n\n{record_text(key)}\n")
    click.echo(say("dkim-configure") + "\n\n[[dkim]]")
    # A JSON string is also a basic string of TOML.
    for setting, value in (("domain", key.domain), ("selector", key.selector), ("key_file", str(out.resolve()))):
        click.echo(f"{setting} = {json.dumps(value, ensure_ascii=False)}")
    click.echo("\n" + say("dkim-then"))


@command.command()
@_jsonl
@click.pass_context
def show(ctx: click.Context, jsonl: bool) -> None:
    """The configured keys and the DNS records that they need."""
    keys, wrong = _load(settings_of(ctx).dkim)
    if jsonl:
        print_jsonl({**_row(key), "record": record_text(key)} for _, key in keys)
    elif keys:
        columns = [
            say("dkim-domain"),
            say("dkim-selector"),
            say("dkim-algorithm"),
            say("dkim-senders"),
            say("dkim-file"),
        ]
        print_table(
            columns, ((k.domain, k.selector, k.algorithm, ", ".join(k.senders), item.key_file) for item, k in keys)
        )
        click.echo("\n" + "\n\n".join(zone_line(key) for _, key in keys))
    for _, message in wrong:
        click.echo(say("error", message=printable(message)), err=True)
    if not keys and not wrong:
        click.echo(say("dkim-none"), err=True)
    ctx.exit(1 if wrong else 0)


@command.command()
@_nameserver
@_jsonl
@click.pass_context
def check(ctx: click.Context, nameserver: str | None, jsonl: bool) -> None:
    """Check each configured key: the file, its permissions and kind, and the record in DNS. Exit 1 if any is wrong."""
    resolver = _resolver(nameserver)
    keys, wrong = _load(settings_of(ctx).dkim)
    rows: list[dict[str, object]] = [
        {"domain": item.domain, "selector": item.selector, "algorithm": None, "ok": False, "problems": [message]}
        for item, message in wrong
    ]
    for _, key in keys:
        problems = list(_dns_problems(key, resolver))
        rows.append({**_row(key), "ok": not problems, "problems": problems})
    if jsonl:
        print_jsonl(rows)
    elif rows:
        columns = [say("dkim-domain"), say("dkim-selector"), say("dkim-algorithm"), say("dkim-result")]
        print_table(columns, ((r["domain"], r["selector"], r["algorithm"], _result(r["problems"])) for r in rows))
    else:
        click.echo(say("dkim-none"), err=True)
    ctx.exit(0 if all(row["ok"] for row in rows) else 1)


@command.command()
@click.argument("file", type=click.File("rb"))
@_nameserver
@_jsonl
@click.pass_context
def verify(ctx: click.Context, file: BinaryIO, nameserver: str | None, jsonl: bool) -> None:
    """Verify the signatures of a mail (`-`: standard input). Exit 0 only when there is one and all of them hold."""
    resolver = _resolver(nameserver)
    message = file.read(MAIL_LIMIT + 1)
    if len(message) > MAIL_LIMIT:
        raise SigningError(say("dkim-too-big", limit=f"{MAIL_LIMIT:,}"))

    def lookup(name: str) -> bytes | None:
        return next(iter(_records(name, resolver)), None)

    checks = verify_signatures(message, lookup)
    if jsonl:
        print_jsonl(
            {"domain": c.domain, "selector": c.selector, "algorithm": c.algorithm, "ok": c.passed, "reason": c.reason}
            for c in checks
        )
    elif checks:
        columns = [say("dkim-domain"), say("dkim-selector"), say("dkim-algorithm"), say("dkim-result")]
        print_table(columns, ((c.domain, c.selector, c.algorithm, c.reason or say("dkim-ok")) for c in checks))
    else:
        click.echo(say("dkim-unsigned"), err=True)
    ctx.exit(0 if checks and all(check.passed for check in checks) else 1)


_Loaded = list[tuple[DkimKeySettings, DkimKey]]


def _load(items: tuple[DkimKeySettings, ...]) -> tuple[_Loaded, list[tuple[DkimKeySettings, str]]]:
    """The keys that can be used, and for the others why not: one bad key must not hide the rest."""
    keys: _Loaded = []
    wrong: list[tuple[DkimKeySettings, str]] = []
    for item in items:
        try:
            keys.append((item, load_dkim_key(item)))
        except SigningError as error:
            wrong.append((item, str(error)))
    return keys, wrong


def _row(key: DkimKey) -> dict[str, object]:
    return {"domain": key.domain, "selector": key.selector, "algorithm": key.algorithm, "name": key.dns_name}


def _result(problems: object) -> str:
    return "\n".join(problems) if isinstance(problems, list) and problems else say("dkim-ok")


def _dns_problems(key: DkimKey, resolver: dns.resolver.Resolver) -> Iterator[str]:
    """What is wrong with the key's record, in words."""
    try:
        records = _records(key.dns_name, resolver)
    except DnsSilentError as error:
        yield str(error)
        return
    for fault in record_faults(key, records):
        yield say(_FAULTS[fault], name=key.dns_name)


def _resolver(nameserver: str | None) -> dns.resolver.Resolver:
    """The system's resolver, or one that asks a single server. Raises SigningError."""
    if nameserver is None:
        try:
            return dns.resolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            raise SigningError(say("dkim-no-resolver")) from None
    host, port = nameserver, "53"
    if nameserver.startswith("[") or nameserver.count(":") == 1:
        host, _, port = nameserver.rpartition(":") if not nameserver.endswith("]") else (nameserver, "", "53")
    try:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.port = int(port)
        resolver.nameservers = [str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))]
    except ValueError:
        raise click.BadParameter(say("dkim-bad-server"), param_hint="--nameserver") from None
    return resolver


def _records(name: str, resolver: dns.resolver.Resolver) -> tuple[bytes, ...]:
    """The TXT records of a name, each with its strings joined. Raises DnsSilentError when DNS does not answer."""
    try:
        answer = resolver.resolve(name + ".", dns.rdatatype.TXT, lifetime=DNS_SECONDS, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return ()
    except dns.resolver.NoNameservers:
        raise DnsSilentError(say("dkim-dns-failed", name=printable(name))) from None
    except dns.exception.Timeout:
        raise DnsSilentError(say("dkim-dns-silent", name=printable(name), seconds=f"{DNS_SECONDS:g}")) from None
    except (dns.exception.DNSException, OSError, UnicodeError):
        # A name that is none (a label of 64 octets, empty labels), or a network that is not there.
        raise DnsSilentError(say("dkim-dns-failed", name=printable(name))) from None
    return tuple(b"".join(record.strings) for record in answer.rrset or ())


_FAULTS = {fault: f"dkim-fault-{fault}" for fault in RecordFault}

register(
    {
        "dkim-made": ("Made the private key {file} (mode 0600).", "已建立私鑰 {file}(權限 0600)。"),
        "dkim-dns": ("Put this record into DNS (a line of a zone file):", "請將此記錄加入 DNS(zone 檔格式):"),
        "dkim-dns-value": (
            "or, in a web form, as TXT record {name} with this value:",
            "若使用網頁介面,請新增 TXT 記錄 {name},內容為:",
        ),
        "dkim-configure": ("Then add to the configuration file:", "然後在設定檔中加入:"),
        "dkim-then": (
            "The service's user must own the key file. `omicard-relay dkim check` tells when all is well.",
            "金鑰檔必須由服務的使用者擁有。執行 `omicard-relay dkim check` 可確認是否一切就緒。",
        ),
        "dkim-bad-name": (
            "`{name}` is no name that DNS can hold; use letters, digits, dots and -.",
            "「{name}」不是 DNS 可用的名稱;請使用英文字母、數字、點與連字號。",
        ),
        "dkim-domain": ("domain", "網域"),
        "dkim-selector": ("selector", "選擇器"),
        "dkim-algorithm": ("algorithm", "演算法"),
        "dkim-senders": ("signs mail from", "簽署的寄件網域"),
        "dkim-file": ("key file", "金鑰檔"),
        "dkim-result": ("result", "結果"),
        "dkim-ok": ("good", "正常"),
        "dkim-none": (
            "No DKIM key is configured; `omicard-relay dkim keygen` makes one.",
            "尚未設定 DKIM 金鑰;請用 `omicard-relay dkim keygen` 建立。",
        ),
        "dkim-unsigned": ("The mail has no DKIM signature.", "這封郵件沒有 DKIM 簽章。"),
        "dkim-too-big": (
            "The mail has more than {limit} octets; it is not checked.",
            "郵件超過 {limit} 位元組,不予檢查。",
        ),
        "dkim-no-resolver": (
            "This machine names no DNS server; give one with --nameserver.",
            "本機未設定 DNS 伺服器;請以 --nameserver 指定。",
        ),
        "dkim-bad-server": (
            "write an IP address, and a port if need be: 192.0.2.53, 127.0.0.1:5353, [2001:db8::53]:53.",
            "請填寫 IP 位址,必要時加上埠號:192.0.2.53、127.0.0.1:5353、[2001:db8::53]:53。",
        ),
        "dkim-dns-silent": (
            "DNS did not answer for {name} within {seconds} s; nothing is known about the record.",
            "DNS 在 {seconds} 秒內未回應 {name};無法得知記錄是否正確。",
        ),
        "dkim-dns-failed": (
            "DNS could not answer for {name} (server failure); nothing is known about the record.",
            "DNS 無法回答 {name}(伺服器失敗);無法得知記錄是否正確。",
        ),
        "dkim-fault-missing": ("There is no TXT record at {name}.", "{name} 沒有 TXT 記錄。"),
        "dkim-fault-several": (
            "There are several TXT records at {name}; leave only the key's own.",
            "{name} 有多筆 TXT 記錄;請只保留金鑰的那一筆。",
        ),
        "dkim-fault-malformed": (
            "The TXT record at {name} is no DKIM record; copy it anew from `omicard-relay dkim show`.",
            "{name} 的 TXT 記錄不是 DKIM 格式;請從 `omicard-relay dkim show` 重新複製。",
        ),
        "dkim-fault-revoked": (
            "The record at {name} says that the key is revoked (empty p=).",
            "{name} 的記錄表示此金鑰已撤銷(p= 為空)。",
        ),
        "dkim-fault-other-kind": (
            "The record at {name} is for another kind of key (k=).",
            "{name} 的記錄屬於另一種金鑰(k=)。",
        ),
        "dkim-fault-other-key": (
            "The record at {name} holds another key: signatures will fail.",
            "{name} 的記錄是另一把金鑰:簽章驗證將會失敗。",
        ),
        "dkim-fault-no-sha256": (
            "The record at {name} does not allow SHA-256 (h=).",
            "{name} 的記錄不允許 SHA-256(h=)。",
        ),
        "dkim-fault-not-for-mail": (
            "The record at {name} is not for mail (s=).",
            "{name} 的記錄不適用於郵件(s=)。",
        ),
        "dkim-fault-testing": (
            "The record at {name} says testing (t=y): receivers treat the mail as unsigned.",
            "{name} 的記錄標示為測試(t=y):收件端會視同未簽章。",
        ),
    }
)
