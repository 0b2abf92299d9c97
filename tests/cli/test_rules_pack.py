"""`rules keygen`, `export`, `import` and `packs`: from one site to another and back."""

import json
import os
from pathlib import Path

import pytest

from omicard_relay.tables import load_policies
from tests.ruling import Site, rule_text, ship, site_in, small_set


@pytest.fixture(autouse=True)
def _shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(small_set(tmp_path / "shipped"), monkeypatch.setattr)


@pytest.fixture
def author(tmp_path: Path) -> Site:
    site = site_in(tmp_path / "author")
    site.write(rule_text())
    made = site.run("keygen", site.folder / "key.pem")
    assert made.exit_code == 0
    (site.folder / "public.pem").write_text(made.stdout)
    return site


@pytest.fixture
def reader(tmp_path: Path) -> Site:
    return site_in(tmp_path / "reader")


def export(site: Site, version: int = 1, *words: str) -> Path:
    path = site.folder / f"moon-{version}.json"
    result = site.run(
        "export", path, "--name", "moon", "--version", str(version), "--key", site.folder / "key.pem", *words
    )
    assert result.exit_code == 0, result.stderr
    return path


def test_a_key_is_made_once_and_kept_private(author: Site) -> None:
    key = author.folder / "key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    assert (author.folder / "public.pem").read_text().startswith("-----BEGIN PUBLIC KEY-----")
    again = author.run("keygen", key)
    assert again.exit_code == 1
    assert "never overwritten" in again.stderr


def test_a_pack_goes_from_site_to_site(author: Site, reader: Site) -> None:
    path = export(author)
    refused = reader.run("import", path)
    assert refused.exit_code == 1
    assert "not trusted" in refused.stderr
    taken = reader.run("import", path, "--key", author.folder / "public.pem", "--trust")
    assert taken.exit_code == 0, taken.stderr
    assert "pack moon, version 1, 1 rules, is in the working copy now (before: none)" in taken.stdout
    assert "own-moon" in load_policies(reader.policies).rules_by_id
    author.write(rule_text() + rule_text("own-sun", phrases=["sun"], examples=["450 sun"]))
    later = reader.run("import", export(author, 2))
    assert later.exit_code == 0
    assert "before: version 1" in later.stdout
    assert "own-sun" in load_policies(reader.policies).rules_by_id
    assert reader.run("import", author.folder / "moon-2.json").stdout.startswith(
        "pack moon is installed in this version 2"
    )
    older = reader.run("import", path)
    assert older.exit_code == 1
    assert "installed in version 2" in older.stderr
    assert "own-sun" in load_policies(reader.policies).rules_by_id


def test_packs_lists_and_removes(author: Site, reader: Site) -> None:
    assert "no pack is imported" in reader.run("packs").stderr
    reader.run("import", export(author), "--key", author.folder / "public.pem")
    row = json.loads(reader.run("packs", "--jsonl").stdout)
    assert (row["name"], row["version"], row["trusted"], row["intact"]) == ("moon", 1, False, True)
    assert "moon" in reader.run("packs").stdout
    (reader.policies / "packs" / "moon" / "rules" / "own.toml").write_text(rule_text(bounce_code=939))
    assert "CHANGED" in reader.run("packs").stdout
    assert reader.run("packs", "remove", "moon").exit_code == 0
    assert "own-moon" not in load_policies(reader.policies).rules_by_id
    for name in ("moon", "../..", "."):
        assert reader.run("packs", "remove", name).exit_code == 1


def test_a_tampered_pack_is_refused_and_the_old_set_stays(author: Site, reader: Site) -> None:
    path = export(author)
    path.write_text(path.read_text("utf-8").replace("moon is high", "moon is low"), "utf-8")
    result = reader.run("import", path, "--key", author.folder / "public.pem", "--trust")
    assert result.exit_code == 1
    assert "the signature is wrong" in result.stderr
    assert not (reader.policies / "packs").exists()
    assert not (reader.policies / "trusted").exists()


def test_a_pack_that_does_harm_here_is_refused_with_every_reason(author: Site, reader: Site) -> None:
    reader.write(rule_text("own-9", bounce_code=904, strength="token", phrases=["the moon is high"]))
    result = reader.run("import", export(author), "--key", author.folder / "public.pem")
    assert result.exit_code == 1
    assert "moon/rules/own.toml:2: error: rule own-moon: the example" in result.stderr
    assert not (reader.policies / "packs").exists()
    assert (
        "遭拒"
        in reader.run(
            "import", author.folder / "moon-1.json", "--key", author.folder / "public.pem", lang="zh-TW"
        ).stderr
    )


def test_dry_run_changes_nothing(author: Site, reader: Site) -> None:
    result = reader.run("import", export(author), "--key", author.folder / "public.pem", "--trust", "--dry-run")
    assert result.exit_code == 0
    assert "nothing was changed" in result.stdout
    assert not (reader.folder / "data").exists()


def test_trust_needs_a_key_that_came_another_way(author: Site, reader: Site) -> None:
    assert reader.run("import", export(author), "--trust").exit_code == 2


def test_rules_that_fail_are_not_exported(author: Site) -> None:
    author.write(rule_text(examples=["550 no such user"]))
    words = ("export", author.folder / "x.json", "--name", "moon", "--version", "1", "--key", author.folder / "key.pem")
    result = author.run(*words)
    assert result.exit_code == 1
    assert "should get 938 and gets 902" in result.stderr
    assert not (author.folder / "x.json").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--name": "Moon Rules"}, "cannot name a pack"),
        ({"--key": "public.pem"}, "holds no Ed25519 private key"),
        ({"--key": "absent.pem"}, "no such key file"),
    ],
)
def test_export_says_what_is_wrong(change: dict[str, str], says: str, author: Site) -> None:
    os.chmod(author.folder / "public.pem", 0o600)
    words = {"--name": "moon", "--version": "1", "--key": "key.pem", **change}
    words["--key"] = str(author.folder / words["--key"])
    result = author.run("export", author.folder / "x.json", *(word for pair in words.items() for word in pair))
    assert result.exit_code == 1
    assert says in result.stderr


def test_a_site_without_rules_has_nothing_to_export_but_all(author: Site, reader: Site) -> None:
    words = ("export", reader.folder / "x.json", "--name", "all", "--version", "1", "--key", author.folder / "key.pem")
    assert "no rules of its own" in reader.run(*words).stderr
    assert reader.run(*words, "--all").exit_code == 0
    files = json.loads((reader.folder / "x.json").read_text("utf-8"))["files"]
    assert list(files) == ["rules/shipped-base.toml"]


@pytest.mark.parametrize(
    "octets", [b"", b"\xff\xfe", b"{}", b"x" * 9_000_000], ids=["empty", "bad UTF-8", "no pack", "huge"]
)
def test_what_is_no_pack_is_told(octets: bytes, reader: Site) -> None:
    path = reader.folder / "x.json"
    path.write_bytes(octets)
    result = reader.run("import", path)
    assert result.exit_code == 1
    assert "is no rule pack" in result.stderr
