"""Removes from Qdrant what nothing has confirmed, some hundred points in a call.

First the heads forget their records, then the records go, then the heads. Whoever applies a key that a sweep was cut
off at therefore finds a head that knows no record, and writes them all.

Versions alone decide, not tokens: what another log's run wrote before the collection was adopted has tokens that say
nothing about ours, and what a newer owner writes is not lower than what its predecessor may sweep.
"""

from __future__ import annotations

from collections.abc import Callable

from qdrant_client import QdrantClient, models

from nvisy_vector._layout import heads_name

POINTS_AT_ONCE = 500
LANES_AT_MOST = 10_000

Send = Callable[[str, list[models.UpdateOperation]], None]
"""`(collection, operations)`: done when it returns, on every replica."""


def sweep(
    client: QdrantClient, physical: str, lane: str, below: int, check_fence: Callable[[], None], send: Send
) -> int:
    """Forget the keys of a lane whose head is lower than `below`, and its lower records.

    A record is as new as its head, which raises it with itself: so its own version tells.

    Args:
        client: The server.
        physical: Name of the collection of records.
        lane: The lane.
        below: The lowest version that stays.
        check_fence: Raises when another owner has taken over; called before each write.
        send: Writes.

    Returns:
        How many records went.
    """
    behind = [
        models.FieldCondition(key="lane", match=models.MatchValue(value=lane)),
        models.FieldCondition(key="version", range=models.Range(lt=below)),
    ]

    def each_page(collection: str, operation: Callable[[models.Filter], models.UpdateOperation]) -> int:
        count, offset, more = 0, None, True
        while more:
            check_fence()
            page, offset = client.scroll(
                collection,
                scroll_filter=models.Filter(must=[*behind]),
                limit=POINTS_AT_ONCE,
                offset=offset,
                with_payload=False,
            )
            if page:
                these = models.HasIdCondition(has_id=[point.id for point in page])
                send(collection, [operation(models.Filter(must=[these, *behind]))])
            count, more = count + len(page), offset is not None
        return count

    heads = heads_name(physical)
    each_page(heads, _forget)
    removed = each_page(physical, _delete)
    each_page(heads, _delete)
    return removed


def lanes(client: QdrantClient, physical: str) -> set[str]:
    """Every lane that has a head or a record."""
    found: set[str] = set()
    for name in (physical, heads_name(physical)):
        hits = client.facet(name, "lane", limit=LANES_AT_MOST, exact=True).hits
        found.update(str(hit.value) for hit in hits if hit.count)
    return found


def _forget(which: models.Filter) -> models.UpdateOperation:
    known = {"digest": "", "ids": "{}"}
    return models.SetPayloadOperation(set_payload=models.SetPayload(payload=known, filter=which))


def _delete(which: models.Filter) -> models.UpdateOperation:
    return models.DeleteOperation(delete=models.FilterSelector(filter=which))
