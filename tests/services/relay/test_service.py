"""Start and stop: what is wrong is told with what to do, and a relay that runs ends when it is told to."""

import asyncio
import socket

import msgspec
import pytest

from omicard_relay.mail import RelayError, SigningError
from omicard_relay.services.relay import serve_relay
from omicard_relay.services.rulebook import open_rulebook
from omicard_relay.tables.settings import DkimKeySettings, RelaySettings, ReturnPathSettings, Settings


async def test_a_port_that_is_taken_is_told(world):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RelayError, match=rf"Port {port} on 127.0.0.1 is taken.*`ss -ltnp`.*`relay.port`"):
            await world.start(port=port)


async def test_an_address_that_is_not_ours_is_told(world):
    with pytest.raises(RelayError, match=r"`relay\.host`"):
        await world.start(host="192.0.2.1")


@pytest.mark.parametrize(
    ("certificate", "key", "told"),
    [
        pytest.param(None, "k", r"c: cannot be read .*`relay\.tls_certificate`", id="no-certificate"),
        pytest.param("c", None, r"k: cannot be read .*`relay\.tls_key`", id="no-key"),
        pytest.param("c", "k", "no PEM certificate", id="garbage"),
    ],
)
async def test_wrong_tls_files_are_told(world, tmp_path, certificate, key, told):
    for name in (certificate, key):
        if name is not None:
            (tmp_path / name).write_text("garbage")

    with pytest.raises(RelayError, match=told):
        await world.start(tls_certificate=str(tmp_path / "c"), tls_key=str(tmp_path / "k"))


async def test_a_missing_auth_file_is_told(world, tmp_path):
    with pytest.raises(RelayError, match=r"relay\.auth_file"):
        await world.start(auth_file=str(tmp_path / "none"))


async def test_a_missing_dkim_key_stops_the_start(world, tmp_path):
    key = DkimKeySettings(domain="shop.test", selector="s", key_file=str(tmp_path / "none"))
    settings = Settings(data_dir=str(tmp_path), dkim=(key,))

    with pytest.raises(SigningError, match="none"):
        await serve_relay(settings, world.store, open_rulebook(settings, world.store), asyncio.Event())


async def test_a_service_runs_until_it_is_stopped(world, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    hop = await world.hop.start()
    settings = Settings(
        data_dir=str(tmp_path),
        relay=RelaySettings(port=port, next_port=hop, hostname="relay.test"),
        return_path=ReturnPathSettings(domain="bounces.test"),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(serve_relay(settings, world.store, open_rulebook(settings, world.store), stop))

    async def listens():
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.01)

    reader, writer = await asyncio.wait_for(listens(), 20)
    writer.write(b"EHLO me\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nx\r\n.\r\n")
    got = b""
    while b"250 2.0.0 Ok" not in got:
        got += await reader.readline()
    stop.set()

    assert (await reader.readline()).startswith(b"421 4.3.2")
    writer.close()
    await running
    assert world.hop.mails[0].reverse_path.endswith("@bounces.test")
    assert world.states() == {"c@d.test": "queued"}
    with socket.create_server(("127.0.0.1", port)):
        pass  # the port is free again


async def test_the_settings_of_the_scrub_reach_the_relay(world):
    settings = msgspec.structs.replace(Settings(), scrub=msgspec.structs.replace(Settings().scrub, syntax="discard"))
    await world.start(settings=settings)
    client = await world.client()

    assert (await client.mail(b"x\r\n", "<a..b@c.test>")).startswith("250")
    assert world.hop.mails == []
    assert world.states() == {"a..b@c.test": "dropped"}
