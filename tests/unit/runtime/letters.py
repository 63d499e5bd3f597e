"""Dead letters, and the flights they come of, for tests."""

from __future__ import annotations

from typing import Any

from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.dead_letters import DeadLetter
from nvisy.runtime.flight import Failure, Flight, Replay, Ticket, replayed_at
from nvisy.topics.log import TopicPartition

AT = TopicPartition("g.files", 0)
FAILURE = Failure("text", "corrupt", "damaged", retryable=False)


def flight(offset: int, *, failed: bool = False, key: str = "a.pdf") -> Flight:
    """A version of a key on its way, or failed."""
    change = Change(Provenance("files", key, version=Version(1, offset)))
    passing = Flight(change, Ticket(AT, offset), b"raw")
    return passing.failed(FAILURE) if failed else passing


def again(offset: int, entry: str, *, failed: bool = False, key: str = "a.pdf", number: int = 0) -> Flight:
    """The same, replayed for an entry of its dead letter."""
    new = flight(offset, key=key)
    replay = Replay(f"text/g.embed/files/{key}".encode(), entry, new.ticket, 3, "")
    passing = Flight(new.change, replayed_at(AT.topic, number), new.raw, None, replay)
    return passing.failed(FAILURE) if failed else passing


def letter(letter_id: str = "0-0", **facts: Any) -> DeadLetter:
    """A dead letter of which only some facts matter."""
    usual: dict[str, Any] = {
        "stage": "text",
        "outlet": "g.embed",
        "source": "files",
        "key": "a.md",
        "node": "text",
        "kind": "decode",
        "message": "damaged",
        "retryable": False,
        "attempts": 1,
        "version": (1 << 36) + 5,
        "uri": "file:///a.md",
        "size": 3,
        "sha256": "",
        "run": "r",
        "failed_at_ms": 0,
        "original": b"raw",
        "entry": letter_id,
        "place": Ticket(TopicPartition("g.files", 0), 5),
    }
    known = usual | facts
    key = f"{known['stage']}/{known['outlet']}/{known['source']}/{known['key']}".encode()
    return DeadLetter(id=letter_id, **{"record_key": key} | known)
