"""What a source notices and what a sink guarantees, each in one sentence that is true of its class."""

from __future__ import annotations

from typing import Any

from nvisy.connector.descriptor import SinkDescriptor, SourceDescriptor

_SINKS = {
    "transactional": (
        "effectively once: a document's records, the removal of its older ones and its version are committed "
        "together, so a reader meets one whole version of it, and doing it again changes nothing"
    ),
    "conditional": (
        "nothing is lost: a write that is older than what the store holds is refused by the store; a document's "
        "records are not one transaction, so a reader may meet two of its versions for a moment"
    ),
    "filtered": (
        "nothing is lost while one run writes: new records go in before older ones are deleted by filter; the store "
        "cannot refuse an older write, so a process that was replaced and wakes up can set a document back until it "
        "changes again"
    ),
    "eventual": (
        "it converges: what was written shows after the store's own delay, and until then a reader may meet two "
        "versions of a document, or none"
    ),
}
_EVENTS = (
    "effectively once for consumers that read committed records: the events of a document and the position they "
    "were made from are committed together; a null value voids what came earlier under its key"
)


def source_promise(source: SourceDescriptor, params: Any) -> str:
    """What becomes of a document that changes or goes away, with these parameters of the source."""
    able = source.capabilities
    notices_deletes = able.deletes if source.deletes is None else source.deletes(params)
    if source.topic is not None:
        return (
            "read from the committed position on; the topic's offsets are versions, a null value is a delete"
        )
    found = (
        "every run lists it and reads what is new or changed"
        if able.resume == "listing"
        else "read on from the committed position"
    )
    deletes = (
        "what went away is deleted"
        if notices_deletes
        else "what went away is not noticed, and stays in the sinks"
    )
    return f"{found}; {deletes}"


def sink_promise(sink: SinkDescriptor) -> str:
    """What a reader of the sink can rely on."""
    return _EVENTS if sink.topic is not None else _SINKS[sink.capabilities.guarantee]
