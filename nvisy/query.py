"""Asking a graph's index: by meaning, or for everything it holds. Needs the store alone, no log and no run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from nvisy.connector.descriptor import ActionDescriptor, SinkDescriptor
from nvisy.connector.model import EmbeddingModel
from nvisy.connector.sink import Hit, Index, Vector
from nvisy.errors import Fatal, NvisyError, Refused, UsageError
from nvisy.expressions.filter import parse_filter
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, CheckedNode, check
from nvisy.runtime.generations import generations_of
from nvisy.runtime.settings import Settings

_log = logging.getLogger(__name__)

MOST_RECORDS = 2**31 - 1
"""More than any store holds; a larger number does not fit into what every store calls a limit."""


def search(
    graph: Graph | CheckedGraph,
    question: str,
    k: int = 5,
    filter: str = "",  # noqa: A002 - what it is called everywhere else
    *,
    sink: str | None = None,
    settings: Settings | None = None,
) -> list[Hit]:
    """The `k` records nearest in meaning to a question, best first.

    Args:
        graph: Whose index to ask.
        question: Any text but an empty one; the graph's own model embeds it.
        k: How many, at least 1.
        filter: Which records count, such as `metadata.lang == 'en'`; see `nvisy.expressions.filter`.
        sink: Id of the sink node; the graph's first unless given.
        settings: Where caches lie; from the environment unless given.

    Raises:
        GraphError: The graph is wrong.
        ExpressionError: The filter is.
        UsageError: The question is empty, or there is no such sink, or it is not one that can be asked.
        Refused: There is no collection yet, or its vectors are of another model than the graph's.
        Unreachable: The store does not answer.
    """
    _not_empty(question)
    if k < 1:
        raise UsageError(f"k is {k}: ask for at least one record")
    where = parse_filter(filter) if filter else None
    checked = _checked(graph)
    node = _sink(checked, sink)
    most = min(k, MOST_RECORDS)
    with closing(_index(checked, node, settings)) as index:
        try:
            return list(index.search(_embedded(question, checked, node, index, settings), most, where))
        except Fatal:
            # Another index may have taken its place since it was opened, and this one been dropped.
            with closing(_index(checked, node, settings)) as now:
                if now.collection == index.collection:
                    raise
                return list(now.search(_embedded(question, checked, node, now, settings), most, where))


def embed(
    graph: Graph | CheckedGraph,
    question: str,
    *,
    sink: str | None = None,
    settings: Settings | None = None,
) -> list[float]:
    """The vector of a question, to ask the store with its own client: by the model of the records it holds.

    Args:
        graph: Whose index is to be asked.
        question: Any text but an empty one.
        sink: Id of the sink node; the graph's first unless given.
        settings: Where caches lie; from the environment unless given.

    Raises:
        GraphError: The graph is wrong.
        UsageError: The question is empty, or there is no such sink, or it is not one that can be asked.
        Refused: There is no collection yet, or its vectors are of another model than the graph's.
        Unreachable: The store does not answer.
    """
    _not_empty(question)
    checked = _checked(graph)
    node = _sink(checked, sink)
    with closing(_index(checked, node, settings)) as index:
        vector: list[float] = _embedded(question, checked, node, index, settings).tolist()
        return vector


def records(
    graph: Graph | CheckedGraph,
    key: str | None = None,
    *,
    sink: str | None = None,
    settings: Settings | None = None,
) -> Iterator[Hit]:
    """Everything the index holds, or what came from one document: streamed, by key, then by place.

    Args:
        graph: Whose index to read.
        key: What the source calls the document.
        sink: Id of the sink node; the graph's first unless given.
        settings: Where caches lie; from the environment unless given.

    Raises:
        GraphError: The graph is wrong.
        UsageError: There is no such sink, or it is not one that can be asked.
        Refused: There is no collection yet.
        Unreachable: The store does not answer.
    """
    checked = _checked(graph)
    return _streamed(_index(checked, _sink(checked, sink), settings), key)


def _streamed(index: Index, key: str | None) -> Iterator[Hit]:
    with closing(index):
        yield from index.records(key)


def _not_empty(question: str) -> None:
    if not question.strip():
        raise UsageError("the question is empty")


def _checked(graph: Graph | CheckedGraph) -> CheckedGraph:
    return graph if isinstance(graph, CheckedGraph) else check(graph)


def _sink(checked: CheckedGraph, wanted: str | None) -> str:
    """The sink node to ask: the one wanted, or the first in the graph."""
    found = [node.id for node in checked.graph.nodes if _can_be_asked(checked, node.id)]
    if wanted is None and found:
        return found[0]
    if wanted in found:
        return wanted
    what = f"no sink {wanted!r}" if wanted else "no sink"
    there = f"there are: {', '.join(found)}" if found else "a topic is no index"
    raise UsageError(f"graph {checked.graph.id} has {what} that can be searched; {there}")


def sinks_to_ask(checked: CheckedGraph, wanted: str | None = None) -> list[str]:
    """The sink nodes whose index can be read, in the order of the graph; or the one that is wanted.

    Raises:
        UsageError: There is none, or no such sink.
    """
    if wanted is not None:
        return [_sink(checked, wanted)]
    found = [node.id for node in checked.graph.nodes if _can_be_asked(checked, node.id)]
    return found or [_sink(checked, None)]


def _can_be_asked(checked: CheckedGraph, node: str) -> bool:
    descriptor = checked.descriptor(node)
    return isinstance(descriptor, SinkDescriptor) and descriptor.topic is None


def _index(checked: CheckedGraph, node: str, settings: Settings | None) -> Index:
    found = checked.nodes[node]
    assert isinstance(found.descriptor, SinkDescriptor)
    context = checked.context(node, (settings or Settings.from_environ()).state)
    index: Index = found.descriptor.open(found.params, context).index()
    return index


def _embedded(
    question: str, checked: CheckedGraph, sink: str, index: Index, settings: Settings | None
) -> Vector:
    incoming = checked.nodes[sink].incoming
    assert incoming is not None
    ours = incoming.model
    if not ours:
        raise UsageError(
            f"the vectors of sink {sink!r} are not made in this graph, so no model is known to ask with"
        )
    if (index.model, index.dimensions) != (ours, incoming.dimensions):
        made_by = _graph_of(index, checked, sink, settings or Settings.from_environ())
        if made_by is None:
            theirs = index.model or "an unknown model"
            if theirs == ours:
                theirs, ours = (f"{ours}, {n} dimensions" for n in (index.dimensions, incoming.dimensions))
            raise Refused(
                f"sink {sink!r} holds vectors of {theirs}, and the graph embeds with {ours}: their "
                f"distances mean nothing; `nvisy rebuild` builds an index of {ours}"
            )
        checked = made_by
    with closing(_model(checked, index.model)) as model:
        vector: Vector = model.embed([question]).vectors[0]
        return vector


def _graph_of(index: Index, checked: CheckedGraph, sink: str, settings: Settings) -> CheckedGraph | None:
    """The version of the graph that makes vectors such as an index of a sink holds, where its log knows one.

    It is another one than the caller has while an index is built anew, and after that for who has not read the graph
    again.
    """
    try:
        with closing(settings.open_log()) as log:
            living = generations_of(log, checked.graph.id).living
        versions = [one.checked(checked, settings) for one in living.values()]
    except NvisyError as error:
        _log.debug("no other version of graph %s is known: %s", checked.graph.id, error)
        return None
    for version in versions:
        shape = version.nodes[sink].incoming if sink in version.nodes else None
        if shape is not None and (shape.model, shape.dimensions) == (index.model, index.dimensions):
            return version
    return None


def _model(checked: CheckedGraph, name: str) -> EmbeddingModel:
    """The model `name@revision`, opened as the node that embeds with it opens it."""
    for node in checked.nodes.values():
        if name in node.models and isinstance(node.descriptor, ActionDescriptor):
            for reference, params in _asked(checked, node, node.descriptor):
                if checked.catalog.facts(reference, params)[0] == name:
                    return checked.catalog.open_model(reference, params)
    raise UsageError(f"no node of graph {checked.graph.id} embeds with {name}")


def _asked(
    checked: CheckedGraph, node: CheckedNode, action: ActionDescriptor
) -> list[tuple[str, Mapping[str, Any]]]:
    """The models, with their parameters, that an action asks for when its shape is computed."""
    asked: list[tuple[str, Mapping[str, Any]]] = []

    def facts(reference: str, params: Mapping[str, Any]) -> tuple[str, int]:
        asked.append((reference, {**node.connection, **params}))
        return checked.catalog.facts(*asked[-1])

    assert node.incoming is not None
    action.shape(node.params, node.incoming, facts)
    return asked
