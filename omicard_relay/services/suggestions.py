"""`rules suggest`: the templates of what was gathered, each with a rule that can be accepted as it is.

The most frequent come first. Every proposed rule is judged on its examples together with the working copy's rules and all
the other proposals, so that one that would not hold says so. Codes are proposed by what the judge said though weakly,
by its runners-up, or by the class of the reply; where none of them speaks, the administrator must choose.
Not here: reading and judging the replies (services/gathering.py), writing a rule (services/rulefiles.py).
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from itertools import islice

from msgspec import structs

from omicard_relay.classify import Judge
from omicard_relay.classify.examples import evidence_of_example
from omicard_relay.classify.masking import joined
from omicard_relay.classify.telling import WellKnown, phrases_of, words_of_templates
from omicard_relay.classify.templates import Template, Tokens, constants_of, templates_of
from omicard_relay.mail import one_line
from omicard_relay.services.gathering import MOST_DOMAINS, Form, Gatherer, Proposal
from omicard_relay.tables.policies import Policies
from omicard_relay.tables.rules import Rule, Strength
from omicard_relay.tables.ruletext import written

__all__ = ["CHOOSE", "Suggested", "Suggestion", "suggest"]

_NOBODY = "user@example.com"
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9-])?")
#: RFC 6531: any letters; only where the first expression found nothing, for it takes the words beside it, too.
_ANY_ADDRESS = re.compile(r"""[^\s<>"'()\[\],;:@=]{1,64}@[^\s<>"'()\[\],;:@/?&]{1,255}""")
#: A shorter local part is as often a word.
_FEWEST_LOCAL = 3
_EXAMPLE_LIMIT = 1000
_TEMPLATE_LIMIT = 400
#: How codes are proposed, the best word first.
_WORDS = ("verdict", "runner-up", "reply-class")
#: Phrases that are tried; the first one hardly ever stands in another template.
_PHRASES = 60
#: For judging a rule whose code is not chosen yet: any cause of its own.
_ANY_CODE = 918
#: What stands where the administrator must choose.
CHOOSE = "CODE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One template. `key` names it as long as its words stay; `domains` are those of recipients, `is_more` when there are more.

    `verdict` is what most of its replies get now: code, rule, confidence. `proposal` None: nobody proposes a code. `rule` None:
    it has no phrase, and needs a pattern by hand. `also` are the keys of other suggestions that the phrase reads, too;
    `stopped_by` is the rule that would decide instead.
    """

    key: str
    count: int
    domains: int
    is_more: bool
    template: str
    codes: tuple[tuple[str, int], ...]
    verdict: tuple[int, str, float]
    examples: tuple[str, ...]
    phrase: str | None
    proposal: Proposal | None
    rule: Rule | None
    also: tuple[str, ...] = ()
    stopped_by: str = ""

    @property
    def command(self) -> str | None:
        """The command line that writes the rule; `CODE` in it is to be chosen."""
        if self.rule is None:
            return None
        words = ["omicard-relay", "rules", "add", "--code", str(self.proposal.bounce_code) if self.proposal else CHOOSE]
        words += ["--phrase", self.rule.phrases[0]]
        if self.rule.strength is not Strength.TEXT:
            words += ["--strength", self.rule.strength]
        for example in self.rule.examples:
            words += ["--example", example]
        return shlex.join(words)

    @property
    def toml(self) -> str | None:
        """The rule as a `[[rule]]`; without `bounce_code` when that is to be chosen."""
        if self.rule is None:
            return None
        text = written(self.rule)
        return text if self.proposal else text.replace(f"bounce_code = {_ANY_CODE}\n", "# bounce_code = 900 to 939\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggested:
    """`items`, most frequent first; `templates` found in all; `waiting` replies that the working copy reads already."""

    items: tuple[Suggestion, ...]
    templates: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """A template with all that was gathered of it; `text` has its masked replies, one a line."""

    tokens: Tokens
    form: Form
    domains: frozenset[str]
    is_more: bool
    text: str

    @property
    def key(self) -> str:
        return sha256(" ".join(constants_of(self.tokens)).encode("utf-8", "replace")).hexdigest()[:8]


def suggest(gathered: Gatherer, in_force: Policies, draft: Policies, *, today: date, most: int) -> Suggested:
    """The `most` frequent templates. `draft`: the working copy, which may know more than the rules in force."""
    known = WellKnown([example for rule in draft.rules for example in rule.examples])
    templates = templates_of({key: form.recipients for key, form in gathered.forms.items()}, known.vocabulary)
    groups = sorted((_group(one, gathered) for one in templates), key=lambda group: (-group.form.count, group.tokens))
    left, waiting = groups, 0
    if draft.rules != in_force.rules:
        judge = Judge(draft)
        left = [group for group in groups if gathered.is_unclear(judge.judge_text(group.form.texts[0][0]))]
        waiting = sum(group.form.count for group in groups) - sum(group.form.count for group in left)
    every = "\n".join(group.text for group in left)
    words = words_of_templates(group.tokens for group in left)
    drafts = [_suggestion(group, known, words, every, today) for group in left[:most]]
    items = _told_overlaps(_tried(drafts, draft), left)
    return Suggested(items=tuple(items), templates=len(left), waiting=waiting)


def _group(template: Template, gathered: Gatherer) -> _Group:
    forms = gathered.forms
    members = sorted(template.members, key=lambda key: (-forms[key].count, key))
    pairs = zip(forms[members[0]].shown, template.tokens, strict=True)
    whole = Form(shown=tuple(word if word.lower() == token else token for word, token in pairs))
    for key in members:
        whole.take(forms[key])
    return _Group(
        tokens=template.tokens,
        form=whole,
        domains=frozenset().union(*(forms[key].domains for key in members)),
        is_more=any(len(forms[key].domains) >= MOST_DOMAINS for key in members),
        text="\n".join(joined(key) for key in members),
    )


def _suggestion(group: _Group, known: WellKnown, words: Counter[str], every: str, today: date) -> Suggestion:
    form = group.form
    phrase = _phrase(group, known, words, every)
    examples = tuple(dict.fromkeys(_sanitised(text, local, phrase or "") for text, local in form.texts))
    proposal = _best(form.proposals)
    rule = None
    if phrase is not None:
        rule = Rule(
            id=f"site-{group.key}",
            bounce_code=proposal.bounce_code if proposal else _ANY_CODE,
            strength=Strength.TEXT,
            phrases=(phrase,),
            source="own log",
            seen=today,
            examples=examples,
        )
    return Suggestion(
        key=group.key,
        count=form.count,
        domains=len(group.domains),
        is_more=group.is_more,
        template=one_line(joined(form.shown), _TEMPLATE_LIMIT),
        codes=tuple(sorted(form.codes.items(), key=lambda item: (-item[1], item[0]))),
        verdict=min(form.verdicts, key=lambda verdict: (-form.verdicts[verdict], verdict)),
        examples=examples,
        phrase=phrase,
        proposal=proposal,
        rule=rule,
    )


def _phrase(group: _Group, known: WellKnown, words: Counter[str], every: str) -> str | None:
    """The most telling phrase that stands in no other template; where there is none such, the most telling one."""
    first = None
    for phrase in islice(phrases_of(group.tokens, known, words), _PHRASES):
        if every.count(phrase) == group.text.count(phrase):
            return phrase
        first = first or phrase
    return first


def _best(proposals: Counter[Proposal]) -> Proposal | None:
    """The code that most replies propose, with the best word that was put in for it."""
    counts: Counter[int] = Counter()
    for proposal, count in proposals.items():
        counts[proposal.bounce_code] += count
    if not counts:
        return None
    code = min(counts, key=lambda code: (-counts[code], code))
    words = {proposal.by for proposal in proposals if proposal.bounce_code == code}
    return Proposal(bounce_code=code, by=min(words, key=_WORDS.index))


def _sanitised(text: str, local: str, phrase: str) -> str:
    """A reply to be shown and kept as an example: on one line, without a recipient's name."""
    line = one_line(_ADDRESS.sub(_NOBODY, text[:_EXAMPLE_LIMIT]))
    line = _ANY_ADDRESS.sub(lambda found: found.group() if _NOBODY in found.group() else _NOBODY, line)
    if len(local) >= _FEWEST_LOCAL and local.lower() not in phrase:
        line = re.sub(rf"(?<![\w.-]){re.escape(local)}(?![\w-])", "user", line, flags=re.IGNORECASE)
    return line


def _tried(items: Sequence[Suggestion], draft: Policies) -> list[Suggestion]:
    """The suggestions with rules that decide their own examples, as far as that can be had."""
    stopped = _stopped(items, draft)
    if not stopped:
        return list(items)
    stronger = [
        replace(item, rule=structs.replace(item.rule, strength=Strength.TOKEN))
        if item.rule and item.key in stopped
        else item
        for item in items
    ]
    still = _stopped(stronger, draft)
    return [
        replace(old, stopped_by=still[old.key]) if old.key in still else new
        for old, new in zip(items, stronger, strict=True)
    ]


def _stopped(items: Sequence[Suggestion], draft: Policies) -> dict[str, str]:
    """Suggestion -> the rule that decides one of its examples instead of its own."""
    rules = [item.rule for item in items if item.rule]
    judge = Judge(replace(draft, rules=(*draft.rules, *rules)))
    stopped = {}
    for item in items:
        if (rule := item.rule) is None:
            continue
        for example in rule.examples:
            verdict = judge.judge(evidence_of_example(rule, example))
            if verdict is None or verdict.rule_id != rule.id:
                stopped[item.key] = verdict.rule_id if verdict else "-"
    return stopped


def _told_overlaps(items: Sequence[Suggestion], groups: Sequence[_Group]) -> Iterator[Suggestion]:
    for item in items:
        phrase = item.phrase
        also = [group.key for group in groups if phrase and group.key != item.key and phrase in group.text]
        yield replace(item, also=tuple(also))
