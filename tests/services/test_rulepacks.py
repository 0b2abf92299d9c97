"""Imported packs: who is trusted, what is refused, and that a kill at any moment leaves the old pack or the new one."""

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from omicard_relay.mail import RelayError, SigningError, TableError
from omicard_relay.services import rulepacks
from omicard_relay.services.packkeys import public_pem, read_public_key, trust, trusted_keys
from omicard_relay.services.rulepacks import (
    PackChange,
    collect_files,
    install,
    installed_packs,
    prepare_import,
    read_pack,
    remove_pack,
)
from omicard_relay.signing.rule_pack import RulePack, open_pack, seal_pack
from omicard_relay.tables import load_policies
from tests.ruling import Site, rule_text, ship, site_in, small_set

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
PUBLIC = KEY.public_key().public_bytes_raw()
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def pack(
    version: int = 1,
    rules: str = rule_text("moon-1"),
    *,
    name: str = "moon",
    key: Ed25519PrivateKey = KEY,
    **files: str,
) -> RulePack:
    texts = {"rules/moon.toml": rules, **{f"{name}.toml": text for name, text in files.items()}}
    return open_pack(seal_pack(name=name, version=version, created=NOW, files=texts, key=key))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    ship(small_set(tmp_path / "shipped"), monkeypatch.setattr)
    site = site_in(tmp_path / "site")
    site.policies.mkdir(parents=True)
    trust(site.policies, PUBLIC)
    yield site
    load_policies(site.policies)  # whatever happened, the set loads


def take(site: Site, new: RulePack, keys: dict[bytes, Path] | None = None) -> PackChange:
    change = prepare_import(site.policies, new, keys or {})
    assert not change.refusals
    assert not change.breaks
    install(site.policies, new)
    return change


def test_an_imported_pack_is_in_the_set_below_the_sites_own_rules(site: Site) -> None:
    both = rule_text("moon-1") + rule_text("own-sun", phrases=["sun"], examples=["450 sun"])
    site.write(rule_text("own-sun", bounce_code=939, phrases=["sun"], examples=["450 sun"]))
    change = take(site, pack(rules=both))
    assert (change.installed, change.is_same, change.rules) == (None, False, 2)
    rules = load_policies(site.policies).rules_by_id
    assert (rules["moon-1"].bounce_code, rules["own-sun"].bounce_code) == (938, 939)


def test_pack_json_says_what_it_is_and_the_files_are_as_signed(site: Site) -> None:
    new = pack()
    take(site, new)
    head = json.loads((site.policies / "packs" / "moon" / "pack.json").read_text())
    assert (head["name"], head["version"], head["digest"]) == ("moon", 1, new.digest)
    (found,) = installed_packs(site.policies)
    assert (found.name, found.version, found.key, found.intact) == ("moon", 1, PUBLIC, True)


@pytest.mark.parametrize("harm", ["changed", "added", "gone", "codes"])
def test_files_changed_by_hand_are_told_and_the_import_mends_them(harm: str, site: Site) -> None:
    take(site, pack())
    rules = site.policies / "packs" / "moon" / "rules"
    if harm == "changed":
        (rules / "moon.toml").write_text(rule_text("moon-1", bounce_code=939))
    elif harm == "added":
        (rules / "more.toml").write_text(rule_text("moon-2"))
    elif harm == "gone":
        (rules / "moon.toml").unlink()
    else:
        (rules.parent / "codes.toml").write_text("")
    assert [found.intact for found in installed_packs(site.policies)] == [False]
    assert not take(site, pack()).is_same
    assert [found.intact for found in installed_packs(site.policies)] == [True]


def test_a_later_version_takes_the_place_of_the_older_whole(site: Site) -> None:
    take(site, pack())
    change = take(site, pack(2, rule_text("moon-2")))
    assert change.installed is not None
    assert change.installed.version == 1
    ids = set(load_policies(site.policies).rules_by_id)
    assert "moon-2" in ids
    assert "moon-1" not in ids
    assert [path.name.partition("-2-")[0] for path in (site.policies / ".packs").iterdir()] == ["moon"]


