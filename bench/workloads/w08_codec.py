"""W8: each primitive to bytes and back, beside bare fastavro with the same schema."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import orjson

from bench.documents import Prose
from bench.graphs import DIMENSIONS
from bench.rows import Row
from bench.world import World
from nvisy.codec.codec import Codec
from nvisy.codec.file_registry import FileRegistry
from nvisy.codec.framing import unframe
from nvisy.primitives import (
    AudioPayload,
    Chunk,
    Completion,
    Document,
    Embedding,
    FineTuneSample,
    ImagePayload,
    Primitive,
    StructuredOutput,
    ToolCallTrace,
)
from nvisy.primitives.fine_tune_sample import Message
from nvisy.primitives.provenance import Provenance, Version
from nvisy.primitives.tool_call_trace import ToolCall

CALLS, SMOKE = 3_000, 50


def run(world: World) -> Iterator[Row]:
    """One row there and back, and one for each way, each of the primitive that comes out worst."""
    calls = world.size(CALLS, SMOKE)
    with world.scratch() as folder:
        registry = FileRegistry(folder)
        codec = Codec(registry)
        cases = [_Case(item, codec, registry) for item in _items()]
        encoded = {case.name: case.encoding(world.repeats, calls) for case in cases}
        decoded = {case.name: case.decoding(world.repeats, calls) for case in cases}
    both = {name: _after_each_other(encoded[name], decoded[name]) for name in encoded}
    yield _row("W8", "encode and decode", both)
    yield _row("W8 encode", "encode", encoded)
    yield _row("W8 decode", "decode", decoded)


Times = tuple[list[float], list[float]]
"""Calls a second, ours and fastavro's, one of each per repetition."""


class _Case:
    """One primitive, and the same as what fastavro takes and gives."""

    def __init__(self, item: Primitive, codec: Codec, registry: FileRegistry) -> None:
        self.name = item.type
        topic = f"bench-{item.type}"
        value = codec.encode_primitive(item, topic)
        assert codec.decode_primitive(value) == item
        ref, start = unframe(value)
        schema = fastavro.parse_schema(orjson.loads(registry.schema(ref)))
        head, body = value[:start], value[start:]
        datum = fastavro.schemaless_reader(BytesIO(body), schema, None)

        def write() -> bytes:
            out = BytesIO()
            out.write(head)
            fastavro.schemaless_writer(out, schema, datum)
            return out.getvalue()

        self._write = write
        self._read = lambda: fastavro.schemaless_reader(BytesIO(value[start:]), schema, None)
        self._encode = lambda: codec.encode_primitive(item, topic)
        self._decode = lambda: codec.decode_primitive(value)

    def encoding(self, repeats: int, calls: int) -> Times:
        return _both(self._encode, self._write, repeats, calls)

    def decoding(self, repeats: int, calls: int) -> Times:
        return _both(self._decode, self._read, repeats, calls)


def _both(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int, calls: int) -> Times:
    """Short turns, in seconds of the processor: nothing here waits, and other programs must not count."""
    mine, bare = [], []
    for _ in range(max(repeats, 5)):
        spent = [0.0, 0.0]
        for _ in range(10):
            for place, function in enumerate((ours, theirs)):
                started = time.process_time()
                for _ in range(calls // 10):
                    function()
                spent[place] += time.process_time() - started
        mine.append(calls / spent[0])
        bare.append(calls / spent[1])
    return mine, bare


def _after_each_other(first: Times, then: Times) -> Times:
    """Rates of one call of each kind after the other."""
    mine, bare = (
        [1 / (1 / one + 1 / other) for one, other in zip(*rates, strict=True)]
        for rates in zip(first, then, strict=True)
    )
    return mine, bare


def _row(name: str, way: str, times: dict[str, Times]) -> Row:
    def row(primitive: str, **facts: Any) -> Row:
        mine, bare = times[primitive]
        return Row(
            workload=name,
            what=f"{way} a primitive; of nine the slowest is {primitive}",
            unit="calls/s",
            against="bare fastavro with the same schema, dicts",
            bar=0.8,
            ours=mine,
            baselines=bare,
            facts=facts,
        )

    ratios = {primitive: round(row(primitive).ratio, 3) for primitive in times}
    return row(min(ratios, key=ratios.__getitem__), ratios=ratios)


def _items() -> list[Primitive]:
    """One of each, of an ordinary size, as it stands on a topic: with an id, steps and provenance."""
    prose = Prose(seed=1)
    text, passage = prose.text(1), prose.text(2)[:300]
    vector = np.random.default_rng(1).standard_normal(DIMENSIONS).astype(np.float32)
    meta = {"id": "d0000001", "year": 2026, "tags": ["a", "b"]}
    made: list[Primitive] = [
        Document(text=text, metadata=meta),
        Chunk(text=passage, span=(0, 300), ordinal=1, metadata=meta),
        Embedding(vector=vector, model="local/hash@1", text=passage, span=(0, 300), metadata=meta),
        Completion(text=passage, model="m@1", prompt=text, temperature=0.5, input_tokens=300),
        FineTuneSample(
            messages=[Message(role="user", content=passage), Message(role="assistant", content=passage)]
        ),
        ImagePayload(data=bytes(4_000), width=160, height=120, caption=passage),
        AudioPayload(data=bytes(4_000), duration_s=0.5, channels=1, sample_rate_hz=8_000),
        StructuredOutput(value={"title": passage, "pages": [1, 2, 3], "ok": True}, schema_name="book"),
        ToolCallTrace(
            calls=[
                ToolCall(name="search", arguments={"q": passage}, result=[passage], cost_usd="0.002"),
                ToolCall(name="fetch", arguments={"id": 1}, result=passage, parent=0, latency_ms=12.5),
            ],
            model="m@1",
        ),
    ]
    origin = Provenance(
        "files", "docs/a.jsonl#d0000001", "file:///docs/a.jsonl", Version(1, 7), 2, 1, "r", "t"
    )
    return [
        item.identified(discriminator="d", node="embed", steps="chunk@1a2b3c4d", parent="", provenance=origin)
        for item in made
    ]
