"""The snippet `steering` in a real configuration folder: in, up to date, checked, and out again without a trace."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from omicard_relay.services.attachcheck import State
from omicard_relay.services.exceptions_table import Entry, ExceptionsError, ExceptionsTable, table_file
from omicard_relay.services.postconf import Postconf, PostfixError, open_postconf, split_items
from omicard_relay.tables.settings import Settings, SteerIpSettings, SteerSettings
from tests.attaching import both, bring, configuration, look, needs_postfix, no_waiting, take

pytestmark = [
    needs_postfix,
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix's configuration is changed as root"),
    pytest.mark.skipif(
        not Path("/usr/lib/postfix/postfix-lmdb.so").exists(), reason="Postfix's LMDB tables are not installed"
    ),
]
IPS = (
    SteerIpSettings(name="ip1", address="127.0.2.1", helo="out1.example.com", weight=2),
    SteerIpSettings(name="ip2", address="::1"),
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with no_waiting():
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    with configuration() as made:
        yield made


@pytest.fixture
def settings(folder: Path) -> Settings:
    data = folder.parent / "ours"
    data.mkdir()
    os.chown(data, 65534, 65534)
    return Settings(data_dir=str(data), steer=SteerSettings(ip=IPS, port=1))


def options(entry: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in re.findall(r"-o (\S+)", entry))


def test_every_ip_and_class_has_a_transport_of_its_own(folder: Path, settings: Settings) -> None:
    bring(folder, "steering", settings=settings)
    services = open_postconf(folder).services()
    assert services["ip1/unix"].split()[:8] == ["ip1", "unix", "-", "-", "n", "-", "-", "smtp"]
    assert options(services["ip1/unix"]) == {
        "syslog_name": "postfix/ip1",
        "inet_protocols": "ipv4",
        "smtp_bind_address": "127.0.2.1",
        "smtp_helo_name": "out1.example.com",
    }
    assert options(services["ip2-s20/unix"]) == {
        "syslog_name": "postfix/ip2-s20",
        "inet_protocols": "ipv6",
        "smtp_bind_address6": "::1",
    }
    main = open_postconf(folder).explicit()
    assert main["ip1-s1_destination_concurrency_limit"] == "20"
    assert "ip1-s1_destination_rate_delay" not in main
    assert main["ip2-s20_destination_rate_delay"] == "120s"
    assert main["ip2-s20_destination_recipient_limit"] == "2"
    assert "ip1_destination_concurrency_limit" not in main


def test_only_the_queue_managers_resolver_sees_the_exceptions(folder: Path, settings: Settings) -> None:
    bring(folder, "steering", settings=settings)
    postconf = open_postconf(folder)
    services, main = postconf.services(), postconf.explicit()
    assert (main["omi_exceptions"], main["transport_maps"]) == ("", "$omi_exceptions")
    assert options(services["omi-rewrite/unix"]) == {"omi_exceptions": f"lmdb:{settings.steer_table}"}
    assert options(services["qmgr/unix"]) == {"rewrite_service_name": "omi-rewrite"}
    assert options(services["rewrite/unix"]) == {}


def test_the_table_is_there_before_postfix_asks_for_it_and_is_the_services_own(
    folder: Path, settings: Settings
) -> None:
    bring(folder, "steering", settings=settings)
    found = table_file(settings.steer_table).stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65534, 0o640)
    with ExceptionsTable(settings.steer_table) as table:
        table.apply([Entry(key="a@a.test", value="ip2:", expires=5)])
    bring(folder, "steering", settings=replace(settings, steer=replace(settings.steer, port=2)))
    assert open_postconf(folder).lookup(f"lmdb:{settings.steer_table}", "a@a.test") == "ip2:"


def test_what_the_site_has_stays_behind_ours_and_before_the_spreading() -> None:
    main = (
        "transport_maps = inline:{a.test=smtp:[gw]}\nsender_dependent_default_transport_maps = inline:{@x.test=smtp:}\n"
    )
    with configuration(main=main) as folder:
        data = folder.parent / "ours"
        data.mkdir()
        bring(folder, "steering", settings=Settings(data_dir=str(data), steer=SteerSettings(ip=IPS)))
        found = open_postconf(folder).explicit()
        assert split_items(found["transport_maps"]) == ["$omi_exceptions", "inline:{a.test=smtp:[gw]}"]
        assert split_items(found["sender_dependent_default_transport_maps"]) == [
            "inline:{@x.test=smtp:}",
            "randmap:{ip1:,ip1:,ip2:}",
        ]


def test_in_and_out_again_leaves_every_byte(folder: Path, settings: Settings) -> None:
    before = both(folder)
    bring(folder, "steering", settings=settings)
    assert not bring(folder, "steering", settings=settings).changes
    assert both(folder) != before
    take(folder)
    assert both(folder) == before


def test_out_again_after_an_edit_value_by_value(folder: Path, settings: Settings) -> None:
    before = open_postconf(folder).services(), open_postconf(folder).explicit()
    bring(folder, "reinject", "steering", settings=settings)
    postconf = open_postconf(folder)
    postconf.set_main({"biff": "no", "transport_maps": "$omi_exceptions, inline:{b.test=smtp:[gw]}"})
    entry = postconf.services()["qmgr/unix"]
    postconf.set_services({"qmgr/unix": entry.replace(" 300 1 ", " 200 1 ") + " -o qmgr_clog_warn_time=0"})
    take(folder)
    services, main = open_postconf(folder).services(), open_postconf(folder).explicit()
    assert services.pop("qmgr/unix") == "qmgr unix n - n 200 1 qmgr -o qmgr_clog_warn_time=0"
    assert services == {name: entry for name, entry in before[0].items() if name != "qmgr/unix"}
    assert main == before[1] | {"biff": "no", "transport_maps": "inline:{b.test=smtp:[gw]}"}


def test_fewer_ips_take_their_transports_with_them(folder: Path, settings: Settings) -> None:
    bring(folder, "steering", settings=settings)
    bring(folder, "steering", settings=replace(settings, steer=replace(settings.steer, ip=IPS[:1])))
    postconf = open_postconf(folder)
    assert not [name for name in (*postconf.services(), *postconf.explicit()) if name.startswith("ip2")]
    assert postconf.explicit()["sender_dependent_default_transport_maps"] == "randmap:{ip1:}"


@pytest.mark.parametrize(
    ("main", "master", "told"),
    [
        ("smtp_delivery_status_filter = pcre:/x\n", "", "`smtp_delivery_status_filter` is `pcre:/x`"),
        ("", "ip1 unix - - n - - smtp\n", "`ip1/unix` is `ip1 unix - - n - - smtp`"),
        ("", "127.0.0.1:1 inet n - n - - smtpd\n", "listens at 127.0.0.1:1"),
    ],
    ids=["a-filter-of-the-sites", "a-transport-of-that-name", "the-filters-port"],
)
def test_what_is_somebody_elses_is_named_and_left(main: str, master: str, told: str) -> None:
    with configuration(main=main, master=master) as folder:
        data = folder.parent / "ours"
        data.mkdir()
        before = both(folder)
        with pytest.raises(PostfixError, match=re.escape(told)):
            bring(folder, "steering", settings=Settings(data_dir=str(data), steer=SteerSettings(ip=IPS, port=1)))
        assert both(folder) == before


def test_a_queue_manager_with_a_resolver_of_its_own_is_named(folder: Path, settings: Settings) -> None:
    for entry in ("-o rewrite_service_name=mine", "-o { rewrite_service_name = mine }"):
        open_postconf(folder).set_services({"qmgr/unix": f"qmgr unix n - n 300 1 qmgr {entry}"})
        with pytest.raises(PostfixError, match="`qmgr/unix` has rewrite_service_name=mine"):
            bring(folder, "steering", settings=settings)


def test_without_lmdb_in_postfix_nothing_is_done_and_the_package_is_named(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = both(folder)
    monkeypatch.setattr(Postconf, "table_types", lambda self: frozenset({"hash", "randmap"}))
    with pytest.raises(PostfixError, match="apt install postfix-lmdb"):
        bring(folder, "steering", settings=settings)
    assert both(folder) == before
    assert look(folder, "steering", settings=settings)["lmdb"].state is State.WRONG


def test_behind_a_relayhost_there_is_nothing_to_steer(folder: Path, settings: Settings) -> None:
    open_postconf(folder).set_main({"relayhost": "[smarthost.isp.test]:587"})
    before = both(folder)
    with pytest.raises(PostfixError, match=r"relayhost = \[smarthost\.isp\.test\]:587"):
        bring(folder, "steering", settings=settings)
    assert both(folder) == before


def test_without_a_folder_for_the_table_nothing_is_done(folder: Path, settings: Settings) -> None:
    before = both(folder)
    with pytest.raises(ExceptionsError, match=r"no such folder; make it .* -m 750 /nowhere`"):
        bring(folder, "steering", settings=replace(settings, data_dir="/nowhere"))
    assert both(folder) == before


def test_a_dry_run_makes_no_table(folder: Path, settings: Settings) -> None:
    assert bring(folder, "steering", settings=settings, dry_run=True).changes
    assert not table_file(settings.steer_table).exists()


def test_check_tells_what_is_missing_and_what_is_there(folder: Path, settings: Settings) -> None:
    found = look(folder, "steering", settings=settings)
    assert found["master.cf qmgr/unix"].state is State.MISSING
    assert found["steer-table"].state is State.WRONG
    bring(folder, "steering", settings=settings)
    found = look(folder, "steering", settings=settings)
    bad = {about for about, one in found.items() if one.state not in (State.OK, State.NOTE)}
    assert bad == {"listening-steer", "queue-ids"}
    assert found["master.cf qmgr/unix"].state is State.OK
    assert found["steer-address"].state is State.OK


def test_check_tells_an_address_that_is_not_this_machines_and_a_table_before_ours(
    folder: Path, settings: Settings
) -> None:
    foreign = replace(settings, steer=replace(settings.steer, ip=(SteerIpSettings(name="ip1", address="192.0.2.77"),)))
    bring(folder, "steering", settings=foreign)
    assert look(folder, "steering", settings=foreign)["steer-address"].state is State.WRONG
    open_postconf(folder).set_main({"transport_maps": "inline:{a.test=smtp:}, $omi_exceptions"})
    assert look(folder, "steering", settings=foreign)["steer-first"].state is State.NOTE
