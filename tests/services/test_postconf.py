"""Reading and changing a real configuration folder through postconf, postmap and postfix."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.services.postconf import Postconf, PostfixError, open_postconf, split_items
from tests.attaching import configuration, needs_postfix, no_waiting


def _has_terminals() -> bool:
    """Whether a pseudo-terminal is to be had: a bare chroot has none, and then Postfix's words go to its log alone."""
    try:
        for descriptor in os.openpty():
            os.close(descriptor)
    except OSError:
        return False
    return True


needs_terminals = pytest.mark.skipif(not _has_terminals(), reason="no pseudo-terminal here: mount /dev/pts")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with no_waiting():
        yield


@pytest.fixture
def postconf() -> Iterator[Postconf]:
    with configuration(main="transport_maps = inline:{a.test=smtp:[x]},\n   $my_maps\nmy_maps = static:x\n") as folder:
        yield open_postconf(folder)


@needs_postfix
def test_values_come_raw_on_one_line_or_expanded(postconf: Postconf) -> None:
    assert postconf.explicit()["transport_maps"] == "inline:{a.test=smtp:[x]}, $my_maps"
    assert postconf.effective("transport_maps") == "inline:{a.test=smtp:[x]}, static:x"
    assert postconf.explicit()["mydestination"] == ""
    assert "content_filter" not in postconf.explicit()
    assert "$mydestination" in postconf.default("relay_domains")
    assert postconf.effective("relay_domains") == ""
    assert postconf.effective("no_such_parameter") == ""


@needs_postfix
def test_changes_keep_comments_and_can_be_taken_back(postconf: Postconf) -> None:
    main = (postconf.folder / "main.cf").read_text()
    master = (postconf.folder / "master.cf").read_text()
    entry = "omi unix - - n - 10 smtp -o smtp_bind_address= -o smtp_helo_timeout=5s"
    postconf.set_services({"omi/unix": entry})
    postconf.set_main({"content_filter": "omi:[127.0.0.1]:1", "my_value": "$$x = {y}, $myhostname"})
    assert postconf.services()["omi/unix"] == entry
    assert postconf.explicit()["content_filter"] == "omi:[127.0.0.1]:1"
    assert "# A comment that must survive." in (postconf.folder / "main.cf").read_text()
    postconf.drop_main(["content_filter", "my_value"])
    postconf.drop_services(["omi/unix"])
    assert (postconf.folder / "main.cf").read_text() == main
    assert (postconf.folder / "master.cf").read_text() == master


@needs_postfix
def test_entry_that_postconf_folds_is_read_as_one_line(postconf: Postconf) -> None:
    entry = "p unix - n n - 5 pipe flags=Rq user=nobody argv=/x/" + "a" * 60 + " ${sender} " + "b" * 60 + " c"
    postconf.set_services({"p/unix": entry})
    assert postconf.services()["p/unix"] == entry


@needs_postfix
def test_second_line_in_a_value_is_refused_before_anything_is_written(postconf: Postconf) -> None:
    before = (postconf.folder / "main.cf").read_bytes()
    with pytest.raises(PostfixError, match="control character"):
        postconf.set_main({"content_filter": "x\nsmtpd_relay_restrictions = permit"})
    assert (postconf.folder / "main.cf").read_bytes() == before


@needs_postfix
def test_lookup_and_version(postconf: Postconf) -> None:
    assert postconf.lookup("inline:{a.test=smtp:[x]}", "a.test") == "smtp:[x]"
    assert postconf.lookup("inline:{a.test=smtp:[x]}", "b.test") is None
    assert postconf.lookup("nosuchtype:x", "b.test") is None
    assert int(postconf.version().split(".")[0]) >= 3


@needs_postfix
def test_broken_main_cf_is_an_error_with_postfix_own_words(postconf: Postconf) -> None:
    with (postconf.folder / "main.cf").open("a") as file:
        file.write("relay_domains = ${\n")
    with pytest.raises(PostfixError, match="macro processing error"):
        postconf.effective("relay_domains")


