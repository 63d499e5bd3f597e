"""What each code of a graph's faults means, and what to do: the text of `nvisy help CODE`.

A code keeps its meaning for good; one that is no longer given is not given another.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

_PAGES = """
NV1002 malformed JSON
The file is not JSON. The place is where reading had to stop, which is often just after the mistake: a comma
too many or too few, a text in single quotes, a comment. JSON knows no comments; a member named "_comment"
is ignored anywhere in a graph.

NV1003 a name twice in one object
JSON readers disagree on which of the two counts, so a graph may have each name once. Keep one of them.

NV1004 too large or too deep
A graph file may be 8 MiB large and nested 64 levels deep. What is beyond that is data, not a graph: keep it
in a file and let a source read it.

NV1005 not UTF-8
Graph files are UTF-8 text, with or without a byte order mark. Save the file in that encoding.

NV1101 a field is missing
A node, an edge or a connection lacks a field that it cannot do without: every node has an id and a type, a
source and a sink have a provider, an action names its action, an edge has from and to.

NV1102 unknown field
Fields that nobody reads are refused, since they are mostly misspelled ones that would silently do nothing.
What is meant for people goes into "_comment", "description" or the graph's "metadata".

NV1103 a field of the wrong kind
The value is of another type or outside of its bounds. Ids are 1 to 64 of the characters A-Z a-z 0-9 _ and
-; a graph without an id uses its name as the id, which then has to be one.

NV1105 two nodes of one id
Edges, topics, dead letters and records name a node by its id, so each node needs its own.

NV1201 unknown provider
No installed package brings a source or sink of this name. `nvisy nodes` lists those that are installed.
Connectors come in packages of their own: `pip install 'nvisy[object,vector]'` brings the usual ones.

NV1202 unknown action
No installed package brings an action of this name. `nvisy nodes` lists those that are installed. Code of
your own runs with the action `python`.

NV1203 unknown node type
A node's type is source, action, sink, branch, fanout or fanin. What an action does is in its field
"action": {"type": "action", "action": "embed"}.

NV1204 unknown model
No installed package brings this model, or its parameters are wrong. `local/…` models compute on this
machine; others are named by their provider and the provider's own name, as in
`openai/text-embedding-3-small`.

NV1205 a plugin failed
An installed connector, action or model raised an error of its own while the graph was checked. That is a
mistake in the plugin, not in the graph; the message says what it was.

NV1207 a connection that does not fit
The node names a connection that is not among the graph's `connections`, or one for another provider.

NV1211 unknown parameter
The provider or action takes no parameter of this name. `nvisy nodes NAME` lists those it takes.

NV1212 a parameter is missing
The provider or action cannot do without this parameter. It may also stand in the connection that a source
or sink names.

NV1213 a parameter of the wrong kind
The value is of another type or outside of its bounds. `nvisy nodes NAME` says what is taken. A text is
taken for a number where it reads as one, so that "${SIZE}" works.

NV1214 an option without effect
"retry", "timeout" and "concurrency" are for actions. A source or sink that does not answer is waited for as
long as the run lasts, and is called once at a time; a `deduplicate` calls nothing. An option that would do nothing is
refused, so that nobody relies on it.

NV1301 types do not fit
What arrives at the node is not what it takes. Each edge carries one type: a source gives Documents, which
may be bytes (raw) until `extract` made text of them; `chunk` makes Chunks of them, `embed` Embeddings of
those. `nvisy explain` shows the type of every edge.

NV1302 different types meet
Everything that arrives at one node has to be of one type, and vectors of one model and length, since
distances between vectors of different models mean nothing.

NV1303 the sink does not take this
A vector store keeps Embeddings; `nvisy nodes NAME` says what a sink takes.

NV1304 the sink cannot delete
Documents of the source can go away, and the sink has no way to remove their records: the index would answer
with what no longer exists. Use a sink that can delete.

