"""A graph whose model is behind an API: nothing is asked twice, nothing lost while the API is down or full."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvisy.catalog import Catalog
from nvisy.errors import GraphError, Refused
from nvisy.graph.model import Graph
from nvisy.graph.parse import parse
from nvisy.graph.validate import check
from nvisy.runtime.run import Run
from nvisy.runtime.supervisor import StageFailed
from nvisy.testing.model_server import ModelServer
from tests.flow.pipeline import Pipeline, text

CANARY = "sk-canary-7f3a9c"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(api_key=CANARY) as running:
        yield running


@pytest.fixture
def served(embedded: Pipeline, server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """files → extract → chunk → embed with `openai/small` → sqlite."""
    monkeypatch.setenv("MODEL_KEY", CANARY)
    embedded.environ["MODEL_KEY"] = CANARY
    embedded.graph = embedded.chain(model="openai/small", dimensions=8, batchSize=16)
    node(embedded)["connection"] = "c1"
    embedded.graph["connections"] = {
        "c1": {"provider": "openai", "params": {"baseUrl": server.url, "apiKey": "${MODEL_KEY}"}}
    }
    embedded.write({f"{number}.txt": text(number) for number in range(20)})
    return embedded


def node(pipeline: Pipeline) -> dict[str, Any]:
    return next(one for one in pipeline.graph["nodes"] if one["id"] == "embed")


def hasten(pipeline: Pipeline, **retry: int) -> None:
    """Retry within milliseconds."""
    node(pipeline)["retry"] = {"initialDelayMs": 50, "maxDelayMs": 200, **retry}


class Followed:
    """A run that is followed, in a thread of this process, and what its stages were waiting for."""

    def __init__(self, pipeline: Pipeline) -> None:
        checked = check(Graph.load(pipeline.save()), Catalog.installed(), pipeline.environ)
        self.waiting: list[str] = []
        self._run = Run(checked, settings=pipeline.settings, follow=True, watch=self._watch)
        self._thread = threading.Thread(target=self._run.start)

    def __enter__(self) -> Followed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._run.stop()
        self._thread.join(40)
        assert not self._thread.is_alive()

    def _watch(self, _plan: Any, views: Any) -> None:
        self.waiting += [view.waiting for view in views.values() if view.waiting]


def eventually(is_true: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while True:
        with suppress(Refused):  # there is no index yet
            if is_true():
                return
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.1)


def files_with(needle: str, folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and needle.encode() in path.read_bytes() and path.name != "__pycache__"
    ]


def test_vectors_are_the_models_and_a_second_run_asks_for_nothing(served: Pipeline, server: ModelServer):
    report = served.run()
    assert (report.state, report.dead_letters) == ("completed", 0)
    records = served.records()
    assert len(records) == report.written == len({hit.text for hit in records})
    assert Counter(server.texts) == Counter(hit.text for hit in records)
    assert max(len(call.texts) for call in server.calls) == 16
    asked = len(server.calls)

    again = served.run()
    assert (again.state, again.model_calls, len(server.calls)) == ("completed", 0, asked)

    for path in served.settings.state.glob("log/**/*"):
        if path.is_file():
            path.unlink()
    served.graph["nodes"][-1]["params"]["collection"] = "anew"
    anew = served.run()
    assert (anew.written, anew.model_calls, len(server.calls)) == (len(records), 0, asked)


def test_a_server_that_fails_now_and_then_costs_no_document(served: Pipeline, server: ModelServer):
    hasten(served, maxRetries=8)
    node(served)["params"]["batchSize"] = 4
    server.seed = 3
    server.faults = {"rate_limited": 0.1, "error": 0.1, "garbage": 0.05, "dropped": 0.05, "miscounted": 0.05}
    server.retry_after = "0.05"
    report = served.run()
    assert (report.state, report.dead_letters) == ("completed", 0)
    assert served.keys() == {f"{number}.txt" for number in range(20)}


def test_an_outage_is_waited_for_and_nothing_goes_to_the_dead_letters(served: Pipeline, server: ModelServer):
    hasten(served)
    server.fail("unavailable")
    with Followed(served) as run:
        eventually(lambda: len(server.calls) > 5)
        assert served.dead_letters() == []
        eventually(lambda: any("answered 503" in said for said in run.waiting))
        server.fail(None)
        eventually(lambda: len(served.keys()) == 20)
    assert served.dead_letters() == []


def test_while_the_server_is_down_one_call_at_a_time_tries(served: Pipeline, server: ModelServer):
    hasten(served)
    node(served)["params"]["batchSize"] = 1
    with Followed(served):
        eventually(lambda: len(served.keys()) == 20)
        server.fail("unavailable")
        served.write({f"new {number}.txt": text(100 + number) for number in range(20)})
        eventually(lambda: bool(server.calls) and server.calls[-1].status == 503)
        time.sleep(1)
        before = len(server.calls)
        server.most_in_flight = 0
        time.sleep(2)
        assert len(server.calls) - before < 25
        assert server.most_in_flight <= 1
        server.fail(None)
        eventually(lambda: len(served.keys()) == 40)
    assert served.dead_letters() == []


def test_a_run_to_the_end_gives_up_on_an_outage_and_the_next_one_goes_on(
    served: Pipeline, server: ModelServer
):
    hasten(served, maxRetries=2)
    server.fail("error")
    with pytest.raises(StageFailed, match="answered 500") as caught:
        served.run()
    assert caught.value.exit_code == 3
    server.fail(None)
    report = served.run()
    assert (report.state, report.dead_letters) == ("completed", 0)
    assert len(served.keys()) == 20


def test_one_bad_text_among_many_is_one_dead_letter(served: Pipeline, server: ModelServer):
    server.rejects = lambda said: "unspeakable" in said
    served.write({"bad.txt": "An unspeakable text."})
    report = served.run()
    assert (report.state, report.dead_letters) == ("degraded", 1)
    (letter,) = served.dead_letters()
    assert "bad.txt" in str(letter)
    assert served.keys() == {f"{number}.txt" for number in range(20)}
    assert Counter(server.texts) == Counter(hit.text for hit in served.records())


def test_a_text_that_makes_the_server_fail_is_found_and_blamed(served: Pipeline, server: ModelServer):
    hasten(served, maxRetries=1)
    embed = server._embedded

    def failing(fault: Any, asked: Any, texts: Any) -> bytes:
        poisoned = any("poison" in said for said in texts)
        return embed("garbage" if poisoned else fault, asked, texts)

    server._embedded = failing  # type: ignore[method-assign]
    served.write({"bad.txt": "A poisonous text."})
    report = served.run()
    assert (report.state, report.dead_letters) == ("degraded", 1)
    assert served.keys() == {f"{number}.txt" for number in range(20)}


def test_a_wrong_key_ends_the_run_with_what_to_do(served: Pipeline, server: ModelServer):
    server.api_key = "another"
    with pytest.raises(StageFailed, match="see the connection's apiKey"):
        served.run()
    assert served.dead_letters() == []


def test_versions_of_a_document_keep_their_order(served: Pipeline, server: ModelServer):
    server.latency_s = 0.05
    node(served)["params"]["batchSize"] = 1
    with Followed(served):
        for version in range(6):
            served.write({"0.txt": f"Version {version}. {text(version)}"})
            time.sleep(0.4)
        served.write({"0.txt": "The last version."})
        eventually(lambda: [hit.text for hit in served.records(key="0.txt")] == ["The last version."])
        time.sleep(0.5)
        assert [hit.text for hit in served.records(key="0.txt")] == ["The last version."]


def test_a_stop_is_obeyed_while_the_server_is_down(served: Pipeline, server: ModelServer):
    server.fail("unavailable")
    with Followed(served):
        eventually(lambda: len(server.calls) > 2)
        started = time.monotonic()
    assert time.monotonic() - started < 15
    server.fail(None)
    assert served.run().dead_letters == 0
    assert len(served.keys()) == 20


def test_the_key_is_in_no_file_and_no_message(served: Pipeline, server: ModelServer):
    server.rejects = lambda said: "Paragraph 2 of 3" in said
    server.next("error", "rate_limited")
    hasten(served)
    served.run()
    assert len(served.dead_letters()) == 1
    server.next("unauthorized")
    served.write({"new.txt": "Something new."})
    with pytest.raises(StageFailed) as caught:
        served.run()
    assert CANARY not in str(caught.value)
    assert files_with(CANARY, served.folder) == []
    assert files_with("canary", served.settings.state) == []


def test_vectors_in_the_index_are_those_of_the_server(served: Pipeline, server: ModelServer):
    served.run()
    hit = served.records()[0]
    checked = check(Graph.load(served.save()), Catalog.installed(), {**os.environ, **served.environ})
    with_limits = checked.context("embed", served.settings.state).models("openai/small", {"dimensions": 8})
    try:
        assert np.allclose(with_limits.embed([hit.text]).vectors[0], server.vector(hit.text))
    finally:
        with_limits.close()


def test_the_graph_of_the_page_is_without_faults():
    root = Path(__file__).parents[2]
    (graph,) = re.findall(
        r"^```json\n(.*?)^```", (root / "docs/models.md").read_text(), re.DOTALL | re.MULTILINE
    )
    checked = check(parse(graph, folder=root), Catalog.installed(), {"OPENAI_API_KEY": CANARY})
    assert checked.nodes["embed"].limits.tokens_per_minute == 200_000


def test_limits_that_nobody_knows_are_a_fault_where_they_stand(served: Pipeline):
    served.graph["connections"]["c1"]["limits"] = {"requestsPerMinut": 600, "maxInFlight": 0}
    with pytest.raises(GraphError) as caught:
        check(Graph.load(served.save()), Catalog.installed(), served.environ)
    pointers = {fault.pointer for fault in caught.value.faults}
    assert pointers == {"/connections/c1/limits/requestsPerMinut", "/connections/c1/limits/maxInFlight"}
