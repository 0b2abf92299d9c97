"""Masked replies -> the templates they were written by: Drain (through `drain3`) groups, and causes are kept apart.

Drain compares replies of the same number of tokens and takes those for one that agree in most places. Where they differ in
a place, that may be a name (many values, each of one recipient) or the cause itself ("the mailbox is asleep", "the sender
is asleep": few values, each of many recipients, or words that replies are known for): such groups are parted again.
The most frequent go first, so the result does not hang on the order in which the replies came.
Known limits: a sentence with a name of two words and one with a name of three are two templates; sentences that differ
in nothing but a number are one.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from omicard_relay.classify.masking import GLUE, MASK, is_constant

__all__ = ["Template", "Tokens", "constants_of", "templates_of"]

#: A masked reply in lower case, see classify/masking.py.
Tokens = tuple[str, ...]

#: Share of places that must agree with a group; below it, one-word differences of short sentences would not be seen.
_SIMILARITY = 0.6
#: Groups that a new reply is compared with at most, the latest used ones: it bounds the time for hostile input.
_MOST_GROUPS = 500
#: More values than this in one place are names.
_MOST_CAUSES = 8
#: So many recipients must have got a word before it is a cause and not one of their names.
_RECIPIENTS = 3
#: Numbers are masked, and so their units tell nothing either.
_UNIT_WORDS = "second seconds sec secs minute minutes min mins hour hours day days byte bytes kb mb gb kib mib gib"
_UNITS = frozenset(_UNIT_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """`tokens` with `<*>` where the members differ; `members` most frequent first."""

    tokens: Tokens
    members: tuple[Tokens, ...]


def templates_of(forms: Mapping[Tokens, int], vocabulary: Collection[str] = ()) -> list[Template]:
    """The templates, in no order that means anything. `forms`: how many different recipients got each masked reply.

    `vocabulary`: words in lower case that are known to state causes.
    """
    from drain3.drain import Drain  # late: 0.07 s, and one command needs it

    drain = Drain(
        depth=3,  # groups by length alone: a first word may be a name
        sim_th=_SIMILARITY,
        max_clusters=_MOST_GROUPS,
        param_str=MASK,
        parametrize_numeric_tokens=False,
    )
    groups: dict[int, list[Tokens]] = {}
    for tokens in sorted(forms, key=lambda tokens: (-forms[tokens], tokens)):
        cluster, _ = drain.add_log_message(" ".join(tokens))
        groups.setdefault(cluster.cluster_id, []).append(tokens)
    found: dict[Tokens, list[Tokens]] = {}
    for group in groups.values():
        for part in _parted(group, forms, vocabulary):
            found.setdefault(constants_of(_common(part)), []).extend(part)
    return [Template(tokens=_common(members), members=tuple(members)) for members in found.values()]


def constants_of(tokens: Tokens) -> Tokens:
    """The tokens with every mask as `<*>`, so that it does not count what was masked: the name of a template."""
    return tuple(token if is_constant(token) else MASK for token in tokens)


def _parted(group: list[Tokens], forms: Mapping[Tokens, int], vocabulary: Collection[str]) -> Iterator[list[Tokens]]:
    """The group in parts of one cause each."""
    causes = {place: words for place in range(len(group[0])) if (words := _causes(group, place, forms, vocabulary))}
    parts: dict[Tokens, list[Tokens]] = {}
    for tokens in group:
        key = tuple(tokens[place] if tokens[place] in words else MASK for place, words in causes.items())
        parts.setdefault(key, []).append(tokens)
    if len(parts) == 1:
        yield group
        return
    for part in parts.values():
        yield from _parted(part, forms, vocabulary)


def _causes(
    group: list[Tokens], place: int, forms: Mapping[Tokens, int], vocabulary: Collection[str]
) -> Collection[str]:
    """The words of a place that state a cause of their own; none where all agree, or where names stand."""
    values: dict[str, int] = {}
    for tokens in group:
        values[tokens[place]] = values.get(tokens[place], 0) + forms[tokens]
    if not 1 < len(values) <= _MOST_CAUSES or not all(map(is_constant, values)):
        return ()
    if all(_bare(word) in _UNITS for word in values):
        return ()
    return [word for word, recipients in values.items() if recipients >= _RECIPIENTS or _bare(word) in vocabulary]


def _bare(token: str) -> str:
    return token.removeprefix(GLUE).strip(".,;:!?()[]\"'")


def _common(group: list[Tokens]) -> Tokens:
    return tuple(column[0] if len(set(column)) == 1 else _blur(column) for column in zip(*group, strict=True))


def _blur(column: Tokens) -> str:
    return GLUE + MASK if all(token.startswith(GLUE) for token in column) else MASK
