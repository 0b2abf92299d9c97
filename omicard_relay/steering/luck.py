"""Draws that can be repeated: from the seed and what they are for, never from what was drawn before."""

from hashlib import blake2b

__all__ = ["draw", "seed_of"]


def seed_of(seed: int, what: str, number: int, purpose: int) -> int:
    """A seed for one purpose; 64 bits, the same on every machine."""
    # A checksum would not do: it is linear, so that draws for two purposes would go together.
    said = f"{seed}:{purpose}:{number}:{what}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(said, digest_size=8).digest())


def draw(seed: int, what: str, number: int, purpose: int) -> float:
    """An even draw from 0 to below 1."""
    return (seed_of(seed, what, number, purpose) >> 11) / 9_007_199_254_740_992
