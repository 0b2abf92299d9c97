"""What most tests of services begin with: an empty store, a clock that is set, the shipped rules."""

import pytest

from omicard_relay.services.rulebook import Rulebook
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.suppress import load_suppress
from tests.ingesting import Clock
from tests.keeping import a_store


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def book():
    return Rulebook.of(load_policies(), load_suppress())
