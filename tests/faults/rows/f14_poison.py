"""F14: records that nobody can read, or work on: one in a hundred."""

from __future__ import annotations

import io
import json
import random
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

import fastavro

from nvisy.codec.registry import open_registry
from tests.faults.cell import Cell
from tests.faults.feeds import Feed
from tests.faults.graphs import STEPS
from tests.faults.matrix import CHAIN, Row
from tests.faults.oracle import BAD
from tests.faults.replays import outcomes, replaying

RECORDS = 2000
QUICK_RECORDS = 400
SHARE = 100
NOT_THERE = 7_777_777
"""A schema that nobody has registered yet."""
SCHEMA = """{"type": "record", "name": "Article", "fields": [
    {"name": "body", "type": "string"}, {"name": "tags", "type": {"type": "array", "items": "string"}}]}"""
SICK = """

from pathlib import Path

_split = split


def split(document: Document) -> Iterator[Chunk]:
    if "SICK" in document.text and not Path(__file__).with_name("healed").exists():
        raise ValueError("not today")
    return _split(document)
"""

Spoil = Callable[[str, int], bytes]
"""The bytes of a record with this text, under this schema."""


def play(cell: Cell) -> None:
    """Exactly those are dead letters. What a fix heals arrives when it is replayed, the others when they are mended."""
    feed = Feed(cell, 4)
    cell.graph["nodes"][0]["params"]["format"] = "avro"
    (cell.folder / "steps.py").write_text(
        STEPS.replace('(document.content or b"").decode()', "document.text") + SICK
    )
    cell.model.spoils = lambda text: "NOTANUMBER" in text
    registry = open_registry({}, cell.state)
    schema_id = registry.register(f"{feed.topic}-value", SCHEMA)
    poison = _feed(cell, feed, schema_id)
    began = time.monotonic()
    cell.start()
    cell.rest(began, timeout_s=150)
    cell.tally.runs += len(poison)
    cell.expect(cell.oracle.letters() == poison.keys(), "the test asks for something else than it says")
    cell.note(f"{len(poison)} of {RECORDS if not cell.setting.quick else QUICK_RECORDS}")
    _heal(cell, poison)
    for key in cell.oracle.letters():
        text = feed.passage()
        feed.log.send(key.encode(), _sound(text, schema_id))
        cell.oracle.says(key, text)
    cell.rest(time.monotonic())
    cell.stop()
    cell.finish()


def _feed(cell: Cell, feed: Feed, schema_id: int) -> Mapping[str, str]:
    """Send everything. Keys of the poison, and how each is to be healed: its text then, or nothing."""
    drawn = random.Random(f"{cell.setting.seed}/{cell.setting}")
    count = QUICK_RECORDS if cell.setting.quick else RECORDS
    places = sorted(drawn.sample(range(count), count // SHARE))
    kinds = {place: list(KINDS)[turn % len(KINDS)] for turn, place in enumerate(places)}
    poison: dict[str, str] = {}
    for number in range(count):
        key, text = f"d{number:05}", feed.passage()
        kind = kinds.get(number)
        if kind is None:
            feed.log.send(key.encode(), _sound(text, schema_id))
            cell.oracle.says(key, text)
            continue
        text += {"not a number": " NOTANUMBER", "function": " SICK"}.get(kind, "")
        feed.log.send(key.encode(), KINDS[kind](text, schema_id))
        cell.oracle.says(key, f"{BAD} {kind}")
        poison[key] = text if kind in HEALED else ""
    return poison


def _heal(cell: Cell, poison: Mapping[str, str]) -> None:
    """What can be repaired without new records is repaired, and everything is replayed."""
    (cell.folder / "healed").touch()
    cell.model.spoils = lambda _text: False
    (cell.state / "schemas" / "ids" / f"{NOT_THERE}.avsc").write_text(SCHEMA)
    healed = {key: text for key, text in poison.items() if text}
    for key, text in healed.items():
        cell.oracle.says(key, text)
    found = outcomes(cell, replaying(cell, "--all"))
    wanted = {"resolved": len(healed), "failed_again": len(poison) - len(healed)}
    cell.expect(
        found == {name: n for name, n in wanted.items() if n}, f"replayed: {dict(found)}, not {wanted}"
    )
    cell.rest()


def _sound(text: str, schema_id: int) -> bytes:
    into = io.BytesIO()
    schema: Any = fastavro.parse_schema(json.loads(SCHEMA))
    fastavro.schemaless_writer(into, schema, {"body": text, "tags": ["one"]})
    return struct.pack(">bI", 0, schema_id) + into.getvalue()


def _claims_a_terabyte(text: str, schema_id: int) -> bytes:
    return struct.pack(">bI", 0, schema_id) + b"\x80\x80\x80\x80\x80\x80\x01" + text.encode()


def _not_utf8(text: str, schema_id: int) -> bytes:
    whole = bytearray(_sound(text, schema_id))
    whole[8] = 0xFF
    return bytes(whole)


KINDS: Mapping[str, Spoil] = {
    "cut": lambda text, schema_id: _sound(text, schema_id)[:-3],
    "unknown schema": lambda text, _schema_id: _sound(text, NOT_THERE),
    "huge": _claims_a_terabyte,
    "not UTF-8": _not_utf8,
    "not a number": _sound,
    "function": _sound,
}
HEALED = ("unknown schema", "not a number", "function")

ROW = Row("F14", "one poison record in a hundred", play, where=CHAIN, dup=None, ttr_s=None)
