"""An explanation as text for a terminal, and as a Mermaid diagram."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap

from nvisy.plan.explain import Explanation, NodeFacts, StageFacts

_WIDTH = 96


def text(explanation: Explanation) -> str:
    """The explanation, some 100 characters wide."""
    return "\n".join(line.rstrip() for line in _lines(explanation)) + "\n"


def _lines(facts: Explanation) -> Iterator[str]:
    partitions = f" of {facts.topics[0].partitions} partitions" if facts.topics else ""
    yield f"{facts.graph}: {_count(facts.stages, 'stage')}, {_count(facts.topics, 'topic')}{partitions}"
    for stage in facts.stages:
        yield ""
        yield from _stage_lines(stage)
    yield from _section("topics", _topic_lines(facts))
    yield from _section("sources", _promises((s.node, s.provider, s.promise) for s in facts.sources))
    sinks = ((s.node, s.provider, f"{s.guarantee}. {_sentence(s.promise)}") for s in facts.sinks)
    yield from _section("delivery", _promises(sinks))
    models = (f"{m.model}, {m.dimensions} dimensions: {', '.join(m.nodes)}" for m in facts.models)
    yield from _section("models", models)


def _stage_lines(stage: StageFacts) -> Iterator[str]:
    after = f", after {' and '.join(stage.after)}" if stage.after else ""
    alone = ", one process for all partitions" if stage.alone else ""
    yield f"stage {stage.id}{after}{alone}"
    yield from (f"  ← {topic}" for topic in stage.reads)
    rows = [
        (node.id, f"{node.type} {node.does}".strip(), _types(node), _after(node, stage))
        for node in stage.nodes
    ]
    yield from _columns(rows)
    yield from (f"  → {topic}" for topic in stage.writes)


def _types(node: NodeFacts) -> str:
    if node.takes and node.gives and node.takes != node.gives:
        return f"{node.takes} → {node.gives}"
    return node.gives or node.takes


def _after(node: NodeFacts, stage: StageFacts) -> str:
    """Who gives to a node, where that is not simply the line above."""
    lines = [*stage.reads, *(one.id for one in stage.nodes)]
    above = lines[lines.index(node.id) - 1 : lines.index(node.id)] if lines.index(node.id) else []
    return f"from {', '.join(node.after)}" if node.after and list(node.after) != above else ""


def _topic_lines(facts: Explanation) -> Iterator[str]:
    for topic in facts.topics:
        readers = f"read by {', '.join(topic.read_by)}" if topic.read_by else "read by nobody here"
        versions = "; its offsets are the versions" if topic.versions else ""
        yield f"{topic.name}  filled by {topic.filled_by}, {readers}{versions}"
        yield from _paragraph(topic.why)
    if facts.topics:
        yield f"Records are keyed {facts.topics[0].key}; what cannot go on is kept in {facts.dead_letters}."
    else:
        yield f"Nothing is kept between stages; what cannot go on is kept in {facts.dead_letters}."
    if facts.uncut:
        yield f"The graph asks for no topic on {', '.join(facts.uncut)}."


def _promises(ends: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    for node, provider, promise in ends:
        yield f"{node} ({provider})"
        yield from _paragraph(promise)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    content = list(lines)
    if content:
        yield from ("", title, *(f"  {line}" for line in content))


def _paragraph(sentence: str) -> Iterator[str]:
    return (f"  {line}" for line in wrap(_sentence(sentence), _WIDTH))


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:].removesuffix(".") + "."


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def mermaid(explanation: Explanation) -> str:
    """The explanation as a Mermaid flowchart: a box per stage, a cylinder per topic."""
    return "\n".join(_mermaid_lines(explanation)) + "\n"


def _mermaid_lines(facts: Explanation) -> Iterator[str]:
    every = dict.fromkeys(topic for stage in facts.stages for topic in (*stage.reads, *stage.writes))
    topics = {topic: f"t{number}" for number, topic in enumerate(every)}
    nodes = {node.id: f"n{number}" for number, node in enumerate(n for s in facts.stages for n in s.nodes)}
    yield "flowchart LR"
    yield from (f'  {name}[("{topic}")]' for topic, name in topics.items())
    for number, stage in enumerate(facts.stages):
        yield f'  subgraph s{number}["stage {stage.id}"]'
        yield from (f'    {nodes[node.id]}["{node.id}<br/>{node.does or node.type}"]' for node in stage.nodes)
        yield "  end"
    for stage in facts.stages:
        read = {topic: topics[topic] for topic in stage.reads}
        for node in stage.nodes:
            yield from (_arrow(giver, nodes | read, nodes[node.id]) for giver in node.after)
    yield from (_arrow(topic.keeps, nodes, topics[topic.name]) for topic in facts.topics)


def _arrow(giver: str, names: Mapping[str, str], to: str) -> str:
    origin, _, port = (giver, "", "") if giver in names else giver.rpartition(":")
    return f"  {names[origin]} -->{f'|{port}|' if port else ''} {to}"