def test_the_same_pack_again_is_nothing_to_do(site: Site) -> None:
    take(site, pack())
    assert prepare_import(site.policies, pack(), {}).is_same


@pytest.mark.parametrize("version", [1, 2], ids=["older", "same number, other rules"])
def test_a_downgrade_is_refused(version: int, site: Site) -> None:
    take(site, pack(2))
    with pytest.raises(TableError, match="installed in version 2"):
        prepare_import(site.policies, pack(version, rule_text("moon-9")), {})


def test_another_signer_is_refused_unless_named(site: Site, tmp_path: Path) -> None:
    foreign = pack(key=OTHER)
    with pytest.raises(SigningError, match="not trusted"):
        prepare_import(site.policies, foreign, {})
    with pytest.raises(SigningError, match="another key"):
        prepare_import(site.policies, foreign, {PUBLIC: tmp_path})
    take(site, foreign, {foreign.public_key: tmp_path})


def test_a_trusted_signer_cannot_take_over_anothers_pack(site: Site, tmp_path: Path) -> None:
    take(site, pack())
    foreign = pack(2, key=OTHER)
    trust(site.policies, foreign.public_key)
    with pytest.raises(SigningError, match="than the installed version"):
        prepare_import(site.policies, foreign, {})
    take(site, foreign, {foreign.public_key: tmp_path})


UNFIT = {
    "no TOML": "[[rule",
    "unknown key": rule_text("moon-1", moon=True),
    "look-around": rule_text("moon-1", pattern="(?=x)y"),
    "no example": rule_text("moon-1", examples=[]),
    "same id twice": rule_text("moon-1") * 2,
    "its example fails": rule_text("moon-1", examples=["550 5.1.1 no such user"]),
    "its counter-example hits": rule_text("moon-1", not_examples=["450 when the moon is high"]),
}


@pytest.mark.parametrize("rules", UNFIT.values(), ids=UNFIT.keys())
def test_an_unfit_pack_is_refused_with_the_file_and_the_old_set_stays(rules: str, site: Site) -> None:
    take(site, pack())
    before = load_policies(site.policies)
    change = prepare_import(site.policies, pack(2, rules), {})
    assert {str(one.path) for one in change.refusals} == {"moon/rules/moon.toml"}
    assert load_policies(site.policies) == before


def test_bad_codes_in_a_pack_are_refused(site: Site) -> None:
    change = prepare_import(site.policies, pack(codes="[[code]]\nnumber = 5\n"), {})
    assert [str(one.kind) for one in change.refusals] == ["bad-codes"]


def test_a_pack_that_breaks_others_examples_is_refused_with_all_of_them(site: Site) -> None:
    site.write(rule_text("own-1", examples=["450 when the moon is high", "550 when the moon is high, full"]))
    greedy = rule_text(
        "moon-1", bounce_code=904, strength="token", phrases=["no such user", "moon"], examples=["550 moon"]
    )
    change = prepare_import(site.policies, pack(rules=greedy), {})
    assert not change.refusals
    assert [flip.after.rule.id for flip in change.breaks] == ["base-unknown", "own-1", "own-1"]


def test_a_rule_that_the_site_replaced_need_not_pass(site: Site) -> None:
    site.write(rule_text("moon-1"))
    take(site, pack(rules=rule_text("moon-1", examples=["550 5.1.1 no such user"])))


def test_packs_come_in_the_order_of_their_names_whatever_came_first(site: Site) -> None:
    take(site, pack(name="b", rules=rule_text("moon-1", bounce_code=904)))
    take(site, pack(name="a", rules=rule_text("moon-1", bounce_code=905)))
    assert load_policies(site.policies).rules_by_id["moon-1"].bounce_code == 904


def test_a_pack_is_taken_out_and_its_files_go(site: Site) -> None:
    take(site, pack())
    assert remove_pack(site.policies, "moon")
    assert not remove_pack(site.policies, "moon")
    assert installed_packs(site.policies) == ()
    assert list((site.policies / ".packs").iterdir()) == []