NV1305 vectors too long for the sink
The store has a limit on the length of a vector. Use a model with fewer dimensions, or its `dimensions`
parameter where it has one.

NV1306 two models in one collection
Two sinks write vectors of different models, or of different lengths, into the same collection, where they
would be compared with each other. Give each its own collection.

NV1310 an expression does not compile
Expressions are checked against the fields of what arrives at the node, before anything runs: a field that
does not exist, or a comparison of text with a number, is found here. The column counts within the
expression. A metadata field may be missing in some documents: write coalesce(metadata.lang, "").

NV1401 a ${ without a reference
${NAME}, ${NAME:-default} and ${file:/path} are replaced inside texts. Write $${ for the characters
themselves.

NV1402 a variable is not set
The graph refers to an environment variable that is not set here. Set it, or give a default:
${NAME:-default}. The values are never written anywhere, so they cannot be looked up in the graph.

NV1403 a secret's file cannot be read
${file:/path} stands for the content of a file of at most 64 KiB, without its last line end. A relative path
starts at the folder of the graph file.

NV1501 an edge leads nowhere
The edge names a node that the graph does not have.

NV1502 a cycle
What leaves a node of the cycle comes back to it and would never end. A graph goes one way, from sources to
sinks. Remove one of the edges named.

NV1503 an edge out of a sink
A sink is where data ends. To write into two sinks, let both follow the node before.

NV1504 an edge into a source
A source takes nothing in. To read what another node made, give that node's edge a topic.

NV1505 no source
A graph needs a source, or nothing would ever flow.

NV1506 no sink
A graph needs a sink, or nothing of what it makes would be kept.

NV1507 no source leads to a node
Nothing can ever arrive at this node. Add the edge that is missing, or remove the node. Where a path breaks off
elsewhere in the graph, the hint says which edge would join the two.

NV1508 a node leads to no sink
What this node makes would be thrown away. Add the edge that is missing, or remove the node.

NV1509 which way out of a branch
Each edge from a branch names one of its ports: those of its routes, or its default. What is sent to a port
without an edge ends there.

NV1510 a port where there is none
Only a branch has ports. Remove the port from the edge.

NV1511 an edge twice
Two edges join the same two nodes, so that everything would arrive twice. Remove one.

NV1512 a topic where ways have parted
Between a branch or fan-out and the node where its ways meet again, a change travels in parts that belong
together. A topic there could keep one part and not the others. Name an edge before or after.

NV1513 a deduplicate where ways have parted
A deduplicate compares documents with each other and numbers what it passes on anew, so that the ways could
not be joined again. Put it before they part, or after they meet.

NV1514 one topic, two writers
A topic is written from one way out of one node, which is what keeps it in order. It may be read by many:
edges from the same node may name the same topic. `<graph>.dlq`, `<graph>.state`, the topics that other edges get by
default and those of `topic` nodes have a writer already.

NV1521 stages wait for each other
Topics cut the graph into stages, and here each of two stages needs what the other makes. Set "topic": false
on an edge between them, so that they become one stage.

NV1522 halves of one document in two topics
Ways that start at one source meet again at this node, but come to it through different topics, so that a
part of a document could be taken for the whole. Set "topic": false on the edges between the parting and
this node.

NV1523 a source that is not alone in its stage
A stage that runs a source reads nothing else. A topic follows every source unless its edge says "topic": false,
which is for a source whose data meets no other on its way to the next topic. Take "topic": false from the edge.
"""


class Code(NamedTuple):
    """A code's title and the paragraph that explains it."""

    title: str
    text: str


def _read(pages: str) -> Mapping[str, Code]:
    codes = {}
    for page in pages.strip().split("\n\n"):
        head, _, text = page.partition("\n")
        code, _, title = head.partition(" ")
        codes[code] = Code(title, text)
    return MappingProxyType(codes)


CODES: Mapping[str, Code] = _read(_PAGES)
"""By code, in order. `nvisy help` without a code lists the titles."""
