"""The record of a change: what stands on every topic inside a graph."""

from __future__ import annotations

from typing import Any

from nvisy.codec.derive import Names, Record, primitive_record
from nvisy.codec.wire import MICROS, NAMESPACE, checked_version, type_field
from nvisy.errors import CodecError
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance
from nvisy.primitives.types import PrimitiveTypes

CHANGE = f"{NAMESPACE}.Change"
BLOB = f"{NAMESPACE}.Blob"

FORMAT = 1
"""Version of the meaning of these records. A reader that does not know a record's version refuses it."""


def _field(name: str, schema: Any, doc: str, **default: Any) -> dict[str, Any]:
    return {"name": name, "type": schema, **default, "doc": doc}


def _enum(name: str, *symbols: str) -> dict[str, Any]:
    return {"type": "enum", "name": name, "namespace": NAMESPACE, "symbols": list(symbols)}


def _record(name: str, doc: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "namespace": NAMESPACE,
        "doc": doc,
        "fields": [type_field(name), *fields],
    }


_FORMAT_FIELD = _field("format", "int", "Version of the meaning of this record.", default=FORMAT)

_BLOB = _record(
    "Blob",
    "A claim check: the items lie in a file, as one more record of this union in the same wire format.",
    [
        _field("sha256", "string", "SHA-256 of the file, 64 hexadecimal digits."),
        _field("bytes", "long", "Size of the file."),
        _field("where", "string", "Its path within the folder of blobs."),
    ],
)


def change_schema(types: PrimitiveTypes) -> tuple[list[Any], list[Record]]:
    """The union [Change] over these primitives, and the record of each primitive in it.

    A union, so that a record of another kind can be added beside it without breaking readers of this one.
    """
    names = Names()
    records = [primitive_record(cls, names) for cls in types.values()]
    fields = [
        _FORMAT_FIELD,
        _field("source", "string", "Id of the source node."),
        _field("key", "string", "What the source calls the document."),
        _field("inc", "long", "Incarnation of the origin topic.", default=0),
        _field(
            "off", ["null", "long"], "Offset in the origin topic; null in that topic itself.", default=None
        ),
        _field("topic", "string", "The origin topic; empty in that topic itself.", default=""),
        _field("partition", "int", "Partition of the origin topic, where off says so.", default=0),
        _field("op", _enum("Op", "upsert", "delete"), "delete: the source no longer has the key."),
        _field("fingerprint", "bytes", "What the source compares to see a change, or empty.", default=""),
        _field(
            "items",
            {"type": "array", "items": [record.schema for record in records]},
            "What this version consists of; each item's provenance is this record's.",
            default=[],
        ),
        _field(
            "blob",
            ["null", _BLOB],
            "Where the items lie when they are too large for a message.",
            default=None,
        ),
        _field("graph", "string", "Hash of the graph that made the change.", default=""),
        _field("run", "string", "Id of the run that read it.", default=""),
        _field("uri", "string", "Where a person finds the document.", default=""),
        _field("observed_at_us", MICROS, "When the source saw this version, UTC.", default=0),
        _field("trace", "string", "W3C traceparent, or empty.", default=""),
    ]
    doc = "One version of one source key, as a whole."
    return [_record("Change", doc, fields)], records


def head_of(change: Change, inc: int) -> dict[str, Any]:
    """The record of `change`, its items apart; `inc` is the incarnation of a change without a version."""
    origin = change.origin
    version = origin.version
    return {
        "source": origin.source,
        "key": origin.key,
        "inc": inc if version is None else version.inc,
        "off": None if version is None else version.off,
        "topic": "" if version is None else origin.topic,
        "partition": 0 if version is None else origin.partition,
        "op": change.op,
        "fingerprint": change.fingerprint,
        "blob": None,
        "graph": change.graph,
        "run": origin.run,
        "uri": origin.uri,
        "observed_at_us": origin.observed_at_us,
        "trace": change.trace,
    }


def origin_of(fields: dict[str, Any], topic: str, partition: int, offset: int) -> Provenance:
    """The provenance in a change's record; one that is new at this place of the log gets its version from it."""
    off = fields["off"]
    is_new = off is None
    return Provenance(
        source=fields["source"],
        key=fields["key"],
        uri=fields["uri"],
        version=checked_version(fields["inc"], offset if is_new else off),
        partition=partition if is_new else fields["partition"],
        observed_at_us=fields["observed_at_us"],
        run=fields["run"],
        topic=topic if is_new else fields["topic"],
    )


def check_format(fields: dict[str, Any]) -> None:
    """Refuse a record whose meaning may have changed."""
    if fields["format"] != FORMAT:
        raise CodecError(f"format {fields['format']} is unknown here, only {FORMAT} is known; upgrade nvisy")
