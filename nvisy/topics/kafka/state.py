"""`<graph>.state`: what the stages of a graph remember, which topics they have read, and who runs the graph.

| key | value |
|---|---|
| `<stage>/<name>` | what the stage committed under that name |
| `/input/<stage>/<config>/<topic>` | id of the topic the stage's positions belong to |
| `/claim` | the lease on the graph |
| `/host-<n>` | the lease on a place among the hosts that run the graph together |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nvisy.topics.log import Append, LogRecord, Seat

CLAIM = "claim"
HOST = "host-"


def state_topic(graph: str) -> str:
    """Name of the topic."""
    return f"{graph}.state"


def lease_key(name: str) -> bytes:
    """The key of a lease: `claim`, or `host-<n>`."""
    return f"/{name}".encode()


def lease_name(key: bytes) -> str:
    """The name of the lease that a key is of, or nothing."""
    name = key.decode(errors="replace").removeprefix("/")
    return name if lease_key(name) == key and (name == CLAIM or name.startswith(HOST)) else ""


@dataclass(frozen=True, slots=True)
class StageState:
    """What the topic says of one stage.

    Attributes:
        values: What it committed, by name.
        topic_ids: Ids of the topics it has read under its present configuration, by topic.
    """

    values: dict[str, bytes]
    topic_ids: dict[str, str]


def stage_state(seat: Seat, latest: Mapping[bytes, LogRecord]) -> StageState:
    """What the latest record of every key says of a stage."""
    values_prefix, ids_prefix = f"{seat.stage}/".encode(), _ids_prefix(seat)
    values: dict[str, bytes] = {}
    topic_ids: dict[str, str] = {}
    for key, record in latest.items():
        if record.value is None:
            continue
        if key.startswith(values_prefix):
            values[key.removeprefix(values_prefix).decode()] = record.value
        elif key.startswith(ids_prefix):
            topic_ids[key.removeprefix(ids_prefix).decode()] = record.value.decode()
    return StageState(values, topic_ids)


def values_named(name: str, latest: Mapping[bytes, LogRecord]) -> Sequence[bytes]:
    """What the latest record of every key says under a name, whatever the stage."""
    return [
        record.value
        for key, record in latest.items()
        if record.value is not None and key.partition(b"/")[2] == name.encode() and not key.startswith(b"/")
    ]


def value_append(seat: Seat, name: str, value: bytes | None) -> Append:
    """The record that remembers a value, or forgets it."""
    return Append(state_topic(seat.graph), 0, f"{seat.stage}/{name}".encode(), value)


def topic_id_append(seat: Seat, topic: str, topic_id: str) -> Append:
    """The record that says which topic the stage's positions belong to."""
    return Append(state_topic(seat.graph), 0, _ids_prefix(seat) + topic.encode(), topic_id.encode())


def _ids_prefix(seat: Seat) -> bytes:
    return f"/input/{seat.stage}/{seat.config}/".encode()
