"""`db forget`: nothing of the address is left anywhere, it stays listed, the figures stay right, others stay as they are."""

import base64
import quopri
import re
import zlib
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from omicard_relay.mail import ListName, StoreError
from omicard_relay.services.forgetting import files_that_name, forget_address
from omicard_relay.store import lists, open_store, reports, schema, submissions
from omicard_relay.store.replies import Period, ReplyKind, stored_replies
from omicard_relay.tables.settings import Settings
from tests.forgetting import DAY, a_keyed_store, add_attempt, add_bounce, add_entry, add_mail, everything, put, text_of
from tests.keeping import NOW, content_of, rows

ANN, BOB = "ann.chen@a.example", "joann.chen@a.example"


@pytest.fixture
def keyed(tmp_path):
    with a_keyed_store(tmp_path) as pair:
        yield pair


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An empty database: to make one takes longer than a test."""
    path = tmp_path_factory.mktemp("template") / "relay.db"
    store = open_store(f"sqlite:///{path}")
    with store.outside() as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    store.close()
    return path


def forget(keyed, address=ANN, *, now=NOW + DAY, dry_run=False, **more):
    store, key = keyed
    return forget_address(store, key, address, who="root", clock=lambda: now, dry_run=dry_run, **more)


def fill(store, told=f"550 <{ANN}> is unknown", raw=None):
    """ANN, and BOB whose address ends in hers, in rows of every table; `told` stands in all texts of hers."""
    alone = add_mail(store, "s1", ANN, campaign="spring", text=told)
    both = add_mail(store, "s2", ANN, BOB, campaign="summer", text="Hello")
    add_attempt(store, "l1", ANN, alone[ANN], text=told)
    add_attempt(store, "l2", ANN, None, text=told, original_key=ANN)
    add_attempt(store, "l3", BOB, both[BOB], text=f"550 {BOB} unknown")
    add_attempt(store, "l4", "x@b.example", None, text="via alias", original_key=ANN)
    raw = raw or f"To: b@x\n\n{told}\n".encode()
    add_bounce(store, "m1", raw, (ANN, alone[ANN], ANN), ("private@b.example", both[ANN], ANN), text=told)
    add_bounce(store, "m2", f"to {BOB}\n".encode(), (BOB, both[BOB], ""), text="no")
    add_bounce(store, "m3", raw)
    for name in ("unsubscribed", "known-bounce"):
        add_entry(store, ANN, list_name=name, reason=f"902 by generic-x: {told}", note=told)
    add_entry(store, BOB, reason="asked for it", note="by phone")
    add_entry(store, "@a.example", list_name="blacklist")
    put(store, schema.queue, queue_id="Qs1", seen=NOW, sender="news@shop.example")
    put(store, schema.import_place, source="/var/mail/x", identity="i", offset=1, moved=NOW)


def covering(store, address):
    with store.read() as tx:
        found = lists.covering_entries(tx, address, sender_domain="shop.example", campaign=None, now=NOW + DAY)
    return {name.value: entry.value for name, entry in found.items()}


# --- nothing is left --------------------------------------------------------------------------------------------------

#: What may stand around an address in a text of the wild.
EDGES = st.sampled_from(["", " ", "<", ">", "\n", '"', "'", ":", ";", ",", "(", ")", "[", "/", "「", "，", "?"])
JOINERS = st.sampled_from(["@", "@", "@", "=", "%40"])


@st.composite
def mentions(draw):
    local, domain = ANN.split("@")
    flips = draw(st.lists(st.booleans(), min_size=len(ANN), max_size=len(ANN)))
    spelled = "".join(c.upper() if flip else c for c, flip in zip(ANN, flips, strict=True))
    spelled = spelled[: len(local)] + draw(JOINERS) + spelled[-len(domain) :]
    return f"550 {draw(EDGES)}{spelled}{draw(EDGES)} is not here"


@settings(
    max_examples=30, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(told=mentions())
def test_no_column_of_any_table_has_the_address_and_other_rows_are_as_they_were(told, template, tmp_path_factory):
    with a_keyed_store(tmp_path_factory.mktemp("store"), template) as keyed:
        store, _ = keyed
        fill(store, told)
        before = everything(store)
        forget(keyed)
        after = everything(store)
        left = re.sub(re.escape(BOB), "", text_of(after), flags=re.IGNORECASE).lower()
        for joiner in ("@", "=", "%40"):
            assert ANN.replace("@", joiner) not in left
        about_her = re.compile(r"(?<![\w])ann\.chen(@|=|%40)a\.example", re.IGNORECASE)
        # Rows that did not name her and are not joined to rows of hers.
        for key, row in before.items():
            hers = {
                ("suppression_due", (1,)),
                ("suppression_due", (2,)),
                ("bounce_mail", ("m1",)),
                ("bounce_mail", ("m3",)),
            }
            if not about_her.search(text_of({key: row})) and key not in hers:
                assert after[key] == row, key
        assert covering(store, ANN.upper()).keys() == {"unsubscribed", "known-bounce", "blacklist"}


def test_a_text_of_another_row_loses_the_address_alone(keyed):
    store, key = keyed
    fill(store)
    add_attempt(store, "l9", "x@b.example", None, text=f"said: <{ANN}> and <{BOB}> are gone")
    forget(keyed)
    ghost = key().ghost(ANN)
    (reply,) = [a.reply for a in rows(store, schema.attempt) if a.line_digest == "l9"]
    assert reply == f"said: <{ghost}> and <{BOB}> are gone"
    (alias,) = [a for a in rows(store, schema.attempt) if a.line_digest == "l4"]
    assert (alias.address, alias.original_key, alias.reply) == ("x@b.example", ghost, "via alias")


#: One domain as people read it, and as DNS does.
PEOPLES, AS_DNS = "b\u00fccher.example", "xn--bcher-kva.example"


def in_words(text, charset, form, *, cut=None):
    """A field of encoded words (RFC 2047), the text cut in two at `cut`."""
    spelled = []
    for part in (text[:cut], text[cut:]) if cut else (text,):
        octets = part.encode(charset)
        body = base64.b64encode(octets).decode() if form == "B" else "".join(f"={octet:02X}" for octet in octets)
        spelled.append(f"=?{charset}?{form}?{body}?=")
    return f"Subject: {chr(10).join(f' {word}' for word in spelled)}\n\nhello\n".encode()


def attached(octets, charset=""):
    """A text in base64 behind an ordinary one."""
    return (
        b'Content-Type: multipart/mixed; boundary="b"\n\n--b\n\nsee the list\n\n--b\n'
        + f'Content-Type: text/plain; charset="{charset}"\n'.encode()
        + b"Content-Transfer-Encoding: base64\n\n"
        + base64.encodebytes(octets)
        + b"\n--b--\n"
    )


def declared(text, charset):
    return f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: 8bit\n\n".encode() + text.encode(
        charset
    )


HIDDEN_IN = {
    "encoded words, base64": lambda text: in_words(f"信箱 {text}", "utf-8", "B"),
    "encoded words, cut in the address": lambda text: in_words(f"信箱 {text}", "utf-8", "B", cut=7),
    "encoded words, cut and quoted": lambda text: in_words(text, "utf-8", "Q", cut=5),
    "encoded words of another charset": lambda text: in_words(f"信寄{text}", "big5", "B"),
    "UTF-16 with its mark": lambda text: attached(f"名單\r\n{text}\r\n".encode("utf-16"), "utf-16"),
    "UTF-16, undeclared": lambda text: attached(f"名單請寄{text}到".encode("utf-16-be")),
    "UTF-16, from any octet on": lambda text: b"Subject: x\n\n!" + f"寄{text}".encode("utf-16-le"),
    "UTF-16, quoted-printable": lambda text: (
        b"Content-Transfer-Encoding: quoted-printable\n\n"
        + b"=\n".join(b"=%02X" % octet for octet in f"寄{text}".encode("utf-16-le"))
    ),
    "UTF-32": lambda text: attached(f"寄{text}".encode("utf-32"), "UTF-32"),
    "UTF-7": lambda text: b"Content-Type: text/plain; charset=utf-7\n\n+W8Q-" + text.replace("@", "+AEA-").encode(),
    "Big5, where half a character is a letter": lambda text: declared(f"請寄{text}", "big5"),
    "Big5 in base64": lambda text: attached(f"請寄{text}".encode("big5"), "Big5"),
    "seven-bit Japanese": lambda text: declared(f"宛先は{text}です", "iso-2022-jp"),
    "quoted-printable, each octet": lambda text: (
        b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=\n".join(b"=%02X" % octet for octet in text.encode())
    ),
    "plain": lambda text: text.encode(),
    "base64": lambda text: (
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(b"Dear reader, " * 9 + text.encode())
    ),
    "quoted-printable": lambda text: quopri.encodestring(f"{'x' * 60} {text}".encode()),
    "a VERP address": lambda text: text.replace("@", "=").encode() + b"@lists.example",
}


@pytest.mark.parametrize("name", HIDDEN_IN)
def test_a_mail_that_names_it_is_deleted_however_it_is_encoded(keyed, name):
    store, _ = keyed
    add_bounce(store, "m1", HIDDEN_IN[name](f"Ann.Chen{ANN[8:]} is away"))
    add_bounce(store, "m2", HIDDEN_IN[name](BOB))
    assert forget(keyed).contents == 1
    with store.read() as tx:
        assert content_of(tx, "m1") is None
        assert content_of(tx, "m2") is not None
    deleted = dict(rows(store, schema.bounce_mail, "digest", "content_deleted"))
    assert deleted == {"m1": NOW + DAY, "m2": None}


def test_an_answer_that_waits_to_be_handed_on_is_erased_and_told_of(keyed):
    store, _ = keyed
    add_bounce(store, "m1", f"From: {ANN}\n\nNo more, please\n".encode(), hand_on_after=NOW)
    done = forget(keyed)
    assert (done.contents, done.waited) == (1, 1)
    assert rows(store, schema.bounce_mail, "hand_on_after") == [None]


def test_the_file_holds_nothing_of_it_any_more(keyed, tmp_path):
    store, _ = keyed
    fill(store)
    assert not forget(keyed).log_is_full
    store.close()
    for path in tmp_path.glob("relay.db*"):
        left = path.read_bytes().lower().replace(BOB.encode(), b"")
        assert ANN.encode() not in left, path.name


def test_an_international_address_in_another_normal_form_is_found(keyed):
    store, _ = keyed
    add_attempt(store, "l1", "x@b.example", None, text="to <AN\u0041\u0308@a.example> failed")
    assert forget(keyed, "an\u00e4@a.example").changed == {"attempt": 1, "rejudgement": 1}
    assert "a.example" not in text_of(everything(store))


def test_a_subject_of_others_that_names_it_in_encoded_words_loses_it(keyed):
    """Subjects stand in the store as they came."""
    store, key = keyed
    subject = "=?utf-8?B?" + base64.b64encode(f"問候 {ANN} 與 {BOB}".encode()).decode() + "?="
    other = "=?utf-8?B?" + base64.b64encode(f"問候 {BOB}".encode()).decode() + "?="
    add_mail(store, "s1", BOB, text=subject)
    add_mail(store, "s2", BOB, text=other)
    assert forget(keyed).changed == {"submission": 1, "recipient": 1}
    assert rows(store, schema.submission, "subject") == [f"問候 {key().ghost(ANN)} 與 {BOB}", other]


def test_an_international_domain_is_found_in_both_spellings(keyed):
    """Rows, lists and mails have the one or the other; who is unsubscribed under one stays so under that."""
    store, _ = keyed
    people, dns = f"ann@{PEOPLES}", f"ann@{AS_DNS}"
    one = add_mail(store, "s1", people)
    two = add_mail(store, "s2", dns, BOB)
    add_attempt(store, "l1", people, one[people], text=f"<{dns}> is unknown")
    add_attempt(store, "l2", BOB, two[BOB], text=f"sent on to {people}, and then to {dns.upper()}")
    add_entry(store, people, list_name="unsubscribed")
    add_entry(store, dns, list_name="blacklist")
    add_bounce(store, "m1", f"the mailbox {people} is gone".encode())
    add_bounce(store, "m2", f"the mailbox {dns} is gone".encode())
    add_bounce(store, "m3", in_words(f"Re: {people}", "utf-8", "Q"))
    add_bounce(store, "m4", attached(people.upper().encode("utf-16"), "utf-16"))
    others = f"the mailbox ann@x{PEOPLES} and x{dns} are gone"
    add_bounce(store, "m5", others.encode())
    known = forget(keyed, people, dry_run=True)
    assert (known.known.recipients, known.known.entries, known.contents) == (2, 2, 4)
    done = forget(keyed, dns)
    assert (done.changed["recipient"], done.changed["list_entry"], done.contents) == (2, 2, 4)
    left = text_of(everything(store)).replace(others, "")
    assert PEOPLES not in left
    assert AS_DNS not in left.lower()
    assert covering(store, people).keys() == {"unsubscribed"}
    assert covering(store, dns).keys() == {"blacklist"}
    for spelling in (people, dns):
        again = forget(keyed, spelling, now=NOW + 2 * DAY)
        assert again.is_nothing
        assert again.before == NOW + DAY


# --- what stays -------------------------------------------------------------------------------------------------------


def test_figures_of_reports_stay(keyed):
    store, _ = keyed
    fill(store)

    def figures():
        with store.read() as tx:
            return [reports.summary(tx, campaign=name) for name in (None, "spring", "summer")], reports.campaigns(tx)

    before = figures()
    forget(keyed)
    assert figures() == before


def test_it_cannot_get_the_mail_of_a_campaign_twice(keyed):
    store, _ = keyed
    fill(store)
    forget(keyed)
    with store.read() as tx:
        assert submissions.is_in_campaign(tx, "spring", ANN, own_row=None)
        assert not submissions.is_in_campaign(tx, "autumn", ANN, own_row=None)


def test_entries_keep_code_source_and_rule_but_not_the_words(keyed):
    store, key = keyed
    fill(store)
    add_entry(store, ANN, list_name="whitelist", reason="Mrs Chen of sales", note="a friend")
    forget(keyed)
    hers = [entry for entry in rows(store, schema.list_entry) if entry.value == key().hide(ANN)]
    assert [(e.list_name, e.reason, e.source) for e in hers] == [
        ("unsubscribed", "902 by generic-x", "by hand"),
        ("known-bounce", "902 by generic-x", "by hand"),
        ("whitelist", "forgotten", "by hand"),
    ]
    notes = {row.entry_id: row.note for row in rows(store, schema.list_change)}
    assert [notes[entry.id] for entry in hers] == ["", "", ""]


def test_entries_are_found_removed_and_undone_by_the_address(keyed):
    store, key = keyed
    fill(store)
    forget(keyed)
    hidden = key().hide(ANN)
    with store.write() as tx:
        (entry,) = lists.entries(tx, ListName.UNSUBSCRIBED, now=NOW, value=ANN.upper())
        assert entry.value == hidden
        assert {e.value for e in lists.history(tx, [ANN])} == {hidden}
        change = lists.remove_entry(tx, entry.entry_id, who="root", now=NOW)
        assert not list(lists.entries(tx, ListName.UNSUBSCRIBED, now=NOW, value=ANN))
        assert lists.undo_change(tx, change, who="root", now=NOW).value == hidden
        assert lists.list_value(hidden) == hidden


def test_it_can_be_listed_again_by_name(keyed):
    store, _ = keyed
    fill(store)
    forget(keyed)
    add_entry(store, ANN, list_name="unsubscribed", reason="imported")
    assert covering(store, ANN)["unsubscribed"] == ANN


def test_without_its_key_it_is_not_found(keyed, tmp_path):
    store, key = keyed
    fill(store)
    forget(keyed)
    key.path.rename(tmp_path / "elsewhere")
    with a_keyed_store(tmp_path) as (other, _):
        assert covering(other, ANN) == {"blacklist": "@a.example"}


def test_forgotten_replies_are_not_judged_again(keyed):
    store, _ = keyed
    fill(store)
    forget(keyed)
    found = [
        one.evidence.recipient
        for kind in ReplyKind
        for page in stored_replies(store, Period(), kind=kind)
        for one in page
    ]
    assert found == [BOB, "x@b.example", BOB]


def test_a_mail_keeps_its_subject_while_it_is_another_ones_too(keyed):
    store, _ = keyed
    fill(store)
    forget(keyed)
    assert rows(store, schema.submission, "id", "subject", "client_ip") == [
        ("s1", None, None),
        ("s2", "Hello", "192.0.2.7"),
    ]
    forget(keyed, BOB)
    assert rows(store, schema.submission, "id", "subject") == [("s1", None), ("s2", None)]


# --- the act ----------------------------------------------------------------------------------------------------------


def test_it_is_written_down_without_the_address(keyed):
    store, key = keyed
    fill(store)
    done = forget(keyed)
    (row,) = rows(store, schema.forgetting)
    assert (row.who, row.time, row.value, row.key_id) == ("root", NOW + DAY, key().hide(ANN), key().key_id)
    assert (row.changed, row.contents) == (sum(done.changed.values()), done.contents)
    assert row.contents == 2


def test_a_second_time_changes_nothing(keyed):
    store, _ = keyed
    fill(store)
    forget(keyed)
    before = everything(store)
    again = forget(keyed, now=NOW + 2 * DAY)
    assert again.is_nothing
    assert again.before == NOW + DAY
    assert everything(store) == before


def test_nothing_known_is_nothing_made(keyed):
    store, key = keyed
    done = forget(keyed, "nobody@a.example")
    assert (done.is_nothing, done.before) == (True, None)
    assert not key.path.exists()
    assert rows(store, schema.forgetting) == []


def test_a_dry_run_counts_and_changes_nothing(keyed):
    store, key = keyed
    fill(store)
    before = everything(store)
    done = forget(keyed, dry_run=True)
    assert {name: done.changed[name] for name in ("recipient", "attempt", "list_entry")} == {
        "recipient": 2,
        "attempt": 3,
        "list_entry": 2,
    }
    assert done.contents == 2
    assert everything(store) == before
    assert not key.path.exists()


@pytest.mark.parametrize("state", ["handing-over", "queued"])
def test_while_a_mail_may_come_again_nothing_is_changed(keyed, state):
    """By the address the client's second try is known; without it the mail would be sent twice."""
    store, _ = keyed
    add_mail(store, "s1", ANN, state=state)
    with store.write() as tx:
        tx.execute(schema.submission.update().values(answered=None))
    before = everything(store)
    with pytest.raises(StoreError, match="may still bring them again"):
        forget(keyed, now=NOW + timedelta(days=6))
    assert everything(store) == before
    assert not forget(keyed, now=NOW + timedelta(days=8)).is_nothing