def test_a_folder_that_was_put_there_by_hand_is_left_alone(site: Site) -> None:
    (site.policies / "packs" / "moon" / "rules").mkdir(parents=True)
    with pytest.raises(TableError, match="by hand"):
        install(site.policies, pack())
    with pytest.raises(TableError, match="by hand"):
        remove_pack(site.policies, "moon")


def test_a_kill_at_any_moment_of_an_import_leaves_the_old_pack_or_the_new_one(site: Site) -> None:
    """Killed at each write, sync and rename in turn, until a run comes through."""
    take(site, pack())
    old, new = "moon-1", "moon-2"
    seen = []
    for moment in range(100):
        child = os.fork()
        if child == 0:
            _die_at(moment)
            install(site.policies, pack(2, rule_text(new)))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ids = set(load_policies(site.policies).rules_by_id) & {old, new}
        (held,) = ids
        (found,) = installed_packs(site.policies)
        assert found.intact
        assert found.version == (1 if held == old else 2)
        seen.append(held)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        take_back(site, held)
    assert seen[0] == old
    assert seen[-1] == new
    assert len(seen) > 8
    assert seen.count(new) > 1  # killed after the switch as well
    # What the kills left behind is gone.
    assert len(list((site.policies / ".packs").iterdir())) == 1


def take_back(site: Site, held: str) -> None:
    """The old version again, for the next kill; the leftovers stay where they are."""
    if held == "moon-2":
        install(site.policies, pack())


def _die_at(moment: int) -> None:
    """Make the process kill itself at the n-th call that changes the disk."""
    left = [moment]

    def deadly(module: object, name: str) -> None:
        real = getattr(module, name)

        def call(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(module, name, call)

    for name in ("mkdir", "open", "symlink_to", "replace"):
        deadly(rulepacks.Path, name)
    deadly(rulepacks.os, "fsync")
    deadly(rulepacks.shutil, "rmtree")


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_trusted_key_is_remembered_as_pem(site: Site) -> None:
    path = trust(site.policies, PUBLIC)
    assert read_public_key(path) == PUBLIC
    assert set(trusted_keys(site.policies)) == {PUBLIC}


@pytest.mark.parametrize("text", ["", "-----BEGIN PUBLIC KEY-----\n", "x" * 100_000, "private", "rsa"])
def test_what_is_no_public_key_is_told(text: str, site: Site, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    if text == "private":
        text = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    elif text == "rsa":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
        text = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    path = tmp_path / "key.pem"
    path.write_text(text)
    with pytest.raises(SigningError, match=r"key\.pem: holds no Ed25519 public key"):
        read_public_key(path)


# --- reading and collecting -------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(SigningError, match="cannot be read"):
            read_pack(path)
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SigningError, match="more than"):
        read_pack(huge)


def test_export_of_the_site_is_its_files_as_they_are(site: Site) -> None:
    text = "# mine\r\n" + rule_text().replace("\n", "\r\n")
    site.write(text)
    assert collect_files(site.policies, everything=False) == {"rules/own.toml": text}


def test_export_of_all_has_each_rule_once_and_gives_the_same_set(site: Site, tmp_path: Path) -> None:
    take(site, pack(rules=rule_text("moon-1") + rule_text("base-550", phrases=["sun"], examples=["450 sun"])))
    site.write(rule_text("moon-1", bounce_code=939))
    files = collect_files(site.policies, everything=True)
    assert set(files) == {"rules/shipped-base.toml", "rules/pack-moon-moon.toml", "rules/site-own.toml"}
    other = site_in(tmp_path / "other")
    whole = open_pack(seal_pack(name="whole", version=1, created=NOW, files=files, key=KEY))
    install(other.policies, whole)
    assert set(load_policies(other.policies).rules) == set(load_policies(site.policies).rules)


def test_public_pem_is_what_openssl_calls_one() -> None:
    assert public_pem(PUBLIC).startswith("-----BEGIN PUBLIC KEY-----\n")
    with pytest.raises((ValueError, RelayError)):
        public_pem(b"short")
