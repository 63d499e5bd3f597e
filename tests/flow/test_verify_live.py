"""An index is verified while it is written, at whatever moment: in a store without transactions too."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nvisy
from bench.verifying import DIMENSIONS, GRAPH, changes, fill, passage
from connectors.vector.tests.qdrant_double import QdrantDouble
from nvisy.catalog import Catalog
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.compile import compile_graph
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Version
from nvisy.runtime.codecs import Codecs
from nvisy.runtime.records import lane_of, record_set
from nvisy.runtime.seating import seat_config, take_seat
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import take_over
from nvisy.topics.log import Append, Seat, TopicPartition

RECORDS = 400
AT_ONCE = 10


class Writing(threading.Thread):
    """What a live run does to a topic, an index and a position, with pauses between: the last two stages of a graph."""

    def __init__(self, checked: CheckedGraph, settings: Settings) -> None:
        super().__init__(daemon=True)
        self._checked = checked
        self._settings = settings
        self.ended = threading.Event()
        self.count = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.error = error

    def _run(self) -> None:
        plan = compile_graph(self._checked)
        stage = next(stage for stage in plan.stages if "index" in stage.sinks)
        (topic,) = stage.inputs
        lane, moments = lane_of(plan.graph, "index", "files"), random.Random(1)
        batches = _batches(plan.partitions)
        with closing(self._settings.open_log()) as log:
            claim = log.claim(plan.graph, "host:1")
            sink = take_over(
                self._checked, "index", log.id, self._settings.state, token=2, slot=0, adopt=False
            )
            codec = Codecs(self._checked, self._settings).codec
            seat = Seat(
                plan.graph, stage.id, seat_config(stage, [sink.collection], 0), stage.inputs, stage.outputs
            )
            reading, _ = take_seat(log, seat, adopt=False)
            filling = log.session(Seat(plan.graph, "/fill", "", (), ()))
            with closing(sink.writer), closing(reading), closing(filling):
                while not self.ended.is_set():
                    batch = next(batches)
                    filling.append(
                        [
                            Append(
                                topic, one.origin.partition, one.message_key, codec.encode_change(one, topic)
                            )
                            for one in batch
                        ]
                    )
                    filling.commit({})
                    time.sleep(moments.random() * 0.02)
                    sink.writer.apply([record_set(one, lane, "index") for one in batch])
                    time.sleep(moments.random() * 0.02)
                    info = log.describe(topic)
                    assert info is not None
                    reading.commit({TopicPartition(topic, at): end for at, end in info.end.items()})
                    self.count += len(batch)
            claim.release()


def _batches(partitions: int) -> Iterator[list[Change]]:
    """New versions of some documents, of any number of passages, and deletes."""
    documents, chosen, numbers = (
        list(changes(RECORDS, partitions)),
        random.Random(2),
        np.random.default_rng(3),
    )
    offset = RECORDS
    while True:
        batch = []
        for one in chosen.sample(documents, AT_ONCE):
            offset += 1
            origin = replace(one.origin, version=Version(1, offset))
            count = chosen.choice([0, 1, 3, 6])
            items = tuple(
                passage(origin, number, numbers.standard_normal(DIMENSIONS, np.float32))
                for number in range(count)
            )
            batch.append(replace(one, origin=origin, items=items, op="upsert" if items else "delete"))
        yield batch


@pytest.mark.parametrize("store", ["sqlite", "qdrant"])
def test_failure_20_nothing_is_called_wrong_while_an_index_is_written(tmp_path: Path, store: str) -> None:
    (tmp_path / "qdrant").mkdir()
    graph, settings = deepcopy(GRAPH), Settings(tmp_path / ".nvisy")
    with closing(QdrantDouble(tmp_path / "qdrant")) as double:
        if store == "qdrant":
            params = {"url": double.url, "collection": "docs"}
            graph["nodes"][-1] |= {"provider": "vector/qdrant", "params": params}  # type: ignore[index]
        path = tmp_path / "graph.json"
        path.write_text(json.dumps(graph))
        checked = check(Graph.load(path), Catalog.installed())
        fill(checked, settings, RECORDS)
        writing = Writing(checked, settings)
        writing.start()
        try:
            until = time.monotonic() + 4
            while time.monotonic() < until or writing.count < 5 * AT_ONCE:
                assert nvisy.verify(checked, settings=settings, patience_s=20).drift == []
                assert writing.error is None
        finally:
            writing.ended.set()
            writing.join()
        report = nvisy.verify(checked, settings=settings)
        assert report.is_clean
        assert report.sinks[0].on_their_way == 0
