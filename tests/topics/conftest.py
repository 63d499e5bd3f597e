from collections.abc import Callable, Iterator

import pytest

from nvisy.topics.log import Log
from tests.topics.drive import Place


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def place(request, tmp_path) -> Place:
    """Where the log of one test is: every test below this folder runs on both kinds."""
    if request.param == "kafka":
        return Place(request.getfixturevalue("kafka_url"), str(tmp_path))
    return Place(None, str(tmp_path / "log"))


@pytest.fixture
def opened(place: Place) -> Iterator[Callable[[], Log]]:
    """Opens the log once more, as another process would."""
    logs: list[Log] = []

    def open_again() -> Log:
        logs.append(place.open())
        return logs[-1]

    yield open_again
    for log in logs:
        log.close()


@pytest.fixture
def log(opened: Callable[[], Log]) -> Log:
    return opened()


@pytest.fixture
def graph(unique_name: str) -> str:
    return unique_name


@pytest.fixture
def topic(log: Log, graph: str) -> str:
    """A topic with two partitions."""
    log.create(f"{graph}.t", 2)
    return f"{graph}.t"
