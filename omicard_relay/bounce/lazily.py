"""`once`: an attribute that is computed when it is first asked for, and kept.

What `functools.cached_property` does, without the lock that it takes in Python 3.11 at every first access: a mail has
dozens of such attributes. For classes with a `__dict__`; two threads may compute the same value twice, to the same end.
"""

from collections.abc import Callable
from typing import Generic, Self, TypeVar, overload

__all__ = ["once"]

Owner = TypeVar("Owner")
Value = TypeVar("Value")


class once(Generic[Owner, Value]):  # noqa: N801  it is read as the word that it is, like `property`
    """The descriptor: it has no `__set__`, so the value in the instance's `__dict__` wins from then on."""

    def __init__(self, compute: Callable[[Owner], Value]) -> None:
        self.compute = compute
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, owner: None, kind: type[Owner] | None = None) -> Self: ...

    @overload
    def __get__(self, owner: Owner, kind: type[Owner] | None = None) -> Value: ...

    def __get__(self, owner: Owner | None, kind: type[Owner] | None = None) -> Self | Value:
        if owner is None:
            return self
        value = owner.__dict__[self.name] = self.compute(owner)
        return value
