"""Rule files: layering, and errors that name file, line, rule, key, found and allowed."""

from pathlib import Path

import pytest
import re2

from omicard_relay.classify import Judge
from omicard_relay.classify.index import expressions_of
from omicard_relay.mail import TableError
from omicard_relay.tables import Strength, load_policies
from omicard_relay.tables.rules import read_rules

GOOD = """
[[rule]]
id = "site-full"
bounce_code = 901
strength = "text"
phrases = ["no more letters please"]
examples = ["552 no more letters please"]
"""

FAULTS = {
    "typo in key": (GOOD.replace("phrases", "phrase"), "did you mean `phrases`"),
    "unknown strength": (GOOD.replace('"text"', '"strong"'), "'strong'"),
    "code out of range": (GOOD.replace("901", "801"), "900"),
    "no example": (GOOD.replace('["552 no more letters please"]', "[]"), "length >= 1"),
    "no words": (GOOD.replace('phrases = ["no more letters please"]\n', ""), "needs `pattern`, `phrases`"),
    "look-around": (GOOD + "pattern = '(?<=x)y'\n", "look-around"),
    "empty match": (GOOD + "pattern = 'x?'\n", "matches an empty text"),
    "endless gap": (GOOD + "pattern = 'x.*y'\n", "bounded gap"),
    "long gap": (GOOD + "pattern = 'x.{0,900}y'\n", "bounded gap"),
    "bad exception": (GOOD + "unless = '('\n", "`unless`"),
    "status in wrong form": (GOOD.replace('"text"', '"enhanced"'), "5.1.1 or x.2.2"),
    "reply code in wrong form": (GOOD.replace('"text"', '"reply"'), "552"),
    "pattern for a code": (
        GOOD.replace('"text"', '"reply"').replace("no more letters please", "552") + "pattern = 'x'\n",
        "list them under `phrases`",
    ),
    "unknown stage": (GOOD + 'stage = ["lunch"]\n', "'lunch'"),
    "unknown action": (GOOD + 'action = "bounce"\n', "'bounce'"),
    "reply class": (GOOD + "reply_class = 3\n", "3"),
}


def write(folder: Path, text: str, name: str = "site.toml") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(("text", "says"), FAULTS.values(), ids=FAULTS.keys())
def test_bad_rule_names_place_rule_and_fault(text: str, says: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rules", text)
    with pytest.raises(TableError) as caught:
        read_rules(tmp_path / "rules")
    message = str(caught.value)
    assert message.startswith(f"{path}:3: rule `site-full`")
    assert says in message


def test_rule_without_id_is_named_by_its_place(tmp_path: Path) -> None:
    path = write(tmp_path / "rules", GOOD + GOOD.replace('id = "site-full"\n', ""))
    with pytest.raises(TableError, match=r"2\. rule of the file") as caught:
        read_rules(tmp_path / "rules")
    assert str(path) in str(caught.value)


def test_same_id_in_two_files_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "rules", GOOD, "a.toml")
    write(tmp_path / "rules", GOOD, "b.toml")
    with pytest.raises(TableError, match=r"b\.toml:3.*also stands in a\.toml"):
        read_rules(tmp_path / "rules")


def test_site_rule_is_added_and_decides(tmp_path: Path) -> None:
    write(tmp_path / "rules", GOOD)
    policies = load_policies(tmp_path)
    verdict = Judge(policies).judge_text("550 No more  letters please")
    assert (verdict.bounce_code, verdict.rule_id) == (901, "site-full")
    assert len(policies.rules) == len(load_policies().rules) + 1


def test_site_rule_replaces_the_shipped_one(tmp_path: Path) -> None:
    shipped = load_policies()
    write(tmp_path / "rules", GOOD.replace("site-full", "yahoo-deferred"))
    policies = load_policies(tmp_path)
    assert len(policies.rules) == len(shipped.rules)
    assert policies.rules_by_id["yahoo-deferred"].bounce_code == 901


def test_site_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="is no folder"):
        load_policies(tmp_path / "absent")


def test_site_folder_may_be_empty(tmp_path: Path) -> None:
    assert load_policies(tmp_path).rules == load_policies().rules


def test_shipped_expressions_compile_in_re2() -> None:
    options = re2.Options()
    options.case_sensitive = False
    for rule in load_policies().rules:
        for expression in (*expressions_of(rule), *([rule.unless] if rule.unless else [])):
            re2.compile(expression.encode(), options)


def test_shipped_rules_have_the_strengths_of_the_table() -> None:
    assert {rule.strength for rule in load_policies().rules} == set(Strength)
