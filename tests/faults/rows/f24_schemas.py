"""F24: writers of a topic change their schema, compatibly and not; the schema registry is down."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fastavro

from tests.faults.cell import Cell
from tests.faults.feeds import Feed
from tests.faults.matrix import CHAIN, Row
from tests.faults.oracle import BAD
from tests.unit.codec.registry_double import RegistryDouble, registry_double

EACH = 12
CHUNK = Path(__file__).parents[3] / "nvisy" / "schemas" / "avro" / "chunk.avsc"
DOWN = (503, {"error_code": 50301, "message": "as the test ordered"}, {})
DOWN_S = 10.0
Schema = dict[str, Any]
Make = Callable[[Schema], object]
"""Changes a schema in place."""


def play(cell: Cell) -> None:
    """What Avro can resolve arrives; what it cannot is a dead letter that says why; an outage costs nothing."""
    with registry_double() as (registry, url):
        writer = _Writer(cell, registry, url)
        sound = writer.registered(_as_it_is)
        writer.send("as it is", sound)
        cell.start()
        cell.rest()
        for change, make in COMPATIBLE.items():
            with cell.saying(change):
                cell.tally.runs += 1
                writer.send(change, writer.registered(make))
                cell.rest(time.monotonic())
        bad: list[str] = []
        for change, make in INCOMPATIBLE.items():
            cell.tally.runs += 1
            bad += writer.send(change, writer.registered(make), fails=True)
        cell.rest(time.monotonic())
        _judge(cell, bad)
        _down(cell, writer, registry, sound)
        for change in INCOMPATIBLE:  # they have mended their ways
            writer.send(change, sound)
        cell.rest(time.monotonic())
        cell.stop()
        _keep_schemas(cell, registry)
        cell.finish()


def _judge(cell: Cell, bad: Sequence[str]) -> None:
    """Every one of these is a dead letter, and no other, and each says which field it is about."""
    reasons = _reasons(cell)
    unsaid = [(key, reasons[key]) for key in bad if key in reasons and "text" not in reasons[key]]
    cell.expect(reasons.keys() == set(bad), f"dead letters of {sorted(reasons)}, not of {sorted(bad)}")
    cell.expect(not unsaid, f"no reason is given: {unsaid[:3]}")


def _keep_schemas(cell: Cell, registry: RegistryDouble) -> None:
    """Where those who look into the topics find them."""
    folder = cell.folder / "registry" / "schemas" / "ids"
    folder.mkdir(parents=True)
    for schema_id, schema in registry.schemas.items():
        (folder / f"{schema_id}.avsc").write_text(schema)


class _Writer:
    """Another program, which writes chunks under schemas of its own."""

    def __init__(self, cell: Cell, registry: RegistryDouble, url: str) -> None:
        self._oracle = cell.oracle
        self._registry = registry
        self._feed = Feed(cell, 2)
        cell.variables["NVISY_REGISTRY_URL"] = url
        params = cell.graph["nodes"][0]["params"]
        params |= {"format": "avro", "primitive": "Chunk"}
        cell.graph["nodes"] = [node for node in cell.graph["nodes"] if node["id"] != "split"]
        cell.graph["edges"] = [{"from": "files", "to": "embed"}, {"from": "embed", "to": "index"}]

    def registered(self, make: Make) -> tuple[int, Schema]:
        """A schema that was made of that of chunks, and its id."""
        schema = json.loads(CHUNK.read_bytes())
        make(schema)
        path = f"/subjects/{self._feed.topic}-value/versions"
        _, answer, _ = self._registry.answer("POST", path, {"schema": json.dumps(schema)})
        return answer["id"], schema

    def send(self, prefix: str, schema: tuple[int, Schema], *, fails: bool = False) -> list[str]:
        """New versions of some documents under a schema; their keys."""
        keys = [f"{prefix.replace(' ', '-')}-{number:02}" for number in range(EACH)]
        for key in keys:
            text = self._feed.passage()
            self._feed.log.send(key.encode(), _written(text, *schema))
            self._oracle.says(key, f"{BAD} {prefix}" if fails else text)
        return keys


def _written(text: str, schema_id: int, schema: Schema) -> bytes:
    """A chunk with this text, whatever the schema calls it."""
    is_list = any(field["name"] == "text" and isinstance(field["type"], dict) for field in schema["fields"])
    chunk = {
        "text": [text] if is_list else text,
        "body": text,
        "span": {"start": 0, "end": len(text)},
        "metadata": {"length": len(text)},
    }
    into = io.BytesIO()
    fastavro.schemaless_writer(into, fastavro.parse_schema(schema), chunk)
    return struct.pack(">bI", 0, schema_id) + into.getvalue()


def _down(cell: Cell, writer: _Writer, registry: RegistryDouble, known: tuple[int, Schema]) -> None:
    """Records under a schema that is known arrive meanwhile, those under a new one when the registry is back."""
    new = writer.registered(lambda schema: _field(schema, "parent").update(name="origin"))
    cell.tally.runs += 1
    registry.answer = lambda *_: DOWN  # type: ignore[method-assign]
    writer.send("as it is", known)
    cell.rest(time.monotonic())
    writer.send("in the outage", new)
    time.sleep(DOWN_S)
    del registry.answer
    cell.rest(time.monotonic())
    cell.expect(cell.running.poll() is None, f"the run ended with exit code {cell.running.poll()}")


def _reasons(cell: Cell) -> Mapping[str, str]:
    """What the dead letters say, by key."""
    asked = subprocess.run(
        [sys.executable, "-m", "nvisy", "dlq", "list", "graph.json", "--json"],
        cwd=cell.folder,
        env=cell.environ,
        capture_output=True,
        check=True,
    )
    return {letter["key"]: letter["message"] for letter in json.loads(asked.stdout)}


def _field(schema: Schema, name: str) -> Schema:
    found: Schema = next(field for field in schema["fields"] if field["name"] == name)
    return found


def _without(name: str) -> Make:
    return lambda schema: schema["fields"].remove(_field(schema, name))


def _narrow(schema: Schema) -> None:
    """Integers are written in 32 bits, which are widened when they are read."""
    _field(schema, "ordinal")["type"] = "int"
    for field in _field(schema, "span")["type"][1]["fields"][1:]:
        field["type"] = "int"


def _as_it_is(_schema: Schema) -> None:
    """Nothing is changed."""


COMPATIBLE: Mapping[str, Make] = {
    "added with a default": lambda schema: schema["fields"].append(
        {"name": "mood", "type": "string", "default": "calm"}
    ),
    "dropped": _without("steps"),
    "renamed": lambda schema: _field(schema, "ordinal").update(name="place"),
    "widened": _narrow,
}
INCOMPATIBLE: Mapping[str, Make] = {
    "text dropped": _without("text"),
    "text renamed": lambda schema: _field(schema, "text").update(name="body"),
    "text a list": lambda schema: _field(schema, "text").update(type={"type": "array", "items": "string"}),
}

ROW = Row("F24", "schemas that evolve; a registry that is down", play, where=CHAIN, dup=None, ttr_s=60.0)
