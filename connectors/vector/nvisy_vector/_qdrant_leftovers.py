"""Takes away what a writer that was replaced may still leave behind in Qdrant, which refuses no batch as a whole.

A writer that was paused in the middle of a call can add records of a version that its successor has long replaced.
What it had in hand are changes that its successor reads first, for their position was not committed. So the successor
remembers the keys it begins with, and for some minutes looks after them: what they have that their head does not name,
and that is no newer than the head, goes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

import orjson
from qdrant_client import QdrantClient, models

from nvisy.errors import NvisyError, Transient
from nvisy_vector._layout import heads_name

EVERY_S = 20.0
FOR_S = 600.0
"""After that whoever is still paused is no longer waited for: a key's next version takes away what it leaves."""
KEYS_AT_MOST = 10_000
"""As many changes as a stage has in flight."""
_KEYS_AT_ONCE = 200

_log = logging.getLogger(__name__)

Send = Callable[[str, list[models.UpdateOperation]], None]
"""`(collection, operations)`: done when it returns, on every replica."""
Guarded = Callable[[], AbstractContextManager[None]]
"""Within it the writer is still the owner, and what the client raises becomes our errors."""


class Leftovers:
    """The keys a writer began with, looked after by a thread of its own until it is closed."""

    def __init__(self, client: QdrantClient, physical: str, send: Send, guarded: Guarded) -> None:
        self._client = client
        self._physical = physical
        self._send = send
        self._guarded = guarded
        self._until = time.monotonic() + FOR_S
        self._heads: dict[str, None] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leftovers", daemon=True)

    def note(self, heads: Iterable[str]) -> None:
        """The keys of these heads, by their ids, were applied."""
        if len(self._heads) >= KEYS_AT_MOST or time.monotonic() > self._until:
            return
        with self._lock:
            self._heads.update(dict.fromkeys(heads))
        if self._thread.ident is None:
            self._thread.start()

    def clear(self) -> None:
        """Take away what there is now."""
        with self._lock:
            ids = list(self._heads)
        for start in range(0, len(ids), _KEYS_AT_ONCE):
            with self._guarded():
                self._send(self._physical, list(self._removals(ids[start : start + _KEYS_AT_ONCE])))

    def close(self) -> None:
        """End the thread. May be called twice."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(EVERY_S) and time.monotonic() < self._until:
            try:
                self.clear()
            except Transient as error:
                _log.debug("%s", error)
            except NvisyError as error:  # replaced, or gone: the next batch says so
                _log.debug("%s", error)
                return

    def _removals(self, ids: Sequence[str]) -> Iterator[models.UpdateOperation]:
        for point in self._client.retrieve(heads_name(self._physical), list(ids)):
            head = point.payload or {}
            which = models.Filter(
                must=[
                    models.FieldCondition(key="lane", match=models.MatchValue(value=head["lane"])),
                    models.FieldCondition(key="key", match=models.MatchValue(value=head["key"])),
                    # what is newer is being written, and its head will name it
                    models.FieldCondition(key="version", range=models.Range(lte=head["version"])),
                ],
                must_not=[models.HasIdCondition(has_id=list(orjson.loads(head["ids"])))],
            )
            yield models.DeleteOperation(delete=models.FilterSelector(filter=which))
