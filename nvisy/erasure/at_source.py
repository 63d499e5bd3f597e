"""Whether a source still has a document, as far as it can be asked."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from nvisy.connector.descriptor import SourceDescriptor
from nvisy.connector.source import Group, Item, ListingSource, Unreadable
from nvisy.errors import ConnectorError, NvisyError
from nvisy.graph.validate import CheckedGraph
from nvisy.runtime.settings import Settings


def is_at_source(checked: CheckedGraph, source: str, key: str, settings: Settings) -> tuple[bool | None, str]:
    """Whether a source lists a document; None where it cannot be told, with the reason.

    A listing is gone through until the document is found.
    """
    found = checked.nodes[source]
    assert isinstance(found.descriptor, SourceDescriptor)
    if found.descriptor.topic is not None:
        return None, "it is a topic of other programs, which decide what it holds and for how long"
    context = replace(checked.context(source, settings.state), follow=False)
    try:
        opened = found.descriptor.open(found.params, context)
        if not isinstance(opened, ListingSource):
            return None, "it says what changes, and not what there is"
        with closing(opened):
            opened.check()
            return _lists(opened, key), ""
    except (NvisyError, ConnectorError) as error:
        return None, checked.redactor.clean(str(error))


def _lists(source: ListingSource, key: str) -> bool:
    for entry in source.scan():
        match entry:
            case Item() | Unreadable() if entry.key == key:
                return True
            case Group() if key.startswith(f"{entry.key}#"):
                if any(member.key == key for member in entry.members()):
                    return True
            case _:
                continue
    return False
