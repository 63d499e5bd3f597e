"""Limits of a connection, shared by threads and by processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Semaphore

import apsw
import numpy as np
import pytest

from nvisy.connector.model import Embedded
from nvisy.errors import Fatal, Transient
from nvisy.models.allowance import Allowance, Grant
from nvisy.models.limits import LimitedModel, Limits, connection_id, limited
from nvisy.models.openai import DESCRIPTOR, OpenAIParams
from nvisy.testing.model_server import ModelServer

Opened = Callable[..., Allowance]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Opens the turns of connection `c`, with limits as keyword arguments; all share a file."""
    allowances: list[Allowance] = []

    def open_allowance(connection: str = "c", clock=time.time, **limits: int) -> Allowance:
        allowances.append(Allowance(tmp_path / "limits.db", connection, Limits(**limits), clock=clock))
        return allowances[-1]

    yield open_allowance
    for allowance in allowances:
        allowance.close()


class Clock:
    """Stands still until it is moved on."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def turns(allowance: Allowance, clock: Clock, count: int, chars: Sequence[int] = (0,)) -> list[Grant]:
    """The turns of `count` calls, all asked for as early as may be, with as many characters as `chars` has in turn."""
    grants: list[Grant] = []
    while len(grants) < count:
        size = chars[len(grants) % len(chars)]
        found = allowance._in_transaction(lambda size=size: allowance._reserve(size))
        if isinstance(found, Grant):
            grants.append(found)
            allowance.done(found, None)
        else:
            clock.now += found
    return grants


def test_calls_are_spread_evenly_just_below_the_limit(opened: Opened):
    clock = Clock()
    grants = turns(opened(clock=clock, requests_per_minute=600), clock, 200)
    assert grants[0].at == 1_000_000
    assert np.allclose(np.diff([grant.at for grant in grants[20:]]), 60 / (0.98 * 600))


@pytest.mark.parametrize("limit", [1, 3, 60, 601])
def test_no_minute_holds_more_calls_than_the_limit(opened: Opened, limit: int):
    clock = Clock()
    at = [one.at for one in turns(opened(clock=clock, requests_per_minute=limit), clock, 2 * limit)]
    for start in at:
        assert sum(start <= one < start + 60 for one in at) <= limit


@pytest.mark.parametrize("chars", [[40], [64_000], [4, 4, 4, 32_000], [400_000, 8_000]])
def test_no_minute_holds_more_tokens_than_the_limit_however_unevenly_they_come(
    opened: Opened, chars: list[int]
):
    clock = Clock()
    count = 2 * 80_000 * len(chars) // sum(chars) + 8  # two minutes
    grants = turns(opened(clock=clock, tokens_per_minute=20_000), clock, count, chars)
    at = [grant.at for grant in grants]
    assert at == sorted(at)
    spent = np.cumsum([0, *(grant.tokens for grant in grants)])
    a_minute_later = np.searchsorted(at, np.array(at) + 60)
    assert max(spent[a_minute_later] - spent[np.searchsorted(at, at)]) <= 20_000


def test_uneven_calls_use_both_limits_up(opened: Opened):
    clock = Clock()
    allowance = opened(clock=clock, requests_per_minute=600, tokens_per_minute=60_000)
    grants = turns(
        allowance, clock, 1200, [0, 800]
    )  # 100 tokens a call, which is what both limits allow together
    assert 1200 / (grants[-1].at - grants[0].at) > 0.95 * 10


def test_what_calls_really_cost_corrects_the_estimate(opened: Opened):
    allowance = opened(tokens_per_minute=1_000_000)
    assert allowance.take(1000).tokens == 250
    for _ in range(30):
        allowance.done(allowance.take(1000), 500)
    assert allowance.take(1000).tokens == pytest.approx(500, rel=0.01)


def test_only_so_many_calls_are_in_flight_in_all_processes(opened: Opened):
    one, other = opened(max_in_flight=2), opened(max_in_flight=2)
    first = one.take(0)
    other.take(0)
    assert not isinstance(other._in_transaction(lambda: other._reserve(0)), type(first))
    one.done(first, None)
    other.take(0)


def test_connections_have_limits_of_their_own(opened: Opened):
    opened("a", max_in_flight=1).take(0)
    opened("b", max_in_flight=1).take(0)


def test_the_calls_of_a_process_that_died_are_struck_off(opened: Opened, tmp_path: Path):
    program = (
        "import os, sys; from pathlib import Path; from nvisy.models.allowance import Allowance; "
        "from nvisy.models.limits import Limits; "
        "Allowance(Path(sys.argv[1]), 'c', Limits(max_in_flight=1)).take(0); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "limits.db")], check=True)
    allowance = opened(max_in_flight=1)
    assert allowance._in_transaction(allowance._in_flight) == 1
    assert isinstance(allowance._in_transaction(lambda: allowance._reserve(0)), Grant)


def test_a_pause_that_the_server_asks_for_holds_for_everybody(opened: Opened):
    one, other = opened(), opened()
    started = time.time()
    one.refused(0.3)
    assert other.take(0).at >= started + 0.3
    assert time.time() >= started + 0.3


def test_calls_that_already_had_a_turn_wait_the_pause_out(opened: Opened):
    allowance = opened(requests_per_minute=600)
    for _ in range(7):
        allowance._reserved(0)
    taken: list[float] = []
    thread = threading.Thread(target=lambda: taken.append(allowance.take(0).at))
    thread.start()
    time.sleep(0.02)
    refused_at = time.time()
    opened(requests_per_minute=600).refused(0.4)
    thread.join()
    assert taken[0] >= refused_at + 0.4


def test_a_refusal_slows_everybody_down_for_a_while(opened: Opened):
    clock = Clock()
    allowance = opened(clock=clock, requests_per_minute=600)
    allowance.refused(0)
    spacing = np.diff([grant.at for grant in turns(allowance, clock, 40)[20:]])
    assert np.allclose(spacing, 60 / (0.98 * 600 * 0.7), rtol=0.05)
    clock.now += 120
    spacing = np.diff([grant.at for grant in turns(allowance, clock, 40)[20:]])
    assert np.allclose(spacing, 60 / (0.98 * 600))


def test_refusals_of_calls_that_were_under_way_together_count_once(opened: Opened):
    allowance = opened()
    for _ in range(10):
        allowance.refused(0)
    assert allowance._in_transaction(lambda: allowance._pace().eased) == pytest.approx(0.7)


def test_a_clock_that_was_set_back_stops_nobody_for_long(opened: Opened):
    clock = Clock()
    allowance = opened(clock=clock, requests_per_minute=60, tokens_per_minute=1000)
    turns(allowance, clock, 10, [400])
    clock.now -= 86400
    (grant,) = turns(allowance, clock, 1, [400])
    assert grant.at - (1_000_000 - 86400) < 120


def test_closing_ends_calls_that_wait(opened: Opened):
    allowance = opened(max_in_flight=1)
    allowance.take(0)
    said: list[str] = []

    def wait() -> None:
        try:
            allowance.take(0)
        except Transient as error:
            said.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.03)
    allowance.close()
    thread.join(60)
    assert said


def test_a_damaged_file_is_replaced(opened: Opened, tmp_path: Path):
    (tmp_path / "limits.db").write_bytes(os.urandom(4096))
    allowance = opened(requests_per_minute=600)
    allowance.done(allowance.take(0), None)


def test_a_file_that_cannot_be_made_is_a_clear_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Fatal, match=r"rate limits in .* cannot be used"):
        Allowance(tmp_path / "file" / "limits.db", "c", Limits()).take(0)


def test_a_connection_is_the_same_wherever_it_is_written_the_same():
    params = {"baseUrl": "https://x/v1", "apiKey": "${KEY}"}
    assert connection_id("openai", params) == connection_id("openai", dict(reversed(params.items())))
    assert connection_id("openai", params) != connection_id("openai", {**params, "apiKey": "${OTHER}"})


class Local:
    name, revision, dimensions, max_batch, max_in_flight, cached = "local/x", "1", 8, 4, 1, True

    def embed(self, texts):
        return Embedded(np.zeros((len(texts), 8), np.float32))

    def close(self) -> None: ...


def test_a_model_of_this_process_has_no_limits(tmp_path: Path):
    model = Local()
    assert limited(model, Limits(max_in_flight=1), tmp_path, "c") is model


def drive(server: ModelServer, state: Path, calls: int, **limits: int) -> None:
    """Ask as fast as the limits allow, in eight threads, until `calls` were answered."""
    params = OpenAIParams.model_validate({"model": "x", "baseUrl": server.url, "dimensions": 8})
    model = limited(DESCRIPTOR.open(params), Limits(**limits), state, "c")
    assert isinstance(model, LimitedModel)
    left = Semaphore(calls)

    def ask(worker: int) -> None:
        while left.acquire(blocking=False):
            try:
                model.embed([f"text {worker} " * 20])
            except Transient:
                left.release()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))
    model.close()


def test_two_users_of_a_connection_share_its_turns_and_use_the_limit_up(opened: Opened):
    clock = Clock()
    users = [opened(clock=clock, requests_per_minute=600) for _ in range(2)]
    at = [turns(users[number % 2], clock, 1)[0].at for number in range(200)]
    assert np.allclose(np.diff(at[20:]), 60 / (0.98 * 600))


def test_two_users_of_a_connection_have_no_call_refused(tmp_path: Path):
    limits = {"requests_per_minute": 3000, "tokens_per_minute": 1_000_000, "max_in_flight": 6}
    with ModelServer(latency_s=0.02, **limits) as server, ThreadPoolExecutor(2) as users:
        list(users.map(lambda _: drive(server, tmp_path, 40, **limits), range(2)))
    assert len(server.calls) == 80
    assert server.over_limit == 0
    assert 1 < server.most_in_flight <= 6


def test_a_server_that_allows_less_than_was_said_is_left_alone_as_it_asks(tmp_path: Path):
    with ModelServer(max_in_flight=2, latency_s=0.05, retry_after="0.3") as server:
        drive(server, tmp_path, 30)
    answered = sorted(call.at for call in server.calls)
    pauses = 1 + (answered[-1] - answered[0]) / 0.3
    assert server.over_limit <= 8 * (pauses + 1)  # the eight threads once in each pause, and no more


def test_a_file_that_another_process_is_making_is_waited_for(tmp_path: Path, opened: Opened) -> None:
    with closing(apsw.Connection(str(tmp_path / "limits.db"))) as other:
        other.execute("BEGIN IMMEDIATE; CREATE TABLE unrelated (x)")
        with ThreadPoolExecutor(1) as pool:
            turn = pool.submit(lambda: opened(requests_per_minute=600).take(1))
            time.sleep(0.1)
            other.execute("COMMIT")
            turn.result(10)
