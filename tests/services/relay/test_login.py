"""STARTTLS and AUTH: offered only where they may be, nothing in clear is carried into TLS, wrong passwords end."""

import asyncio
import base64
import datetime
import ssl

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from omicard_relay.services.relay.logins import make_line


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A certificate, its key, and a file with one user."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = {"tls_certificate": folder / "c.pem", "tls_key": folder / "k.pem", "auth_file": folder / "auth"}
    paths["tls_certificate"].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths["tls_key"].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    paths["auth_file"].write_text(make_line("ann", "secret") + "\n")
    paths["auth_file"].chmod(0o600)
    return {name: str(path) for name, path in paths.items()}


def b64(text):
    return base64.b64encode(text.encode()).decode()


PLAIN = b64("\0ann\0secret")
STRANGER = {"networks": ("192.0.2.0/24",)}


async def private(client):
    """Say STARTTLS and shake hands."""
    assert (await client.say("STARTTLS")).startswith("220 2.0.0")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    await client.writer.start_tls(context)
    return client


async def test_what_is_offered_when(world, files):
    await world.start(**files)
    client = await world.client(hello=False)

    clear = await client.say("EHLO me.test")
    await private(client)
    secret = await client.say("EHLO me.test")

    assert ("STARTTLS" in clear, "AUTH" in clear) == (True, False)
    assert ("STARTTLS" in secret, "AUTH PLAIN LOGIN" in secret) == (False, True)


async def test_a_stranger_who_logs_in_may_send(world, files):
    await world.start(**files, **STRANGER)
    client = await world.client()
    assert (await client.say("MAIL FROM:<a@b.test>")).startswith("530 5.7.0")
    await private(client)
    assert (await client.say("MAIL FROM:<a@b.test>")).startswith("503 5.5.1")
    await client.hello()
    assert (await client.say("MAIL FROM:<a@b.test>")).startswith("530 5.7.0")

    assert (await client.say(f"AUTH PLAIN {PLAIN}")).startswith("235 2.7.0")
    assert (await client.mail()).startswith("250")

    assert world.submissions()[0].login == "ann"
    assert b"with ESMTPSA id" in world.hop.mails[0].content


@pytest.mark.parametrize(
    "dialogue",
    [
        pytest.param([("AUTH PLAIN", "334 "), (PLAIN, "235 2.7.0")], id="plain-two-steps"),
        pytest.param(
            [(f"auth plain {b64('ann' + chr(0) + 'ann' + chr(0) + 'secret')}", "235 2.7.0")], id="own-identity"
        ),
        pytest.param(
            [("AUTH LOGIN", "334 VXNlcm5hbWU6"), (b64("ann"), "334 UGFzc3dvcmQ6"), (b64("secret"), "235")], id="login"
        ),
        pytest.param([(f"AUTH LOGIN {b64('ann')}", "334 UGFzc3dvcmQ6"), (b64("secret"), "235")], id="login-initial"),
        pytest.param([("AUTH PLAIN", "334"), ("*", "501 5.7.0"), (f"AUTH PLAIN {PLAIN}", "235")], id="given-up"),
        pytest.param([("AUTH PLAIN ???", "501 5.5.2")], id="no-base64"),
        pytest.param([(f"AUTH PLAIN {b64('x')}", "501 5.5.2")], id="no-user"),
        pytest.param(
            [(f"AUTH PLAIN {b64('eve' + chr(0) + 'ann' + chr(0) + 'secret')}", "501 5.5.2")], id="other-identity"
        ),
        pytest.param([("AUTH CRAM-MD5", "504 5.5.4")], id="unknown-mechanism"),
        pytest.param([("AUTH", "501 5.5.4")], id="no-mechanism"),
        pytest.param([(f"AUTH PLAIN {PLAIN}", "235"), (f"AUTH PLAIN {PLAIN}", "503 5.5.1")], id="twice"),
        pytest.param(
            [
                (f"AUTH PLAIN {b64(chr(0) + 'ann' + chr(0) + 'no')}", reply)
                for reply in ("535 5.7.8", "535 5.7.8", "421 4.7.0")
            ],
            id="wrong-three-times",
        ),
        pytest.param([(f"AUTH PLAIN {b64(chr(0) + 'bob' + chr(0) + 'secret')}", "535 5.7.8")], id="unknown-user"),
    ],
)
async def test_auth(world, files, dialogue):
    await world.start(**files)
    client = await private(await world.client())
    await client.hello()

    for said, reply in dialogue:
        assert (await client.say(said)).startswith(reply)


async def test_a_client_that_falls_silent_in_the_middle_of_auth_hears_421(world, files):
    await world.start(**files, client_timeout_seconds=0.3)
    client = await private(await world.client())
    await client.hello()

    assert (await client.say("AUTH LOGIN")).startswith("334")
    assert (await client.reply()).startswith("421 4.4.2")


async def test_auth_in_clear_is_refused(world, files):
    await world.start(**files)
    client = await world.client()

    assert (await client.say(f"AUTH PLAIN {PLAIN}")).startswith("538 5.7.11")


async def test_tls_can_be_demanded(world, files):
    await world.start(**files, tls_required=True)
    client = await world.client()

    assert (await client.say("MAIL FROM:<a@b.test>")).startswith("530 5.7.0")
    await private(client)
    await client.hello()
    assert (await client.mail()).startswith("250")


async def test_commands_behind_starttls_end_the_connection(world, files):
    await world.start(**files)
    client = await world.client()
    client.writer.write(b"STARTTLS\r\nMAIL FROM:<evil@b.test>\r\n")

    assert (await client.reply()).startswith("501 5.5.1")
    assert await client.reply() == ""


async def test_garbage_instead_of_a_handshake_ends_the_connection(world, files):
    relay = await world.start(**files)
    client = await world.client()
    assert (await client.say("STARTTLS")).startswith("220")
    client.writer.write(b"this is no TLS\r\n" * 10)

    await client.reader.read()
    await world.until(lambda: not relay.door.connected)
    assert (await (await world.client()).mail()).startswith("250")


def test_tls_works_under_uvloop_too(make_world, files):
    async def main():
        world = make_world()
        try:
            await world.start(**files, **STRANGER)
            client = await private(await world.client())
            await client.hello()
            assert (await client.say(f"AUTH PLAIN {PLAIN}")).startswith("235")
            assert (await client.mail(b"x\r\n" * 50_000)).startswith("250")
            assert (await client.say("QUIT")).startswith("221")
        finally:
            await world.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
