"""`branch_and_fanout.json`, written by hand: the builder gives the same graph as the file.

python dataflows/code/branch_and_fanout.py        # builds it, runs it, asks both indexes
"""

from pathlib import Path

import nvisy

FOLDER = Path(__file__).parents[1]


def build() -> nvisy.Graph:
    """Code and prose are told apart, and two models embed both, each into an index of its own."""
    builder = nvisy.Graph.build(
        "branch_and_fanout",
        description="Code and prose are told apart, and two models embed both, each into an index of its own.",
    )
    passages = (
        builder.source("files", "object/files", path="../docs", glob="**/*.md")
        .action("text", "extract")
        .action("enough", "filter", when="size(text.trim()) > 100")
        .action("unique", "deduplicate")
        .action("chunk", "chunk", size=600)
        .action("counted", "python", function="passages:counted")
    )
    route = passages.branch("route", {"code": "text.contains('```')"}, default="prose")
    code = route.port("code").action("code", "map", primitive="Chunk", metadata={"kind": "'code'"})
    prose = route.port("prose").action("prose", "map", primitive="Chunk", metadata={"kind": "'prose'"})
    models = builder.fanin("both", [code, prose]).fanout("models")
    by_words = models.action("by_words", "embed", model="local/hash")
    by_meaning = models.action("by_meaning", "embed", model="local/wordllama")
    by_words.sink("words", "vector/sqlite", path=".nvisy/passages.db", collection="words")
    by_meaning.sink("meanings", "vector/sqlite", path=".nvisy/passages.db", collection="meanings")
    return builder.graph(FOLDER)


if __name__ == "__main__":
    graph = build()
    print(nvisy.run(graph))
    for sink in ("words", "meanings"):
        for hit in nvisy.search(graph, "why is a change a whole document?", k=2, sink=sink):
            print(f"{sink:9} {hit.score:.2f} {hit.key}")
