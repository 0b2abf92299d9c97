"""What the relay's records mean: earlier tries, doubts, campaigns, and who may move a recipient on."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from omicard_relay.mail import Reply, Stage, Submission, Verdict, Way
from omicard_relay.store import attempts, schema, submissions
from omicard_relay.store.attempts import Place
from omicard_relay.store.engine import open_store
from omicard_relay.store.priors import Prior, PriorState, find_priors

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.fixture
def tx(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 's.db'}")
    with store.write() as one:
        yield one
    store.close()


def mail(name, digest="d1", **more):
    return Submission(submission_id=name, digest=digest, received=NOW, way=Way.DIRECT, reverse_path="a@b.test", **more)


def intend(tx, one, address="ann@a.test", own_row=None, **more):
    submissions.add_submission(tx, one)
    values = {"reverse_path": "A@b.test", "hand_over": "H1", "relay_run": "run", "now": NOW, **more}
    return submissions.add_intent(tx, one, address, own_row=own_row, **values)


def priors(tx, one, running=(), later=0, doubt_seconds=60):
    return find_priors(tx, one, running=running, now=NOW + timedelta(seconds=later), doubt_seconds=doubt_seconds)


def row(tx, number):
    return tx.execute(sa.select(schema.recipient).where(schema.recipient.c.id == number)).one()


def names(tx):
    return sorted(tx.execute(sa.select(schema.submission.c.id)).scalars())


REPLY = Reply(text="550 5.1.1 no", innermost="550 5.1.1 no", reply_code=550, stage=Stage.RCPT)
VERDICT = Verdict(bounce_code=902, rule_id="r", confidence=1)


def test_a_first_try_has_no_prior(tx):
    intend(tx, mail("1", digest="other"))

    assert priors(tx, mail("2")) == {}


def test_the_intent_of_this_very_submission_is_no_prior(tx):
    intend(tx, mail("1"))

    assert priors(tx, mail("1")) == {}


@pytest.mark.parametrize(
    ("settle", "state"),
    [
        pytest.param(lambda tx, one: None, PriorState.IN_DOUBT, id="nothing-known"),
        pytest.param(
            lambda tx, one: submissions.mark_handed_over(tx, [one], "Q1", now=NOW), PriorState.TAKEN, id="handed-over"
        ),
        pytest.param(
            lambda tx, one: submissions.mark_not_taken(tx, [one], "451", now=NOW), PriorState.NONE, id="not-taken"
        ),
        pytest.param(
            lambda tx, one: submissions.mark_refused(tx, [one], REPLY, VERDICT, now=NOW), PriorState.NONE, id="refused"
        ),
        pytest.param(lambda tx, one: submissions.mark_in_doubt(tx, [one], now=NOW), PriorState.IN_DOUBT, id="in-doubt"),
    ],
)
def test_what_an_earlier_try_means(tx, settle, state):
    one = intend(tx, mail("1"))
    settle(tx, one)

    assert priors(tx, mail("2")) == {"ann@a.test": Prior(state=state, recipient_id=one)}


def test_a_running_try_is_a_doubt_whatever_its_rows_say(tx):
    one = intend(tx, mail("1"))
    submissions.mark_handed_over(tx, [one], "Q1", now=NOW)

    assert priors(tx, mail("2"), running={"1"})["ann@a.test"].state is PriorState.IN_DOUBT


def test_an_answered_mail_is_forgotten_as_a_try(tx):
    one = intend(tx, mail("1"))
    submissions.mark_handed_over(tx, [one], "Q1", now=NOW)
    submissions.mark_answered(tx, "1", now=NOW)

    assert priors(tx, mail("2")) == {}


def test_a_try_of_last_week_is_forgotten(tx):
    intend(tx, mail("1"))

    assert priors(tx, mail("2"), later=8 * 86_400) == {}


@pytest.mark.parametrize(
    ("read_after", "later", "state"),
    [
        pytest.param(None, 61, PriorState.IN_DOUBT, id="no-log-young"),
        pytest.param(None, 299, PriorState.IN_DOUBT, id="no-log-nearly"),
        pytest.param(None, 301, PriorState.NONE, id="no-log-five-times"),
        pytest.param(30, 70, PriorState.IN_DOUBT, id="log-not-read-far-enough"),
        pytest.param(61, 59, PriorState.IN_DOUBT, id="log-read-but-too-young"),
        pytest.param(61, 62, PriorState.NONE, id="log-read-past-it"),
    ],
)
def test_how_long_a_doubt_lasts(tx, read_after, later, state):
    intend(tx, mail("1"))
    if read_after is not None:
        read = NOW + timedelta(seconds=read_after)
        place = Place(path="/log", inode=1, head_digest="", head_length=0, offset=0, read=read)
        attempts.move_place(tx, place)

    assert priors(tx, mail("2"), later=later)["ann@a.test"].state is state


def test_a_mail_that_postfix_still_has_stays_in_doubt_until_it_is_removed(tx):
    intend(tx, mail("1"))
    attempts.record_queue(tx, "4QAAAAA1", time=NOW, orig_queue_id="H1")
    attempts.record_active(
        tx, "4QAAAAA1", time=NOW, sender="a@b.test", nrcpt=2
    )  # of two that were handed over together

    assert priors(tx, mail("2"), later=1000)["ann@a.test"].state is PriorState.IN_DOUBT

    attempts.record_queue(tx, "4QAAAAA1", time=NOW, removed=True)
    assert priors(tx, mail("2"), later=1000)["ann@a.test"].state is PriorState.NONE


def test_a_doubt_begins_anew_when_the_hand_over_ended_without_an_answer(tx):
    one = intend(tx, mail("1"))
    submissions.mark_in_doubt(tx, [one], now=NOW + timedelta(seconds=200))

    assert priors(tx, mail("2"), later=400)["ann@a.test"].state is PriorState.IN_DOUBT


def test_the_row_that_says_most_decides_where_an_address_stands_twice(tx):
    one = intend(tx, mail("1"))
    submissions.add_dropped(
        tx, mail("1"), "Ann@a.test", own_row=None, step="duplicate", reason="twice", bounce_code=None, now=NOW
    )
    submissions.mark_not_taken(tx, [one], "451", now=NOW)

    assert priors(tx, mail("2"))["ann@a.test"].recipient_id == one


def test_a_retry_takes_the_row_over_and_the_empty_try_goes(tx):
    one = intend(tx, mail("1"))
    submissions.mark_not_taken(tx, [one], "451 later", now=NOW)

    again = intend(tx, mail("2"), own_row=one, hand_over="H2")

    assert again == one
    assert names(tx) == ["2"]
    assert (row(tx, one).state, row(tx, one).hand_over, row(tx, one).detail) == ("handing-over", "H2", None)


def test_a_try_goes_only_when_its_last_recipient_has_moved_on(tx):
    ann, bob = intend(tx, mail("1")), intend(tx, mail("1"), "bob@a.test")
    submissions.mark_handed_over(tx, [ann, bob], "Q1", now=NOW)
    submissions.add_submission(tx, mail("2"))
    submissions.add_submission(tx, mail("3"))

    submissions.adopt(tx, mail("2"), ann)
    assert names(tx) == ["1", "2", "3"]
    submissions.mark_answered(tx, "2", now=NOW)
    assert priors(tx, mail("3")) == {"bob@a.test": Prior(state=PriorState.TAKEN, recipient_id=bob)}
    submissions.adopt(tx, mail("3"), bob)
    assert names(tx) == ["2", "3"]
    assert row(tx, ann).state == "queued"


def test_a_drop_that_is_written_again_goes(tx):
    submissions.add_submission(tx, mail("1"))
    drop = {"step": "blacklist", "reason": "no", "bounce_code": 926, "now": NOW}
    old = submissions.add_dropped(tx, mail("1"), "bob@a.test", own_row=None, **drop)
    submissions.add_submission(tx, mail("2"))
    submissions.add_dropped(tx, mail("2"), "bob@a.test", own_row=None, **drop)

    submissions.forget_dropped(tx, mail("2"), old)

    assert names(tx) == ["2"]


def test_only_a_dropped_row_is_forgotten(tx):
    one = intend(tx, mail("1"))

    submissions.forget_dropped(tx, mail("2"), one)

    assert row(tx, one).state == "handing-over"


def test_a_second_call_for_a_submission_fills_it_in(tx):
    submissions.add_submission(tx, mail("1", digest=""))
    submissions.add_submission(tx, mail("1", subject="hi"))

    (one,) = tx.execute(sa.select(schema.submission)).all()
    assert (one.digest, one.subject) == ("d1", "hi")


def test_an_address_has_one_place_in_a_campaign(tx):
    one = intend(tx, mail("1", campaign="c"))

    assert submissions.is_in_campaign(tx, "c", "ANN@a.test", own_row=None)
    assert not submissions.is_in_campaign(tx, "c", "ann@a.test", own_row=one)
    assert not submissions.is_in_campaign(tx, "other", "ann@a.test", own_row=None)
    assert not submissions.is_in_campaign(tx, None, "ann@a.test", own_row=None)


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(lambda tx, one: submissions.mark_not_taken(tx, [one], "451", now=NOW), id="not-taken"),
        pytest.param(lambda tx, one: submissions.mark_refused(tx, [one], REPLY, VERDICT, now=NOW), id="refused"),
    ],
)
def test_who_got_no_mail_gives_the_place_free(tx, leave):
    one = intend(tx, mail("1", campaign="c"))
    leave(tx, one)

    assert not submissions.is_in_campaign(tx, "c", "ann@a.test", own_row=None)


def test_the_log_may_come_before_the_relays_own_record(tx):
    one = intend(tx, mail("1"))
    attempts.record_queue(tx, "Q1", time=NOW, orig_queue_id="H1")
    assert attempts.record_active(tx, "Q1", time=NOW, sender="a@b.test") == [one]

    submissions.mark_handed_over(tx, [one], "Q1", now=NOW)

    assert (row(tx, one).state, row(tx, one).queue_id) == ("queued", "Q1")


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(lambda tx, one: submissions.mark_not_taken(tx, [one], "451", now=NOW), id="not-taken"),
        pytest.param(lambda tx, one: submissions.mark_refused(tx, [one], REPLY, VERDICT, now=NOW), id="refused"),
        pytest.param(
            lambda tx, one: submissions.mark_in_doubt(tx, [one], now=NOW + timedelta(seconds=5)), id="in-doubt"
        ),
    ],
)
def test_what_the_log_has_shown_is_not_taken_back(tx, late):
    one = intend(tx, mail("1"))
    attempts.record_queue(tx, "Q1", time=NOW, orig_queue_id="H1")
    attempts.record_active(tx, "Q1", time=NOW, sender="a@b.test")

    late(tx, one)

    assert (row(tx, one).state, row(tx, one).queue_id, row(tx, one).state_since) == ("queued", "Q1", NOW)
