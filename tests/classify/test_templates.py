"""Replies of one template come together, whatever names they hold; causes stay apart."""

from omicard_relay.classify.masking import joined, mask
from omicard_relay.classify.templates import Tokens, templates_of

NAMES = (
    "kowalski",
    "nguyen",
    "schmidt",
    "tanaka",
    "oyelaran",
    "garcia",
    "rossi",
    "petrov",
    "lindqvist",
    "haddad",
    "moreau",
    "okafor",
)


def found(lines: dict[str, int], vocabulary: frozenset[str] = frozenset()) -> dict[str, set[str]]:
    """Template -> the members, for lines with how many recipients had them."""
    forms: dict[Tokens, int] = {tuple(mask(line)): recipients for line, recipients in lines.items()}
    return {joined(t.tokens): {joined(m) for m in t.members} for t in templates_of(forms, vocabulary)}


def test_names_do_not_part_a_template() -> None:
    lines = {f"the box of {name} is asleep": 1 for name in NAMES}
    assert found(lines) == {"the box of <*> is asleep": set(lines)}


def test_few_names_do_not_either_when_each_had_one_recipient() -> None:
    lines = {f"the box of {name} is asleep": 1 for name in NAMES[:3]}
    assert found(lines) == {"the box of <*> is asleep": set(lines)}


def test_causes_of_many_recipients_are_parted() -> None:
    lines = {"sent back because the owl is asleep": 3, "sent back because the cat is asleep": 3}
    assert set(found(lines)) == set(lines)


def test_causes_are_parted_beside_names() -> None:
    lines = {f"the box of {name} is {what} since spring": 1 for name in NAMES for what in ("asleep", "on fire")}
    assert set(found(lines)) == {"the box of <*> is asleep since spring", "the box of <*> is on fire since spring"}


def test_words_that_are_known_from_replies_are_causes_at_once() -> None:
    lines = {"back because the mailbox is odd": 1, "back because the sender is odd": 1}
    assert set(found(lines)) == {"back because the <*> is odd"}
    assert set(found(lines, frozenset({"mailbox", "sender"}))) == set(lines)


def test_units_are_no_causes() -> None:
    lines = {"come to the owlery again in 3 seconds": 3, "come to the owlery again in 3 minutes": 3}
    assert len(found(lines, frozenset({"seconds", "minutes"}))) == 1


def test_a_rare_word_beside_causes_goes_into_a_template_of_its_own() -> None:
    lines = {f"sent back because the {word} is asleep": n for word, n in (("owl", 3), ("cat", 3), ("xqz", 1))}
    assert set(found(lines)) == set(lines)


def test_different_sentences_are_different_templates() -> None:
    lines = {"the owl sleeps in its tree": 1, "no toll was paid at dawn": 1}
    assert set(found(lines)) == set(lines)


def test_the_order_of_the_replies_changes_nothing() -> None:
    lines = {
        f"the box of {name} is {what} since spring": n for n, name in enumerate(NAMES, 1) for what in ("shut", "lost")
    }
    assert found(lines) == found(dict(reversed(lines.items())))


def test_nothing_makes_no_template() -> None:
    assert found({}) == {}
