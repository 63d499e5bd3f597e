"""`<graph>.state`: what the stages of a graph remember, which topics they have read, and who runs the graph.

| partition | key | value |
|---|---|---|
| 0 | `<stage>/<name>` | what the stage committed under that name |
| 0 | `/input/<stage>/<config>/<topic>` | id of the topic the stage's positions belong to |
| 1 | `/claim` | the lease on the graph |
| 2 | `/host-<n>` | the lease on a place among the hosts that run the graph together |

What is committed in a partition cannot be read while a transaction that was opened before it is open. Whoever dies may
leave one for some 20 s. So the lease, which a successor has to have at once, lies where stages write nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nvisy.topics.kafka.cluster import Cluster
from nvisy.topics.kafka.scan import scan
from nvisy.topics.kafka.topics import STATE_SETTINGS, Topics
from nvisy.topics.log import Append, LogRecord, Seat

CLAIM = "claim"
HOST = "host-"

_STAGES, _CLAIMS, _HOSTS = range(3)


def state_topic(graph: str) -> str:
    """Name of the topic."""
    return f"{graph}.state"


def make_state_topic(topics: Topics, graph: str) -> None:
    """Create the topic of a graph, or verify it."""
    topics.create(state_topic(graph), len((_STAGES, _CLAIMS, _HOSTS)), STATE_SETTINGS)


def said_by_stages(cluster: Cluster, topics: Topics, graph: str) -> Mapping[bytes, LogRecord]:
    """The latest record of every key that stages wrote: all that was committed before the call."""
    info = topics.describe(state_topic(graph), settled=True, only=[_STAGES])
    records = scan(cluster, info, {}) if info is not None else ()
    return {record.key or b"": record for record in records}


def lease_partition(name: str) -> int:
    """Where the lease of this name lies."""
    return _CLAIMS if name == CLAIM else _HOSTS


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
    return Append(state_topic(seat.graph), _STAGES, f"{seat.stage}/{name}".encode(), value)


def topic_id_append(seat: Seat, topic: str, topic_id: str) -> Append:
    """The record that says which topic the stage's positions belong to."""
    return Append(state_topic(seat.graph), _STAGES, _ids_prefix(seat) + topic.encode(), topic_id.encode())


def _ids_prefix(seat: Seat) -> bytes:
    return f"/input/{seat.stage}/{seat.config}/".encode()
