"""Every text stands in both languages with the same places, and every text that a module says is there when it says it."""

import ast
import importlib
import re
import string
from pathlib import Path

import pytest

from omicard_relay.cli import language
from omicard_relay.cli.language import choose_language, current_language, register, say

FOLDER = Path(language.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


@pytest.fixture(autouse=True)
def _same_language():
    before = current_language()
    yield
    choose_language(before)


def places(text):
    return {(name, spec) for _, name, spec, _ in string.Formatter().parse(text) if name is not None}


def texts():
    for name in MODULES:
        importlib.import_module(f"omicard_relay.cli.{name}")
    return language._TEXTS


def faults(texts):
    found = []
    for key, both in texts.items():
        if len(both) != 2 or not all(isinstance(text, str) and text.strip() for text in both):
            found.append(f"{key}: needs both languages")
        elif places(both[0]) != places(both[1]):
            found.append(f"{key}: {places(both[0])} is not {places(both[1])}")
    return found


def test_every_text_has_both_languages_with_the_same_places():
    assert faults(texts()) == []
    assert len(texts()) > 50


@pytest.mark.parametrize(
    "both", [("one {a}", "一 {b}"), ("one", ""), ("one",), ("at {t:%H}", "在 {t:%M}"), ("{a}", "{a}{a}{b}")]
)
def test_a_text_that_differs_would_be_found(both):
    assert faults({"x": both})


def test_texts_for_readers_of_chinese_are_chinese():
    """But for those that are all places and names."""
    plain = {key for key, (_, chinese) in texts().items() if not re.search(r"[\u4e00-\u9fff]", chinese)}
    assert plain <= {"explain-event"} | {key for key in plain if not re.search(r"[a-z]{3} [a-z]{3}", texts()[key][1])}


# --- what a module says, it or a module that it imports has registered -------------------------------------------------


def registered(tree):
    """The keys of the `register({…})` calls."""
    return {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "register" and node.args
        for key in getattr(node.args[0], "keys", [])
        if isinstance(key, ast.Constant)
    }


def said(tree):
    """The keys that are said, as they stand there."""
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "say"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def imported(tree):
    """The modules of this folder that are imported at the top, also `from omicard_relay.cli import lists as shared`."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("omicard_relay.cli"):
            found |= {node.module.rpartition(".")[2], *(alias.name for alias in node.names)}
    return found & set(MODULES)


def missing(name, trees):
    seen, todo = set(), [name, "language", "root"]
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            todo += imported(trees[one])
    return said(trees[name]) - set().union(*(registered(trees[one]) for one in seen))


def trees():
    return {name: ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8")) for name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_only_what_is_registered_by_then(name):
    assert missing(name, trees()) == set()


def test_a_key_that_is_not_registered_would_be_found():
    made = trees() | {"db": ast.parse("register({'a': ('a', 'b')})\nsay('a')\nsay('report-none')\nsay('error')")}
    assert missing("db", made) == {"report-none"}
    made["db"].body.insert(0, ast.parse("from omicard_relay.cli import report").body[0])
    assert missing("db", made) == set()


# --- choosing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zh_TW.UTF-8"}, "zh-TW"),
        ({"LANG": "zh-TW"}, "zh-TW"),
        ({"LANG": "zh_HK.UTF-8"}, "zh-TW"),
        ({"LANG": "zh_CN.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh-TW"),
        ({"LANG": "zh_TW", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_TW", "LC_ALL": ""}, "zh-TW"),
    ],
)
def test_the_environment_chooses(monkeypatch, environment, wanted):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    choose_language(None)
    assert current_language() == wanted


def test_a_text_is_said_in_the_chosen_language():
    register({"test-only": ("{n} mails", "{n} 封")})
    try:
        choose_language("en")
        assert say("test-only", n=3) == "3 mails"
        choose_language("zh-TW")
        assert say("test-only", n=3) == "3 封"
    finally:
        del language._TEXTS["test-only"]