def test_mail_under_way_is_told_of(keyed):
    store, _ = keyed
    add_mail(store, "s1", ANN, state="resting")
    assert forget(keyed).known.under_way == 1


def test_a_run_that_was_stopped_is_taken_up(keyed, monkeypatch):
    store, _ = keyed
    fill(store)
    monkeypatch.setattr("omicard_relay.services.forgetting.mask_row", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        forget(keyed)
    assert covering(store, ANN).keys() == {"unsubscribed", "known-bounce", "blacklist"}
    monkeypatch.undo()
    forget(keyed)
    assert ANN not in text_of(everything(store)).lower().replace(BOB, "")


def test_a_lost_key_is_not_silently_replaced(keyed, tmp_path):
    store, key = keyed
    fill(store)
    forget(keyed)
    key.path.unlink()
    with a_keyed_store(tmp_path) as fresh:
        with pytest.raises(StoreError, match="--new-key"):
            forget(fresh, BOB)
        assert forget(fresh, BOB, new_key=True).changed["list_entry"] == 1
    assert len(set(rows(store, schema.forgetting, "key_id"))) == 2


def test_released_rules_and_files_that_name_it_are_told(keyed, tmp_path):
    store, _ = keyed
    fill(store)
    put(
        store,
        schema.rule_release,
        number=1,
        created=NOW,
        author="root",
        kind="publish",
        digest="d",
        shipped_digest="s",
        files=zlib.compress(f'{{"rules/x.toml": "to <{ANN}>"}}'.encode()),
    )
    assert forget(keyed).releases == (1,)
    folder = tmp_path / "data"
    for name, text in {
        "policies/rules/x.toml": f"examples = ['<{ANN.upper()}> unknown']",
        "policies/rules/y.toml": f"# {BOB}",
        "released/1/rules/x.toml": ANN,
        "answers/new/1.host": f"From: {ANN}\n",
        "answers/new/2.host": "From: x@b.example\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = files_that_name(Settings(data_dir=str(folder)), ANN)
    assert [str(path.relative_to(folder)) for path in found] == [
        "policies/rules/x.toml",
        "released/1/rules/x.toml",
        "answers/new/1.host",
    ]


def test_a_bounce_that_comes_later_is_new_data(keyed):
    store, _ = keyed
    fill(store)
    forget(keyed)
    add_bounce(store, "m9", b"another mail\n", (ANN, None, ""))
    assert rows(store, schema.bounce_report, "address")[-1] == ANN
    assert forget(keyed).changed == {"bounce_report": 1}


def test_other_rows_are_found_on_later_pages(keyed, monkeypatch):
    monkeypatch.setattr("omicard_relay.store.mentions._PAGE", 2)
    store, _ = keyed
    for number in range(7):
        add_attempt(store, f"l{number}", f"{number}@b.example", None, text=f"550 {ANN} {number}")
    assert forget(keyed).changed["attempt"] == 7
    with store.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).where(schema.attempt.c.reply.contains(ANN))).scalar() == 0
