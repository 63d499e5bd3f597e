"""W2: one hop on a broker, transactions on: topic → decode → chunk → embed → encode → topic."""

from __future__ import annotations

from collections.abc import Iterator

from bench import graphs, topics
from bench.harness import Done, baseline, nvisy, run_child, side_by_side
from bench.rows import Row
from bench.world import World, unique
from nvisy.codec.registry import open_registry

DOCUMENTS, SMOKE = 20_000, 200


def run(world: World) -> Iterator[Row]:
    """The product and the loop read the same topic, each as a group of its own."""
    count = world.size(DOCUMENTS, SMOKE)
    kafka = world.kafka
    name = unique("w2")
    with world.scratch() as state:
        schema_id = open_registry({}, state).register(f"{name}-value", topics.ARTICLE)
        topics.create(kafka, name)
        topics.fill(kafka, name, world.corpus(count), schema_id)

        def ours(turn: int) -> Done:
            topics.create(kafka, f"{name}-ours-{turn}")
            with world.scratch() as folder:
                nodes = [
                    _topic("in", "source", name),
                    *graphs.steps(),
                    _topic("out", "sink", f"{name}-ours-{turn}"),
                ]
                graphs.write(folder, f"{name}-{turn}", nodes, topics=False)
                environ = {"NVISY_LOG": f"kafka://{kafka}", "NVISY_STATE": str(state)}
                return run_child(nvisy("run", "graph.json", "--json"), folder, environ)

        def theirs(turn: int) -> Done:
            topics.create(kafka, f"{name}-loop-{turn}")
            with world.scratch() as folder:
                return run_child(baseline("hop", kafka, name, f"{name}-loop-{turn}", str(count)), folder)

        pairs = side_by_side(world.repeats, ours, theirs)
    topics.delete(kafka, name)
    chunks = pairs.ours[0].report["nodes"]["out"]["out"]
    assert chunks == pairs.theirs[0].report["chunks"]
    mine, loops = pairs.rates(count)
    yield Row(
        workload="W2",
        what="one hop: topic → chunk, embed → topic, on a broker, in transactions",
        unit="documents/s",
        against="confluent_kafka, fastavro and the same functions in a loop, without transactions",
        bar=0.80,
        ours=mine,
        baselines=loops,
        facts={"documents": count, "chunks": chunks, **pairs.costs()},
    )


def _topic(node: str, kind: str, topic: str) -> graphs.Node:
    return {"id": node, "type": kind, "provider": "topic", "params": {"topic": topic, "format": "avro"}}
