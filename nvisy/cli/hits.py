"""A record of an index as commands print it."""

from __future__ import annotations

from typing import Any

from nvisy.connector.sink import Hit


def hit_json(hit: Hit) -> dict[str, Any]:
    """What `nvisy search --json` prints of a record."""
    return {"id": hit.id, "score": hit.score, **_place(hit)}


def record_json(hit: Hit) -> dict[str, Any]:
    """What `nvisy records` prints of it: no score, but the metadata."""
    return {"id": hit.id, **_place(hit), "metadata": dict(hit.metadata)}


def _place(hit: Hit) -> dict[str, Any]:
    span = list(hit.span) if hit.span else None
    return {"key": hit.key, "source_uri": hit.source_uri, "text": hit.text, "span": span}
