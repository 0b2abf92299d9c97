"""A phrase proposed from one reply: its own words, without what changes from mail to mail.

Codes, addresses, host names, IP addresses, links, ids and numbers are cut out; where the words on both sides are needed, a
gap (`…`) stands between them. Used by `rules add` when no phrase is given.
Known limit: a name written as plain words (`Dear Ann`) stays.
"""

import re

from omicard_relay.classify.wording import ADDRESS, wording_of
from omicard_relay.mail import read_reply
from omicard_relay.tables.rules import GAP

__all__ = ["propose_phrase"]

# Each alternative is one run of characters without white space, so the time is linear.
_CODES_AT_START = re.compile(r"^\W{0,3}[245]\d\d(?:[ \-#:(\[]{0,3}[245]\.\d{1,3}\.\d{1,3}[)\]]?)?[\s:-]*")
_EDGES = " \t.,;:!?()[]<>{}\"'`/|*#=-–—。，；：！？、（）《》「」"
_CHANGING = re.compile(r"[0-9@/\\_=]|\S\.\S|[a-z][A-Z]\S{0,20}[A-Z]|&\w")
#: One run of words this long says enough by itself; shorter ones are joined.
_ENOUGH_LETTERS = 16
_MOST_CHARACTERS = 120
_FEWEST_LETTERS = 2


def propose_phrase(text: str) -> str | None:
    """The phrase, in lower case; None when the reply has no words of its own."""
    shown = wording_of(read_reply(text).innermost[:2000]).shown
    runs = [run for run in _runs(_CODES_AT_START.sub("", shown)) if min(_letters(run), len(run)) >= _FEWEST_LETTERS]
    if not runs:
        return None
    longest = max(runs, key=_letters)
    if _letters(longest) >= _ENOUGH_LETTERS:
        return _cut(longest)
    place = runs.index(longest)
    # The best neighbour alone: each gap bridges 60 characters at most.
    neighbours = [runs[n] for n in (place - 1, place + 1) if 0 <= n < len(runs)]
    if not neighbours:
        return _cut(longest)
    other = max(neighbours, key=_letters)
    pair = (other, longest) if runs.index(other) < place else (longest, other)
    return f"{_cut(pair[0])} {GAP} {_cut(pair[1])}"


def _runs(text: str) -> list[str]:
    """The words between what changes, each run on its own, punctuation at its ends taken off."""
    runs: list[list[str]] = [[]]
    for word in text.split():
        core = word.strip(_EDGES)
        if core and (ADDRESS in word or _CHANGING.search(core)):
            runs.append([])
            continue
        runs[-1].append(word)
        if word[-1] in ".!?。！？" and len(word) > 2:
            runs.append([])
    return [run for words in runs if (run := " ".join(words).strip(_EDGES).lower())]


def _letters(run: str) -> int:
    """Letters of a run; one of another script than Latin says as much as three."""
    return sum(1 if char.isascii() else 3 for char in run if char.isalpha())


def _cut(run: str) -> str:
    """The run's first words up to the limit."""
    if len(run) <= _MOST_CHARACTERS:
        return run
    return run[:_MOST_CHARACTERS].rsplit(" ", 1)[0].strip(_EDGES)
