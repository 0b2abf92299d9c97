"""The words of a template that tell it from all other replies: a short phrase for a rule.

A word tells the more, the fewer well-known replies hold it (the examples of all rules); a phrase must stand in none of
them, and in no other template if that can be had. Few words are better than many: the next release of the remote
server may change the rest of its sentence.
Known limit: a template without two constant words side by side has no phrase, and needs a pattern by hand.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from omicard_relay.classify.masking import GLUE, is_constant, joined
from omicard_relay.classify.templates import Tokens
from omicard_relay.classify.wording import wording_of
from omicard_relay.mail import printable, read_reply
from omicard_relay.tables.rules import GAP

__all__ = ["WellKnown", "phrases_of", "words_of_templates"]

_EDGES = " \t.,;:!?()[]{}<>\"'`/|*#=-–—。,、:;!?()《》「」·"
_WORD = re.compile(r"[^\W\d_\u0e00-\U0003ffff]+|\d+|[\uac00-\ud7af]+|[^\W\d_]+")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
#: Six words, or fifteen characters of a script without blanks, say enough; up to fourteen where fewer stand elsewhere, too.
_WIDTHS = (6.0, 14.0)
_CHARACTER_WIDTH = 0.4
_MOST_CHARACTERS = 120
#: Letters that a phrase must have; one of another script than Latin, Greek or Cyrillic says as much as three.
_FEWEST_LETTERS = 6
#: What a pair of such characters tells, beside a word.
_PAIR = 0.4
_WIDE = "\u0e00"
_STOP_TEXT = """
a an and are as at be been but by can could did do for from had has have he her his i if in into is it its may me my no
not of on or our out please she so such than that the their them then there these they this to up was we were which
will with would you your
der die das den dem des ein eine einer eines und oder ist sind war wird wurde nicht kein keine von vom zu zum zur im in
mit auf an für bei ihre ihr sie es als auch bitte
le la les un une des du de et ou est sont a été pas ne que qui dans par pour sur avec ce cette votre vous il elle au aux
el los las una unos del y o es son fue no se su sus por para con en al lo que este esta
os as um uma do da dos das e ou é são foi não seu sua por para com em no na ao que
il lo gli uno di del della e o è sono non si suo sua per con nel che
и в во не на с со по к у о от до за из для это что как вы ваш ваше
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())


class WellKnown:
    """Replies that are known, by their texts; how much a word tells among them."""

    def __init__(self, texts: Iterable[str]) -> None:
        folded = [wording_of(read_reply(text).innermost).folded for text in texts]
        self._all = "\n".join(folded)
        self._replies = len(folded)
        self._counts: dict[str, int] = {}
        for text in folded:
            for word in _words(text):
                self._counts[word] = self._counts.get(word, 0) + 1

    def holds(self, phrase: str) -> bool:
        """Whether some known reply has it."""
        return phrase in self._all

    def weight(self, word: str) -> float:
        """0 for a stop word, else the more, the rarer it is."""
        if word in _STOP_WORDS:
            return 0.0
        return math.log((self._replies + 2) / (self._counts.get(word, 0) + 1)) * (_PAIR if word > _WIDE else 1.0)

    @property
    def vocabulary(self) -> frozenset[str]:
        """All words that are seen twice at least, without stop words and numbers."""
        return frozenset(
            word for word, n in self._counts.items() if n > 1 and word not in _STOP_WORDS and not word.isdigit()
        )


def words_of_templates(templates: Iterable[Tokens]) -> Counter[str]:
    """In how many templates each word stands."""
    counts: Counter[str] = Counter()
    for tokens in templates:
        counts.update(_words(joined(tokens)))
    return counts


def phrases_of(tokens: Tokens, known: WellKnown, templates: Mapping[str, int]) -> Iterator[str]:
    """Phrases that stand in every reply of a template and in no known one, in lower case; the most telling first.

    `templates`: in how many templates each word stands (`words_of_templates`); what stands in many of them tells less.
    """
    seen = set()
    for width in _WIDTHS:
        scored = {}
        for place, phrase in _windows(tokens, width):
            score = sum(known.weight(word) / templates.get(word, 1) for word in sorted(_words(phrase)))
            if phrase not in scored and score > 0 and _letters(phrase) >= _FEWEST_LETTERS:
                scored[phrase] = (-round(score, 6), len(phrase), place)
        for phrase in sorted(scored, key=scored.__getitem__):
            if phrase not in seen and not known.holds(phrase):
                seen.add(phrase)
                yield phrase


def _words(text: str) -> set[str]:
    """The words of a text; of scripts without blanks, each pair of characters."""
    words: set[str] = set()
    for word in _WORD.findall(text):
        if word > _WIDE and not "\uac00" <= word[0] <= "\ud7af":
            words.update(word[n : n + 2] for n in range(max(1, len(word) - 1)))
        else:
            words.add(word)
    return words


def _windows(tokens: Tokens, width: float) -> Iterator[tuple[int, str]]:
    """Every run of constant tokens up to a width, with the place where it begins."""
    may_stand = [_may_stand(token) for token in tokens]
    for start in range(len(tokens)):
        wide = 0.0
        for end in range(start, len(tokens)):
            token = tokens[end]
            if not may_stand[end]:
                break
            wide += _CHARACTER_WIDTH if token.removeprefix(GLUE) >= _WIDE else 1.0
            if wide > width:
                break
            phrase = _cut(tokens, start, end + 1)
            if phrase and len(phrase) <= _MOST_CHARACTERS:
                yield start, phrase
            if token[-1] in ".!?。" and len(token) > 2:
                break  # over the end of a sentence, others may put another one


def _may_stand(token: str) -> bool:
    unfit = GAP in token or "@" in token or _STATUS.search(token) or printable(token) != token
    return is_constant(token) and not unfit


def _cut(tokens: Tokens, start: int, end: int) -> str:
    """The tokens as a phrase without stop words and punctuation at its ends; empty where it would cut a word in two."""
    first, last = start, end
    while first < last and _word_of(tokens[first]) in _STOP_WORDS:
        first += 1
    while last > first and _word_of(tokens[last - 1]) in _STOP_WORDS:
        last -= 1
    if (first, last) != (start, end) or first == last:
        return ""  # the shorter window is looked at by itself
    line = joined(tokens[first:last])
    phrase = line.strip(_EDGES)
    if not phrase:
        return ""
    before = tokens[first].startswith(GLUE) and line.startswith(phrase)
    after = last < len(tokens) and tokens[last].startswith(GLUE) and line.endswith(phrase)
    # An ASCII word must stand alone in the text, and what is glued to it may be anything.
    if (before and _is_word(phrase[0])) or (after and _is_word(phrase[-1])):
        return ""
    return phrase


def _word_of(token: str) -> str:
    return token.removeprefix(GLUE).strip(_EDGES)


def _is_word(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "_")


def _letters(phrase: str) -> int:
    return sum(1 if char < _WIDE else 3 for char in phrase if char.isalpha())
