"""For tests of keeping and forgetting: stores with a key, and rows of every table that name an address in many ways."""

import shutil
import zlib
from contextlib import contextmanager
from datetime import timedelta

import sqlalchemy as sa

from omicard_relay.services.forgetkey import ForgetKey
from omicard_relay.store import mails, open_store, schema
from tests.keeping import NOW

DAY = timedelta(days=1)


@contextmanager
def a_keyed_store(folder, template=None):
    """A store whose look-ups know the key of `folder`; `template`: a database to begin with."""
    if template is not None:
        shutil.copy(template, folder / "relay.db")
    key = ForgetKey(folder / "forget.key")
    store = open_store(f"sqlite:///{folder / 'relay.db'}", hider=key)
    try:
        yield store, key
    finally:
        store.close()


def put(store, table, **values):
    with store.write() as tx:
        made = tx.execute(table.insert().values(**values)).inserted_primary_key
    return made[0]


def add_mail(store, name, *people, received=NOW, campaign=None, text="", state="returned", **more):
    """A mail that came through, its client told 250; gives the recipients' ids by address."""
    put(
        store,
        schema.submission,
        id=name,
        received=received,
        answered=received,
        way="direct",
        client_ip="192.0.2.7",
        client_name="shop",
        login="shop",
        reverse_path="news@shop.example",
        message_id=f"<{name}@shop.example>",
        subject=text,
        campaign=campaign,
        envid=text,
        **more,
    )
    ids = {}
    for address in people:
        ids[address] = put(
            store,
            schema.recipient,
            submission_id=name,
            address=address,
            address_key=address.lower(),
            state=state,
            state_since=received,
            queue_id=f"Q{name}",
            bounce_code=902,
            detail=text,
        )
        if campaign is not None:
            put(
                store,
                schema.campaign_claim,
                campaign=campaign,
                address_key=address.lower(),
                recipient_id=ids[address],
            )
    return ids


def add_attempt(store, name, address, recipient_id, *, text="550 no", time=NOW, **more):
    attempt = put(
        store,
        schema.attempt,
        line_digest=name,
        time=time,
        queue_id=f"Q{name}",
        address=address,
        address_key=address.lower(),
        recipient_id=recipient_id,
        outcome="bounced",
        is_attempt=True,
        program="smtp",
        reply=text,
        bounce_code=902,
        rule_id="r",
        words=text,
        reasons=text,
        **more,
    )
    put(store, schema.rejudgement, attempt_id=attempt, time=time, old_words=text, new_reasons=text)
    put(store, schema.suppression_due, attempt_id=attempt)
    return attempt


def add_bounce(store, name, raw, *reports, received=NOW, text="", **more):
    """A bounce mail with statements: (address, recipient id, original address)."""
    with store.write() as tx:
        digest = mails.keep_content(tx, raw)
    put(
        store,
        schema.bounce_mail,
        digest=name,
        received=received,
        last_seen=received,
        kind="dsn",
        size=len(raw),
        sender="",
        envelope_recipient="b+x@bounces.example",
        message_id="<m@there.example>",
        trust="proven",
        trust_reason=text,
        notes=text,
        content_digest=digest,
        **more,
    )
    for number, (address, recipient_id, original) in enumerate(reports):
        put(
            store,
            schema.bounce_report,
            mail_digest=name,
            number=number,
            time=received,
            road="dsn",
            address=address,
            address_key=address.lower(),
            original_address=original,
            recipient_id=recipient_id,
            trust="proven",
            reply=text,
            new_address=text or None,
            bounce_code=902,
            words=text,
        )


def add_entry(store, value, *, list_name="unsubscribed", reason="by hand", note="", **more):
    entry = put(
        store,
        schema.list_entry,
        list_name=list_name,
        value=value,
        scope="all",
        reason=reason,
        source="by hand",
        created=NOW,
        created_by="root",
        **more,
    )
    put(store, schema.list_change, time=NOW, who="root", what="add", entry_id=entry, note=note)
    return entry


def everything(store):
    """Every row of every table as text and octets, contents unpacked, by table and key; released rules are left out."""
    found = {}
    with store.read() as tx:
        for table in schema.metadata.sorted_tables:
            if table is schema.rule_release:
                continue
            keys = len(table.primary_key.columns)
            for row in tx.execute(sa.select(*table.primary_key.columns, *table.columns)):
                values = [zlib.decompress(v) if isinstance(v, bytes) else v for v in row[keys:]]
                found[table.name, tuple(row[:keys])] = values
    return found


def text_of(rows):
    """All of it as one text, a value a line."""
    values = [value for key, row in rows.items() for value in (*key[1], *row)]
    return "\n".join(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values)
