"""What this machine keeps of a document beside the log: blobs, and vectors in the cache of models' answers."""

from __future__ import annotations

import time
from collections.abc import Iterator

from nvisy.codec.blobs import Blobs
from nvisy.erasure.in_log import InLog, Traces
from nvisy.erasure.place import Place
from nvisy.models.cache import erase
from nvisy.runtime.settings import Settings

UNUSED_S = 7 * 86400.0
"""A blob that no record refers to may be one whose record another graph is about to write; not after so long."""


def erase_blobs(in_log: InLog, traces: Traces, settings: Settings, *, is_alone: bool) -> Iterator[Place]:
    """Remove its blobs, and those that no record refers to any more, which may have been its own.

    Args:
        in_log: After the records of the document went.
        traces: What was found of it before.
        settings: Say where blobs are.
        is_alone: No other graph is being run on this log.
    """
    is_ours = settings.log_url is None and not settings.environ.get("NVISY_BLOBS")
    folder = settings.state / "blobs"
    if is_ours and not folder.is_dir():
        return
    blobs = Blobs.open(settings.environ, folder if is_ours else None)
    if blobs is None:
        return
    found = dict(blobs.names())
    if not found:
        return
    used = in_log.blobs_in_use()
    meant = traces.blobs - used
    if is_ours:
        before = time.time() - (0.0 if is_alone else UNUSED_S)
        meant |= {name for name, written_s in found.items() if name not in used and written_s <= before}
    n_gone = sum(blobs.remove(name) for name in sorted(meant))
    yield Place(f"blobs in {blobs.folder}", n_gone, 0, "" if is_ours else _OTHERS)


_OTHERS = (
    "blobs of its former versions, which no record refers to any more, are not known in a folder that several logs may"
    " share: remove what is older than your log remembers"
)


def erase_vectors(traces: Traces, settings: Settings, *, clear: bool) -> Iterator[Place]:
    """Remove its vectors from the cache of this machine, or all that are in it."""
    path = settings.state / "embeddings.db"
    if path.exists():
        yield Place("cache of vectors", erase(path, None if clear else sorted(traces.hashes)))
