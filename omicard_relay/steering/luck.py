"""Draws that can be repeated: from the seed and what they are for, never from what was drawn before."""

from zlib import crc32

__all__ = ["draw", "seed_of"]


def seed_of(seed: int, what: str, number: int, purpose: int) -> int:
    """A seed for one purpose; 32 bits, the same on every machine."""
    return crc32(f"{seed}:{purpose}:{number}:{what}".encode("utf-8", "surrogatepass"))


def draw(seed: int, what: str, number: int, purpose: int) -> float:
    """An even draw from 0 to below 1."""
    return seed_of(seed, what, number, purpose) / 4_294_967_296