@needs_terminals
@needs_postfix
@pytest.mark.skipif(os.geteuid() != 0, reason="postfix check needs root")
def test_verify_says_what_is_wrong(postconf: Postconf) -> None:
    assert postconf.verify() == (True, ())
    with (postconf.folder / "main.cf").open("a") as file:
        file.write("relay_domains = ${\n")
    content, said = postconf.verify()
    assert not content
    assert any("macro processing error" in line for line in said)


@needs_terminals
@needs_postfix
@pytest.mark.skipif(os.geteuid() != 0, reason="postfix reload needs root")
def test_reload_of_a_postfix_that_does_not_run_is_an_error(postconf: Postconf) -> None:
    with pytest.raises(PostfixError, match=r"reload.* not running"):
        postconf.reload()


@needs_postfix
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "none", "no such folder"),
        (lambda folder: folder, "has no main.cf"),
        (lambda folder: [(folder / "main.cf").touch(), folder][1], "has no master.cf"),
        (lambda folder: [(folder / "file").touch(), folder / "file"][1], "no such folder"),
    ],
    ids=["missing", "empty", "half", "a file"],
)
def test_what_is_no_postfix_configuration_is_refused(tmp_path: Path, make: object, words: str) -> None:
    with pytest.raises(PostfixError, match=words):
        open_postconf(make(tmp_path))  # type: ignore[operator]


@needs_postfix
def test_relative_path_becomes_absolute(postconf: Postconf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(postconf.folder.parent)
    assert open_postconf(Path("etc")).folder == postconf.folder


def test_postfix_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("omicard_relay.services.postconf._TOOL_FOLDERS", ())
    with pytest.raises(PostfixError, match="not installed"):
        open_postconf(tmp_path)


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("", []),
        (" , ,", []),
        ("a, b c,d", ["a", "b", "c", "d"]),
        ("inline:{ a=b, {c d = e} } hash:x", ["inline:{ a=b, {c d = e} }", "hash:x"]),
        ("regexp:{ {/^a, b$$/ x:y} },z", ["regexp:{ {/^a, b$$/ x:y} }", "z"]),
        ("} a", ["}", "a"]),
    ],
    ids=["empty", "separators only", "both separators", "braces", "comma in braces", "stray brace"],
)
def test_items_of_a_list(value: str, items: list[str]) -> None:
    assert split_items(value) == items


@given(st.text())
def test_any_value_is_split_and_loses_only_separators(value: str) -> None:
    joined = "".join(split_items(value))
    assert [c for c in joined if not c.isspace() and c != ","] == [c for c in value if not c.isspace() and c != ","]


@needs_postfix
def test_last_line_without_an_end_stays_a_line_of_its_own(postconf: Postconf) -> None:
    """By itself postconf -M makes one service of the last one and the new one."""
    for name in ("main.cf", "master.cf"):
        path = postconf.folder / name
        path.write_text(path.read_text().rstrip("\n"))
    before = postconf.services()
    postconf.set_services({"omi/unix": "omi unix - - n - 10 smtp"})
    postconf.set_main({"content_filter": "omi:x"})
    assert postconf.services() == {**before, "omi/unix": "omi unix - - n - 10 smtp"}
    assert postconf.explicit()["content_filter"] == "omi:x"
    assert postconf.explicit()["my_maps"] == "static:x"


@needs_postfix
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_mode_and_owner_of_the_files_stay(postconf: Postconf) -> None:
    for name in ("main.cf", "master.cf"):
        os.chown(postconf.folder / name, 1, 65534)
        (postconf.folder / name).chmod(0o640)
    postconf.set_main({"content_filter": "omi:x"})
    postconf.set_services({"omi/unix": "omi unix - - n - 10 smtp"})
    for name in ("main.cf", "master.cf"):
        found = (postconf.folder / name).stat()
        assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o640, 1, 65534)


@needs_postfix
def test_parameter_of_a_service_that_is_not_there_is_seen(postconf: Postconf) -> None:
    postconf.set_main({"omi_destination_concurrency_limit": "$my_maps, 7"})
    assert postconf.explicit()["omi_destination_concurrency_limit"] == "$my_maps, 7"
    assert postconf.explicit()["transport_maps"] == "inline:{a.test=smtp:[x]}, $my_maps"
