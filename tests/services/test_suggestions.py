"""Unknown replies become templates with rules that judge just them; memory stays bounded, and names of people stay out."""

import json
import shlex
import tomllib
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from msgspec import structs

from omicard_relay.classify import Judge
from omicard_relay.classify.wording import wording_of
from omicard_relay.mail import Evidence, Road, read_reply
from omicard_relay.services import gathering
from omicard_relay.services.follow import Follower
from omicard_relay.services.gathering import BadLine, Gatherer, Proposal, gather_lines, gather_stored
from omicard_relay.services.ingest import Ingester
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.services.suggestions import Suggested, Suggestion, suggest
from omicard_relay.signing import ReturnPathKeys, ReturnPathSigner
from omicard_relay.store.engine import Store
from omicard_relay.store.replies import Period
from omicard_relay.tables import Policies, Rule, Strength
from omicard_relay.tables.codes import read_codes
from omicard_relay.tables.rules import read_rules
from omicard_relay.tables.settings import Settings
from tests.keeping import NOW, UNKNOWN, a_store, delivery, expired, queued, said
from tests.mails import dsn
from tests.ruling import ROOT, small_set
from tests.services.unknown_replies import ORIGINS, Made, as_lines, made_replies

TODAY = date(2026, 11, 24)
BELOW = 0.5


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    """A full mailbox, an unknown recipient, and a bare 550."""
    folder = small_set(tmp_path_factory.mktemp("shipped") / "policies")
    return Policies(codes=read_codes(ROOT / "policies" / "codes.toml"), rules=read_rules(folder / "rules"))


def gather(policies: Policies, lines: list[bytes]) -> Gatherer:
    gatherer = Gatherer(Judge(policies), BELOW)
    assert list(gather_lines(lines, gatherer, on_progress=lambda octets: None)) == []
    return gatherer


def suggested(policies: Policies, *texts: str, recipient: str = "", most: int = 100) -> Suggested:
    rows = [json.dumps({"text": text, "recipient": recipient}).encode() for text in texts]
    return suggest(gather(policies, rows), policies, policies, today=TODAY, most=most)


# --- a stream of thirty templates -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def replies() -> list[Made]:
    return made_replies()


@pytest.fixture(scope="module")
def found(policies: Policies, replies: list[Made]) -> Suggested:
    return suggest(gather(policies, list(as_lines(replies))), policies, policies, today=TODAY, most=100)


def with_rules(policies: Policies, items: tuple[Suggestion, ...]) -> Policies:
    return Policies(codes=policies.codes, rules=(*policies.rules, *(item.rule for item in items if item.rule)))


def test_each_template_comes_back_as_one_most_frequent_first(found: Suggested) -> None:
    assert len(ORIGINS) == 30
    assert sum(origin.count for origin in ORIGINS) > 2000
    assert [item.count for item in found.items] == [origin.count for origin in ORIGINS]
    assert found.templates == 30


def test_the_phrase_stands_in_each_reply_of_its_template_and_in_no_other(found: Suggested, replies: list[Made]) -> None:
    read = [(one.origin, wording_of(read_reply(one.text).innermost).folded) for one in replies]
    for place, item in enumerate(found.items):
        assert item.phrase
        held = Counter(origin for origin, folded in read if item.phrase in folded)
        assert held == {place: ORIGINS[place].count}
        assert (item.also, item.stopped_by) == ((), "")


def test_all_rules_accepted_judge_each_reply_by_the_rule_of_its_template(
    policies: Policies, found: Suggested, replies: list[Made]
) -> None:
    judge = Judge(with_rules(policies, found.items))
    by_rule = {item.rule.id: place for place, item in enumerate(found.items) if item.rule}
    assert len(by_rule) == 30
    assert all(by_rule[judge.judge_text(one.text).rule_id] == one.origin for one in replies)


@pytest.mark.parametrize("place", [5, 11, 16])
def test_one_rule_accepted_judges_just_its_template(
    place: int, policies: Policies, found: Suggested, replies: list[Made]
) -> None:
    item = found.items[place]
    assert item.rule is not None
    judge = Judge(with_rules(policies, (item,)))
    judged = Counter(one.origin for one in replies if judge.judge_text(one.text).rule_id == item.rule.id)
    assert judged == {place: ORIGINS[place].count}


def test_other_streams_give_the_same_templates(policies: Policies, found: Suggested) -> None:
    for seed in (11, 12):
        other = suggest(gather(policies, list(as_lines(made_replies(seed)))), policies, policies, today=TODAY, most=100)
        assert [(item.key, item.phrase) for item in other.items] == [(item.key, item.phrase) for item in found.items]


