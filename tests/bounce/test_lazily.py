"""An attribute that is computed once."""

from omicard_relay.bounce.lazily import once


class Counted:
    """Counts how often its value is computed."""

    def __init__(self) -> None:
        self.times = 0

    @once
    def value(self) -> int:
        """The value."""
        self.times += 1
        return 7


def test_value_is_computed_when_first_asked_for_and_kept() -> None:
    counted = Counted()
    assert counted.times == 0
    assert (counted.value, counted.value, counted.times) == (7, 7, 1)


def test_instances_do_not_share_the_value() -> None:
    one, two = Counted(), Counted()
    assert (one.value, one.times, two.times) == (7, 1, 0)


def test_class_shows_the_descriptor_with_its_docstring() -> None:
    assert Counted.value.__doc__ == "The value."
