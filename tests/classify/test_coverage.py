"""Each of the 40 codes is reached by examples of several rules from several sources; the list is the table's own."""

from functools import cache

import pytest

from omicard_relay.classify.examples import evidence_of_example, expected_code
from omicard_relay.tables import Rule
from tests.judging import judge, policies

#: Rules whose examples reach a code, and sources that they name, at least.
RULES, SOURCES = 3, 2


@cache
def reaching() -> dict[int, list[Rule]]:
    """By code, the rules of which some example gets it: by the whole judge, and as its author says."""
    reached: dict[int, list[Rule]] = {}
    for rule in policies().rules:
        codes = set()
        for example in rule.examples:
            evidence = evidence_of_example(rule, example)
            verdict = judge().judge(evidence)
            if verdict is not None and verdict.bounce_code == expected_code(rule, evidence):
                codes.add(verdict.bounce_code)
        for code in codes:
            reached.setdefault(code, []).append(rule)
    return reached


@pytest.mark.parametrize("code", policies().codes.values(), ids=lambda code: f"{code.number}-{code.name}")
def test_code_is_reached_by_several_rules_of_several_sources(code) -> None:  # type: ignore[no-untyped-def]
    rules = reaching().get(code.number, [])
    sources = {rule.source for rule in rules if rule.source}
    found = f"code {code.number} ({code.name}) is reached by {[rule.id for rule in rules]} of {sorted(sources)}"
    assert len(rules) >= RULES, found
    assert len(sources) >= SOURCES, found


def test_all_forty_codes_are_asked_for() -> None:
    assert sorted(policies().codes) == list(range(900, 940))