def test_the_order_of_the_replies_changes_no_template(
    policies: Policies, found: Suggested, replies: list[Made]
) -> None:
    other = suggest(gather(policies, list(as_lines(replies[::-1]))), policies, policies, today=TODAY, most=100)
    assert [(i.key, i.count, i.phrase, i.proposal) for i in other.items] == [
        (i.key, i.count, i.phrase, i.proposal) for i in found.items
    ]


def test_the_same_replies_give_the_same_to_the_letter(
    policies: Policies, found: Suggested, replies: list[Made]
) -> None:
    assert suggest(gather(policies, list(as_lines(replies))), policies, policies, today=TODAY, most=100) == found


def test_no_recipient_is_told(found: Suggested, replies: list[Made]) -> None:
    shown = "\n".join(f"{item.template} {item.command} {item.toml}" for item in found.items)
    assert not any(one.recipient in shown or one.recipient.partition("@")[0] in shown for one in replies)
    assert "user@example.com" in shown


def test_memory_is_bounded_and_templates_come_back_all_the_same(
    policies: Policies, replies: list[Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MOST_FORMS", 250)
    monkeypatch.setattr(gathering, "_KEPT_FORMS", 200)
    gatherer = Gatherer(Judge(policies), BELOW)
    for _ in gather_lines(as_lines(replies), gatherer, on_progress=lambda octets: None):
        pytest.fail("a bad line")
    assert len(gatherer.forms) <= 250
    assert sum(form.count for form in gatherer.forms.values()) + gatherer.dropped == len(replies)
    found = suggest(gatherer, policies, policies, today=TODAY, most=100)
    assert gatherer.dropped == 0
    assert sum(item.count == origin.count for item, origin in zip(found.items, ORIGINS, strict=False)) >= 28


def test_replies_that_are_all_different_are_dropped_and_counted(
    policies: Policies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MOST_FORMS", 60)
    monkeypatch.setattr(gathering, "_KEPT_FORMS", 30)
    words = [f"{a}{b}{c}" for a in "bcdf" for b in "aeiou" for c in "lmnrst"]
    lines = [f"550 {' '.join(words[n : n + 2 + n % 40])} xq".encode() for n in range(110)]
    gatherer = gather(policies, lines)
    assert len(gatherer.forms) <= 60
    assert gatherer.dropped > 0
    assert sum(form.count for form in gatherer.forms.values()) + gatherer.dropped == 110


# --- one template -----------------------------------------------------------------------------------------------------

PROPOSALS = {
    "a weak verdict": ("550 wolves devour parcels", Proposal(bounce_code=907, by="verdict")),
    "the class of a 4xx reply": ("451 wolves devour parcels", Proposal(bounce_code=928, by="reply-class")),
    "the class of a 5xx reply": ("571 wolves devour parcels", Proposal(bounce_code=907, by="reply-class")),
    "nothing speaks": ("wolves devour parcels", None),
}


@pytest.mark.parametrize(("text", "wanted"), PROPOSALS.values(), ids=PROPOSALS.keys())
def test_proposed_code(text: str, wanted: Proposal | None, policies: Policies) -> None:
    (item,) = suggested(policies, text).items
    assert item.proposal == wanted


def test_a_reading_that_lost_to_900_is_proposed(policies: Policies) -> None:
    both = (
        Rule(
            id="own-odd", bounce_code=900, strength=Strength.TOKEN, phrases=("odd thing",), examples=("550 odd thing",)
        ),
        Rule(id="own-wolf", bounce_code=926, strength=Strength.TEXT, phrases=("wolves",), examples=("550 wolves",)),
    )
    known = Policies(codes=policies.codes, rules=(*policies.rules, *both))
    (item,) = suggested(known, "550 odd thing: wolves devour parcels").items
    assert item.proposal == Proposal(bounce_code=926, by="runner-up")


def test_codes_are_counted_and_do_not_part_a_template(policies: Policies) -> None:
    texts = ["550 5.7.1 wolves devour parcels", "450 4.7.1 wolves devour parcels", "wolves devour parcels"]
    (item,) = suggested(policies, *texts, texts[0], texts[0]).items
    assert (item.count, item.codes) == (5, (("550 5.7.1", 3), ("450 4.7.1", 1)))
    assert item.verdict == (907, "base-550", 0.35)
    assert item.template == "wolves devour parcels"


def test_domains_of_recipients_are_counted(policies: Policies) -> None:
    rows = [
        json.dumps({"text": "550 wolves devour parcels", "recipient": f"ann@d{n % 3}.example"}).encode()
        for n in range(9)
    ]
    (item,) = suggest(gather(policies, rows), policies, policies, today=TODAY, most=9).items
    assert (item.domains, item.is_more) == (3, False)


def test_the_command_and_the_text_state_the_same_rule(policies: Policies) -> None:
    text = '550 it\'s a "wolf" of $(HOME) that devours `parcels` from ann@here.example\n550 and letters'
    (item,) = suggested(policies, text, recipient="ann@here.example").items
    assert item.command is not None
    assert "\n" not in item.command
    words = shlex.split(item.command)
    assert words[:7] == ["omicard-relay", "rules", "add", "--code", "907", "--phrase", item.phrase]
    assert item.toml is not None
    (entry,) = tomllib.loads(item.toml)["rule"]
    assert entry["examples"] == [words[words.index("--example") + 1]] == list(item.examples)
    assert (entry["bounce_code"], entry["phrases"], entry["seen"]) == (907, [item.phrase], TODAY)
    assert "user@example.com" in item.examples[0]


def test_without_a_proposed_code_it_is_left_to_choose(policies: Policies) -> None:
    (item,) = suggested(policies, "wolves devour parcels").items
    assert item.command is not None
    assert " --code CODE " in item.command
    assert item.toml is not None
    assert "bounce_code" not in tomllib.loads(item.toml)["rule"][0]


def test_a_template_without_words_side_by_side_has_no_rule(policies: Policies) -> None:
    (item,) = suggested(policies, "550 ox 192.0.2.1 up 300 it").items
    assert (item.phrase, item.rule, item.command, item.toml) == (None, None, None, None)


def test_a_rule_that_would_lose_is_made_stronger(policies: Policies) -> None:
    """907 in words stands below an enhanced status code that names a cause, and a token above it."""
    status = Rule(
        id="own-hops", bounce_code=904, strength=Strength.ENHANCED, phrases=("5.4.6",), examples=("550 5.4.6 x",)
    )
    loop = structs.replace(status, id="own-loop", bounce_code=937)
    known = Policies(codes=policies.codes, rules=(*policies.rules, status, loop))
    gatherer = Gatherer(Judge(known), 0.8)
    gatherer.add(Evidence(road=Road.MANUAL, replies=(read_reply("550 5.4.6 wolves devour parcels"),)))
    (form,) = gatherer.forms.values()
    form.proposals = Counter({Proposal(bounce_code=907, by="reply-class"): 1})
    (item,) = suggest(gatherer, known, known, today=TODAY, most=1).items
    assert item.rule is not None
    assert (item.rule.strength, item.stopped_by) == (Strength.TOKEN, "")
    assert "--strength token" in (item.command or "")


def test_a_rule_that_would_lose_all_the_same_says_to_which(policies: Policies) -> None:
    longer = "wolves devour big parcels, and the letters of all who live here, too"
    mighty = Rule(
        id="own-mighty", bounce_code=900, strength=Strength.TOKEN, pattern="wolves.{0,90}too", examples=("wolves too",)
    )
    known = Policies(codes=policies.codes, rules=(*policies.rules, mighty))
    gatherer = gather(known, [f"550 {longer}".encode()])
    (form,) = gatherer.forms.values()
    form.proposals = Counter({Proposal(bounce_code=900, by="verdict"): 1})
    (item,) = suggest(gatherer, known, known, today=TODAY, most=1).items
    assert item.stopped_by == "own-mighty"


def test_what_the_working_copy_reads_waits(policies: Policies) -> None:
    rule = Rule(id="own-wolf", bounce_code=926, strength=Strength.TEXT, phrases=("wolves",), examples=("550 wolves",))
    draft = Policies(codes=policies.codes, rules=(*policies.rules, rule))
    gatherer = gather(policies, [b"550 wolves devour parcels"] * 3 + [b"550 owls devour letters"])
    found = suggest(gatherer, policies, draft, today=TODAY, most=9)
    assert (found.waiting, [item.count for item in found.items]) == (3, [1])


def test_a_template_that_holds_the_phrase_of_another_is_named(policies: Policies) -> None:
    found = suggested(
        policies, "550 wolves devour parcels", "550 here wolves devour parcels 192.0.2.1 and 192.0.2.2 too"
    )
    long, short = sorted(found.items, key=lambda item: -len(item.template))
    assert short.phrase == "wolves devour parcels"
    assert short.also == (long.key,)
    assert long.also == ()


def test_less_telling_words_are_taken_where_the_best_stand_in_another_template(policies: Policies) -> None:
    found = suggested(
        policies,
        "550 grumpy wolves bite 192.0.2.1 user mailbox",
        "550 grumpy wolves bite 192.0.2.1 and 192.0.2.2 every morning at dawn",
    )
    short = min(found.items, key=lambda item: len(item.template))
    assert (short.phrase, short.also) == ("user mailbox", ())


# --- where replies come from ------------------------------------------------------------------------------------------


def test_clear_replies_and_those_without_words_are_counted_only(policies: Policies) -> None:
    gatherer = gather(
        policies, [b"550 5.1.1 no such user", b"550 5.0.0", b"550 [192.0.2.1]", b"550 wolves devour parcels"]
    )
    assert (gatherer.read, gatherer.clear, gatherer.wordless, len(gatherer.forms)) == (4, 1, 2, 1)


def test_bad_lines_are_named_and_the_rest_goes_on(policies: Policies) -> None:
    lines = [
        b'{"text": "550 wolves devour parcels", "stage": "RCPT", "host": "mx.example.com"}',
        b"",
        b"{",
        b"[1]",
        b'{"text": 5}',
        b'{"id": 5}',
        b'{"text": "550 x", "stage": "lunch"}',
        b'{"text": "550 wolves \xff"}',
    ]
    gatherer = Gatherer(Judge(policies), BELOW)
    octets: list[int] = []
    bad = list(gather_lines(lines, gatherer, on_progress=octets.append))
    whys = ["no-json", "no-object", "no-string", "no-text", "bad-stage"]
    assert bad == [BadLine(number=number, why=why) for number, why in enumerate(whys, start=3)]
    assert gatherer.read == 2
    assert sum(octets) == sum(map(len, lines))


def test_a_limit_ends_the_reading_of_a_file(policies: Policies) -> None:
    gatherer = Gatherer(Judge(policies), BELOW)
    assert list(gather_lines([b"550 wolves"] * 9, gatherer, limit=4, on_progress=lambda octets: None)) == []
    assert gatherer.read == 4


SIGNER = ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"0123456789abcdef"}), domain="bounces.example")
TOKEN = SIGNER.make("dan@a.example", day=int(NOW.timestamp()) // 86_400, nonce=b"12345")


@pytest.fixture
def store(tmp_path: Path, policies: Policies):  # type: ignore[no-untyped-def]
    """Unknown replies in the log and in a bounce mail, beside clear ones."""
    book = Rulebook.of(policies, {})
    with a_store(tmp_path) as store:
        queued(store, "ann@a.example", "bob@a.example")
        queued(store, "dan@a.example", queue_id="4QDDDDD1", name="s2", reverse_paths=(TOKEN,))
        wolf = said("550 5.7.1 wolves devour the parcel of 192.0.2.7")
        lines = [
            delivery("ann@a.example", "bounced", wolf, at=1),
            delivery("bob@a.example", "deferred", said("451 wolves devour the parcel of 192.0.2.8"), at=2),
            expired(at=3),
            delivery("dan@a.example", "sent", "250 ok", queue_id="4QDDDDD1", at=4),
            delivery("eve@b.example", "bounced", UNKNOWN, queue_id="4QEEEEE1", at=5),
        ]
        Follower(Settings(), store, book).take([line.rstrip() for line in lines], None, now=NOW)
        ingester = Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW)
        ingester.take(
            dsn("dan@a.example", words="554 wolves devour the parcel of 192.0.2.9"), sender="", recipient=TOKEN
        )
        yield store


