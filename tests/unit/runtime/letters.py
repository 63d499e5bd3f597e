"""Dead letters for tests."""

from __future__ import annotations

from typing import Any

from nvisy.runtime.dead_letters import DeadLetter
from nvisy.runtime.flight import Ticket
from nvisy.topics.log import TopicPartition


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
