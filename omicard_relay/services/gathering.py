"""Replies that no rule reads surely, gathered by their masked form; memory stays bounded, however many come.

Each reply is judged by the rules in force, and goes on only when they say 900 or are less sure than asked for. Of a form
there is one entry: how often, with which codes, for how many domains, what the judge said, and two texts.
When there are too many forms, those of one template are folded into one entry; what is left over after that is dropped,
the rarest first, and counted.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from omicard_relay.classify import Judge
from omicard_relay.classify.masking import is_constant, mask
from omicard_relay.classify.templates import Tokens, templates_of
from omicard_relay.classify.wording import wording_of
from omicard_relay.mail import Evidence, Reply, Road, Stage, Verdict, address_key, domain_of, local_part_of, read_reply
from omicard_relay.store.engine import Store
from omicard_relay.store.replies import Period, ReplyKind, stored_replies

__all__ = ["MOST_DOMAINS", "BadLine", "Form", "Gatherer", "Proposal", "gather_lines", "gather_stored"]

#: Entries at most: about 40 MB with their texts.
MOST_FORMS = 10_000
#: What is left after folding, so that the next folding is far away.
_KEPT_FORMS = 5_000
#: Members of a template that keep an entry of their own at folding, so that causes can still be told apart.
_KEPT_MEMBERS = 8
#: So many recipients of a form are told apart, see classify/templates.py; and so many domains and kinds of codes.
_RECIPIENTS = 3
MOST_DOMAINS = 100
_MOST_CODES = 12
_TEXTS = 2
#: A longer text is kept only when there is no other.
_TEXT_LIMIT = 1000
_UNKNOWN = 900
#: What a reply's class alone says: refused (5), delayed (4), with no cause.
_BY_CLASS = {5: 907, 4: 928}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A bounce code that something speaks for. `by`: `verdict`, `runner-up` or `reply-class`, the best word first."""

    bounce_code: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line of a file that is no reply: its number from 1, and why (a key of the command's texts)."""

    number: int
    why: str


@dataclass(slots=True, kw_only=True)
class Form:
    """One masked reply. `shown` has the words in their own case; `texts` come with their recipient, as they were."""

    shown: Tokens
    count: int = 0
    recipients: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    domains: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    texts: list[tuple[str, str]] = field(default_factory=list)
    verdicts: Counter[tuple[int, str, float]] = field(default_factory=Counter)
    proposals: Counter[Proposal] = field(default_factory=Counter)

    def take(self, other: "Form") -> None:
        """The other form's counts and texts, too."""
        self.count += other.count
        self.recipients = min(_RECIPIENTS, self.recipients + other.recipients)
        self.codes = Counter(dict((self.codes + other.codes).most_common(_MOST_CODES)))
        self.domains = set(sorted(self.domains | other.domains)[:MOST_DOMAINS])
        self.verdicts += other.verdicts
        self.proposals += other.proposals
        self.texts = (self.texts + other.texts)[:_TEXTS]


class Gatherer:
    """What was gathered. `read`: replies; `clear`: those that the rules read surely; `wordless`: those without words."""

    def __init__(self, judge: Judge, below: float) -> None:
        self._judge, self._below = judge, below
        self.forms: dict[Tokens, Form] = {}
        self.read = self.clear = self.wordless = self.dropped = 0

    def add(self, evidence: Evidence) -> None:
        """One reply; when it is unclear, it is kept."""
        self.read += 1
        verdict = self._judge.judge(evidence)
        if verdict is None or not self.is_unclear(verdict):
            self.clear += 1
            return
        reply = evidence.reply
        shown = mask(wording_of(reply.innermost).shown) if reply is not None else ()
        if reply is None or not any(is_constant(token) and any(map(str.isalpha, token)) for token in shown):
            self.wordless += 1
            return
        key = tuple(token.lower() for token in shown)
        form = self.forms.get(key)
        if form is None:
            if len(self.forms) >= MOST_FORMS:
                self._fold()
            form = self.forms.setdefault(key, Form(shown=shown))
        _note(form, reply, evidence.original_recipient or evidence.recipient, verdict)

    def is_unclear(self, verdict: Verdict) -> bool:
        """Whether the verdict is no answer."""
        return verdict.bounce_code == _UNKNOWN or verdict.confidence < self._below

    def _fold(self) -> None:
        forms: dict[Tokens, Form] = {}
        for template in templates_of({key: form.recipients for key, form in self.forms.items()}):
            members = sorted(template.members, key=lambda key: (-self.forms[key].count, key))
            kept = members if len(members) <= _KEPT_MEMBERS + 1 else members[:_KEPT_MEMBERS]
            forms |= {key: self.forms[key] for key in kept}
            if rest := [self.forms[key] for key in members[len(kept) :]]:
                # A template may be one of its own members since the last folding.
                whole = forms.setdefault(template.tokens, Form(shown=_blurred(rest[0].shown, template.tokens)))
                for form in rest:
                    whole.take(form)
        if len(forms) > _KEPT_FORMS:
            ranked = sorted(forms, key=lambda key: (-forms[key].count, key))
            self.dropped += sum(forms[key].count for key in ranked[_KEPT_FORMS:])
            forms = {key: forms[key] for key in ranked[:_KEPT_FORMS]}
        self.forms = forms


def gather_stored(
    store: Store,
    gatherer: Gatherer,
    *,
    period: Period,
    below: float,
    limit: int | None = None,
    on_progress: Callable[[int], None] = lambda count: None,
) -> None:
    """The unclear replies of the store, the newest `limit` of log and of bounces (None: all). Raises StoreError."""
    for kind in ReplyKind:
        for page in stored_replies(store, period, kind=kind, newest_first=True, limit=limit, unclear=below):
            for stored in page:
                gatherer.add(stored.evidence)
            on_progress(len(page))


def gather_lines(
    lines: Iterable[bytes], gatherer: Gatherer, *, limit: int | None = None, on_progress: Callable[[int], None]
) -> Iterator[BadLine]:
    """Replies of a file, one a line: JSON objects with `text` when the first line is one, else plain text.

    `on_progress` hears the octets read. Gives the lines that are no reply.
    """
    is_json: bool | None = None
    for number, line in enumerate(lines, start=1):
        on_progress(len(line))
        text = line.decode("utf-8", "replace").removeprefix("\ufeff").strip()
        if not text:
            continue
        if is_json is None:
            is_json = text.startswith("{")
        found = _object(text) if is_json else Evidence(road=Road.MANUAL, replies=(read_reply(text),))
        if isinstance(found, str):
            yield BadLine(number=number, why=found)
            continue
        gatherer.add(found)
        if limit is not None and gatherer.read >= limit:
            return


def _object(line: str) -> Evidence | str:
    """A line of JSON as evidence, or why it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return "no-json"
    if not isinstance(row, dict):
        return "no-object"
    if any(not isinstance(row.get(key) or "", str) for key in ("text", "stage", "host", "recipient")):
        return "no-string"
    if row.get("text") is None:
        return "no-text"
    stage = (row.get("stage") or "").strip().lower()
    if stage and stage not in set(Stage):
        return "bad-stage"
    reply = read_reply(row["text"], stage=Stage(stage) if stage else None, host=row.get("host") or None)
    return Evidence(road=Road.MANUAL, recipient=row.get("recipient") or "", replies=(reply,))


def _note(form: Form, reply: Reply, recipient: str, verdict: Verdict) -> None:
    form.count += 1
    if form.recipients < _RECIPIENTS:
        key = address_key(recipient)
        if not key:  # nobody knows: as if each had its own
            form.recipients += 1
        elif key not in form.keys:
            form.keys.add(key)
            form.recipients += 1
    codes = " ".join(str(code) for code in (reply.reply_code, reply.enhanced_status) if code)
    if codes and (codes in form.codes or len(form.codes) < _MOST_CODES):
        form.codes[codes] += 1
    domain = domain_of(recipient)
    if domain and len(form.domains) < MOST_DOMAINS:
        form.domains.add(domain)
    entry = reply.text, local_part_of(recipient)
    if len(form.texts) < _TEXTS and (len(reply.text) <= _TEXT_LIMIT or not form.texts) and entry not in form.texts:
        form.texts.append(entry)
    form.verdicts[verdict.bounce_code, verdict.rule_id, verdict.confidence] += 1
    if (proposal := _proposal(reply, verdict)) is not None:
        form.proposals[proposal] += 1


def _proposal(reply: Reply, verdict: Verdict) -> Proposal | None:
    if verdict.bounce_code != _UNKNOWN:
        return Proposal(bounce_code=verdict.bounce_code, by="verdict")
    for other in verdict.runners_up:
        if other.bounce_code != _UNKNOWN:
            return Proposal(bounce_code=other.bounce_code, by="runner-up")
    code = _BY_CLASS.get(reply.reply_class or 0)
    return Proposal(bounce_code=code, by="reply-class") if code else None


def _blurred(shown: Tokens, tokens: Tokens) -> Tokens:
    """The words of `shown` where the template is constant."""
    return tuple(word if word.lower() == token else token for word, token in zip(shown, tokens, strict=True))