def stored(store: Store, policies: Policies, *, period: Period | None = None, limit: int | None = None) -> Gatherer:
    gatherer = Gatherer(Judge(policies), BELOW)
    gather_stored(store, gatherer, period=period or Period(), below=BELOW, limit=limit)
    return gatherer


def test_the_store_gives_the_unclear_replies_of_every_road(store: Store, policies: Policies) -> None:
    gatherer = stored(store, policies)
    assert (gatherer.read, gatherer.clear) == (3, 0)
    (item,) = suggest(gatherer, policies, policies, today=TODAY, most=9).items
    assert (item.count, item.domains) == (3, 1)
    assert item.template == "wolves devour the parcel of <ip>"


def test_the_store_is_read_from_a_moment_on_or_its_newest(store: Store, policies: Policies) -> None:
    assert stored(store, policies, period=Period(since=NOW.replace(year=2027))).read == 0
    assert stored(store, policies, limit=1).read == 2  # of each kind


def test_replies_that_newer_rules_read_are_clear(store: Store, policies: Policies) -> None:
    rule = Rule(id="own-wolf", bounce_code=926, strength=Strength.TEXT, phrases=("wolves",), examples=("550 wolves",))
    gatherer = stored(store, Policies(codes=policies.codes, rules=(*policies.rules, rule)))
    assert (gatherer.read, gatherer.clear, gatherer.forms) == (3, 3, {})
