"""The shipped snippets, filled from settings: what stands where, and what a setting may not smuggle in."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import TableError
from omicard_relay.tables.settings import (
    IngestSettings,
    RelaySettings,
    ReturnPathSettings,
    Settings,
    SteerIpSettings,
    SteerSettings,
)
from omicard_relay.tables.snippet_steering import shares, transport_names
from omicard_relay.tables.snippets import (
    SNIPPET_NAMES,
    Deployment,
    Join,
    Snippet,
    filled_snippet,
    required_snippets,
    with_required,
)
from omicard_relay.tables.toml import shipped
from omicard_relay.wire.transports import read_transport

DEPLOYMENT = Deployment(
    folder=Path("/etc/postfix/omicard-relay"),
    user="omicard-relay",
    command=("/opt/omicard-relay/bin/omicard-relay",),
    light=("/opt/omicard-relay/bin/python", "-I", "-S", "/opt/client.py"),
)
SETTINGS = Settings(
    return_path=ReturnPathSettings(domain="Bounce.Example.com"),
    steer=SteerSettings(ip=(SteerIpSettings(name="ip1", address="192.0.2.1"),)),
)


def values(snippet: Snippet) -> dict[str, str]:
    return {parameter.name: parameter.value for parameter in snippet.parameters}


def options(snippet: Snippet) -> dict[str, str]:
    """The `-o` options of the first service."""
    words = snippet.services[0].entry.split()
    return dict(after.split("=", 1) for word, after in itertools.pairwise(words) if word == "-o")


@pytest.mark.parametrize("name", SNIPPET_NAMES)
def test_every_place_is_filled_and_both_languages_speak(name: str) -> None:
    snippet = filled_snippet(name, SETTINGS, DEPLOYMENT)
    texts = [snippet.main_text, snippet.master_text, *(file.text for file in snippet.files)]
    assert not any("{{" in text for text in texts)
    assert snippet.summary.isascii()
    assert snippet.summary_zh_tw
    assert not snippet.summary_zh_tw.isascii()
    assert len(snippet.services) == 1 or name == "steering"
    assert len(snippet.services[0].entry.split()) > 7


def test_every_folder_with_a_snippet_is_known() -> None:
    assert {path.parent.name for path in shipped("postfix").glob("*/snippet.toml")} == set(SNIPPET_NAMES)


def test_defaults_are_the_documented_ports() -> None:
    content_filter = filled_snippet("content-filter", SETTINGS, DEPLOYMENT)
    assert values(content_filter)["content_filter"] == "omi:[127.0.0.1]:10025"
    assert content_filter.services[0].name == "omi/unix"
    assert filled_snippet("reinject", SETTINGS, DEPLOYMENT).services[0].name == "127.0.0.1:10026/inet"
    lmtp = filled_snippet("bounce-lmtp", SETTINGS, DEPLOYMENT)
    assert "omi-lmtp:inet:127.0.0.1:10027" in lmtp.files[0].text


def test_the_listener_is_no_open_relay_and_no_loop() -> None:
    found = options(filled_snippet("reinject", SETTINGS, DEPLOYMENT))
    assert found["content_filter"] == ""
    assert found["smtpd_proxy_filter"] == ""
    assert found["mynetworks"] == found["smtpd_authorized_xforward_hosts"] == "127.0.0.0/8"
    for name in ("smtpd_client_restrictions", "smtpd_relay_restrictions", "smtpd_recipient_restrictions"):
        assert found[name] == "permit_mynetworks,reject"


@pytest.mark.parametrize(
    ("host", "service", "callers"),
    [
        ("127.0.0.1", "127.0.0.1:2526/inet", "127.0.0.0/8"),
        ("::1", "[::1]:2526/inet", "[::1]/128"),
        ("localhost", "localhost:2526/inet", "127.0.0.0/8,[::1]/128"),
        ("192.0.2.7", "192.0.2.7:2526/inet", "192.0.2.7/32"),
        ("2001:db8::7", "[2001:db8::7]:2526/inet", "[2001:db8::7]/128"),
    ],
    ids=["loopback 4", "loopback 6", "localhost", "own address 4", "own address 6"],
)
def test_only_the_relay_may_come_back(host: str, service: str, callers: str) -> None:
    settings = Settings(relay=RelaySettings(next_host=host, next_port=2526))
    snippet = filled_snippet("reinject", settings, DEPLOYMENT)
    assert snippet.services[0].name == service
    assert options(snippet)["mynetworks"] == callers


@pytest.mark.parametrize(
    ("host", "nexthop", "source4", "source6"),
    [
        ("127.0.0.1", "omi:[127.0.0.1]:10025", "127.0.0.1", ""),
        ("0.0.0.0", "omi:[127.0.0.1]:10025", "127.0.0.1", ""),  # noqa: S104
        ("::", "omi:[::1]:10025", "", "::1"),
        ("192.0.2.7", "omi:[192.0.2.7]:10025", "", ""),
        ("relay.example.com", "omi:[relay.example.com]:10025", "", ""),
    ],
    ids=["loopback", "every IPv4", "every IPv6", "other address", "name"],
)
def test_filter_goes_where_the_relay_listens(host: str, nexthop: str, source4: str, source6: str) -> None:
    snippet = filled_snippet("content-filter", Settings(relay=RelaySettings(host=host)), DEPLOYMENT)
    assert values(snippet)["content_filter"] == nexthop
    assert options(snippet)["smtp_bind_address"] == source4
    assert options(snippet)["smtp_bind_address6"] == source6


def test_the_listener_takes_as_many_recipients_as_the_relay() -> None:
    for most, wanted in ((50, "1000"), (5000, "5000")):
        snippet = filled_snippet("reinject", Settings(relay=RelaySettings(max_recipients=most)), DEPLOYMENT)
        assert options(snippet)["smtpd_recipient_limit"] == wanted


def test_pipe_names_sender_recipient_and_queue_id_each_in_one_argument() -> None:
    entry = filled_snippet("bounce-pipe", SETTINGS, DEPLOYMENT).services[0].entry
    head, _, argv = entry.partition(" argv=")
    assert head.split()[7:] == ["pipe", "flags=Rq", "user=omicard-relay", "null_sender="]
    light, _, program = argv.partition(" -- ")
    wrapper = "/etc/postfix/omicard-relay/omicard-bounce"
    assert light == (
        f"{wrapper} --light /opt/omicard-relay/bin/python -I -S /opt/client.py /var/lib/omicard-relay/ingest.sock "
        "--sender=${sender} --recipient=${recipient} --queue-id=${queue_id}"
    )
    assert program == f"{wrapper} /opt/omicard-relay/bin/omicard-relay bounce ingest"


def test_without_a_socket_the_light_client_is_told_so() -> None:
    settings = Settings(return_path=SETTINGS.return_path, ingest=IngestSettings(socket=""))
    assert "/opt/client.py - --sender=" in filled_snippet("bounce-pipe", settings, DEPLOYMENT).services[0].entry


def test_by_itself_the_light_client_is_the_one_of_this_package_and_its_interpreter() -> None:
    deployment = Deployment(folder=DEPLOYMENT.folder, user="x", command=("y",))
    python, *_, client = deployment.light
    done = subprocess.run([*deployment.light, "/nowhere", "--help"], stdin=subprocess.DEVNULL, check=False)
    assert (python, done.returncode) == (sys.executable, 0)
    assert Path(client).name == "pipe_client.py"


def test_lists_are_joined_and_ours_comes_first_where_order_decides() -> None:
    joins = {p.name: p.join for p in filled_snippet("bounce-pipe", SETTINGS, DEPLOYMENT).parameters}
    assert joins == {
        "relay_domains": Join.LAST,
        "transport_maps": Join.FIRST,
        "relay_recipient_maps": Join.LAST_IF_SET,
        "omi-bounce_destination_recipient_limit": Join.SET,
    }


@pytest.mark.parametrize("name", ["bounce-pipe", "bounce-lmtp"])
@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("b@bounce.example.com", "omi-"),
        ("b+k1-Token_x@bounce.example.com", "omi-"),
        ("B+K1-TOKEN@BOUNCE.EXAMPLE.COM", "omi-"),
        ("bb@bounce.example.com", "error:5.1.1"),
        ("b-x@bounce.example.com", "error:5.1.1"),
        ("x+b@bounce.example.com", "error:5.1.1"),
        ("b+x@sub.bounce.example.com", "error:5.1.1"),
        ("b+x@bounceXexample.com", ""),
        ("b+x@bounce.example.com.evil.test", ""),
        ("b+x@otherbounce.example.com", ""),
        ("b@bounce.example.com@evil.test", ""),
    ],
)
def test_table_of_addresses(name: str, address: str, answer: str) -> None:
    """By Python's expressions here; by Postfix's own in tests/services/test_attach.py."""
    text = next(f.text for f in filled_snippet(name, SETTINGS, DEPLOYMENT).files if f.name.endswith(".regexp"))
    found = ""
    for line in text.splitlines():
        if (match := re.fullmatch(r"/(.*)/ {2}(.*)", line)) and re.search(match[1], address, re.IGNORECASE):
            found = match[2]
            break
    assert found.startswith(answer)
    assert bool(found) == bool(answer)


@pytest.mark.parametrize("name", ["bounce-pipe", "bounce-lmtp"])
def test_bounce_snippets_need_a_domain(name: str) -> None:
    with pytest.raises(TableError, match=r"return_path\.domain"):
        filled_snippet(name, Settings(), DEPLOYMENT)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (Settings(relay=RelaySettings(host="127.0.0.1]:25\nsmtpd_relay_restrictions = permit")), "relay.host"),
        (Settings(relay=RelaySettings(next_host="$myhostname")), "relay.next_host"),
        (Settings(ingest=IngestSettings(host="a b")), "ingest.host"),
        (Settings(return_path=ReturnPathSettings(domain="x.test, everything.test")), "return_path.domain"),
        (Settings(return_path=ReturnPathSettings(domain="退信.test")), "return_path.domain"),
        (Settings(return_path=ReturnPathSettings(domain=".*")), "return_path.domain"),
        (Settings(return_path=ReturnPathSettings(domain="x.test", local_part=".*|")), "return_path.local_part"),
        (Settings(return_path=ReturnPathSettings(domain="x.test", delimiter="]")), "return_path.delimiter"),
    ],
    ids=["newline", "dollar", "space", "two domains", "not ASCII", "pattern", "pattern in local part", "bracket"],
)
def test_setting_that_would_break_out_is_refused_by_its_key(settings: Settings, key: str) -> None:
    with pytest.raises(TableError, match=re.escape(f"`{key}`")):
        filled_snippet("bounce-lmtp", settings, DEPLOYMENT)


@pytest.mark.parametrize("word", ["/opt/my programs/x", "/x/$HOME", "/x/{a}", "", "/x\n-o y"], ids=repr)
def test_command_that_master_cf_cannot_hold_is_refused(word: str) -> None:
    deployment = Deployment(folder=DEPLOYMENT.folder, user="u", command=(word,))
    with pytest.raises(TableError, match="cannot stand in"):
        filled_snippet("bounce-pipe", SETTINGS, deployment)


@given(
    st.text() | st.text("aB0.-", min_size=1, max_size=30),
    st.text(min_size=1, max_size=1) | st.sampled_from("-+=_.#~*!%^]"),
    st.text(max_size=24) | st.text("bB0._-", max_size=24),
)
def test_any_return_path_is_filled_safely_or_refused(domain: str, delimiter: str, local_part: str) -> None:
    settings = Settings(
        return_path=ReturnPathSettings(domain=domain or "x", delimiter=delimiter, local_part=local_part)
    )
    try:
        snippet = filled_snippet("bounce-lmtp", settings, DEPLOYMENT)
    except TableError:
        return
    value = values(snippet)["relay_domains"]
    assert value == domain.lower() or value == "x"
    assert re.fullmatch(r"[a-z0-9.-]+", value)
    patterns = [line.split("/  ")[0][1:] for line in snippet.files[0].text.splitlines() if line.startswith("/")]
    assert re.search(patterns[0], f"{local_part}{delimiter}token@{value}", re.IGNORECASE)
    assert not re.search(patterns[0], f"{local_part}token@{value}", re.IGNORECASE)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(TableError, match=r"no snippet `contentfilter`.*content-filter"):
        filled_snippet("contentfilter", SETTINGS, DEPLOYMENT)


def test_what_a_snippet_requires_comes_along_and_before_it() -> None:
    assert required_snippets("content-filter") == ("reinject",)
    names = [snippet.name for snippet in with_required(("content-filter",), SETTINGS, DEPLOYMENT)]
    assert names == ["reinject", "content-filter"]


def test_two_ways_for_the_same_bounces_are_refused() -> None:
    with pytest.raises(TableError, match="choose one"):
        with_required(("bounce-lmtp", "bounce-pipe"), SETTINGS, DEPLOYMENT)


def test_changed_port_reaches_the_snippet() -> None:
    settings = msgspec.structs.replace(SETTINGS, ingest=IngestSettings(port=2424))
    assert ":2424\n" in filled_snippet("bounce-lmtp", settings, DEPLOYMENT).files[0].text


def test_where_our_own_services_listen_is_told() -> None:
    """So that `install` can refuse a Postfix listener on the same port."""
    found = {name: filled_snippet(name, SETTINGS, DEPLOYMENT).our_listener for name in SNIPPET_NAMES}
    assert found == {
        "reinject": "127.0.0.1:10025",
        "content-filter": "",
        "bounce-pipe": "",
        "bounce-lmtp": "127.0.0.1:10027",
        "steering": "127.0.0.1:10028",
    }


# --- steering ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "counts"),
    [
        ([1], [1]),
        ([1, 1], [1, 1]),
        ([2, 1], [2, 1]),
        ([0.5, 0.25, 0.25], [2, 1, 1]),
        ([1000, 1], [99, 1]),
        ([3, 3, 3, 1], [3, 3, 3, 1]),
    ],
)
def test_weights_become_few_whole_numbers(weights: list[float], counts: list[int]) -> None:
    assert shares(weights) == counts


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=12))
def test_any_weights_leave_no_ip_out_and_come_near(weights: list[float]) -> None:
    counts = shares(weights)
    total = sum(weights)
    # One that would get less than one of a hundred entries gets one; the others share what is left.
    slack = 0.006 + sum(0.01 for weight in weights if weight / total < 0.01)
    assert min(counts) >= 1
    assert sum(counts) <= 100 + len(weights)
    assert all(
        abs(count / sum(counts) - weight / total) <= slack for count, weight in zip(counts, weights, strict=True)
    )


def test_steering_needs_an_ip() -> None:
    with pytest.raises(TableError, match=r"no `\[\[steer\.ip\]\]`"):
        filled_snippet("steering", Settings(), DEPLOYMENT)


def test_a_transport_has_the_name_that_the_log_is_read_by() -> None:
    names = {
        service.name.removesuffix("/unix") for service in filled_snippet("steering", SETTINGS, DEPLOYMENT).services
    }
    assert names == {"omi-rewrite", *transport_names(SETTINGS)}
    assert all(read_transport(name) == ("ip1", number) for number, name in enumerate(transport_names(SETTINGS)))


@pytest.mark.parametrize("table", ["a b", "a,b", "a$b", "a{b", "a:b"])
def test_a_table_that_main_cf_cannot_hold_is_refused(table: str) -> None:
    settings = msgspec.structs.replace(SETTINGS, steer=msgspec.structs.replace(SETTINGS.steer, table=f"/x/{table}"))
    with pytest.raises(TableError, match=r"`steer\.table`"):
        filled_snippet("steering", settings, DEPLOYMENT)
