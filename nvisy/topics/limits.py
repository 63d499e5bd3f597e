"""What a topic's name and a record may be, the same for every log."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nvisy.errors import Rejected, UsageError
from nvisy.topics.log import MAX_RECORD_BYTES, Append

_NAME = re.compile(r"[A-Za-z0-9._-]{1,240}")
RESERVED = frozenset({".", ".."})


def check_topic_name(topic: str) -> str:
    """The name itself, if it may name a topic; a `UsageError` otherwise."""
    if topic in RESERVED or not _NAME.fullmatch(topic):
        raise UsageError(
            f"{topic!r} cannot name a topic: use 1 to 240 letters, digits, dots, underscores and dashes"
        )
    return topic


def record_bytes(record: Append) -> int:
    """Bytes of key, value and headers together."""
    headers = sum(len(name) + len(value) for name, value in record.headers) if record.headers else 0
    return len(record.key) + len(record.value or b"") + headers


def check_size(size: int, topic: str, max_bytes: int = MAX_RECORD_BYTES) -> None:
    """Reject a record of `size` bytes that the topic cannot take."""
    if size > max_bytes:
        raise Rejected(
            f"a record of {size:,} bytes does not fit into topic {topic!r}, which takes {max_bytes:,}",
            kind="too_large",
        )


def check_sizes(records: Iterable[Append]) -> None:
    """Reject the first record that no topic could take."""
    for record in records:
        check_size(record_bytes(record), record.topic)
