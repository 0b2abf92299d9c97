"""Fixed draws: what is hidden about one recipient, the same for every strategy that is tried on a world with one seed.

A draw depends on its key and purpose alone, not on what was drawn before: so a recipient is as good or bad whoever writes,
and whenever.
"""

__all__ = ["draw", "key_of"]

_MASK = (1 << 64) - 1


def key_of(seed: int, number: int) -> int:
    """The key of the draws about one thing (a recipient, a provider) in the world of this seed."""
    return _mixed((seed & _MASK) * 0x9E3779B97F4A7C15 + number * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019)


def draw(key: int, purpose: int) -> float:
    """A number from 0 up to 1, evenly spread, always the same for the same key and purpose."""
    return (_mixed(key + purpose * 0xBF58476D1CE4E5B9) >> 11) / 9007199254740992.0


def _mixed(x: int) -> int:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every bit depends on every bit."""
    x &= _MASK
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
    return x ^ (x >> 31)
