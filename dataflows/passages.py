"""Functions that `branch_and_fanout.json` calls in its `python` node."""

from nvisy.primitives import Chunk


def counted(chunk: Chunk) -> Chunk:
    """The passage with the number of its words as metadata."""
    return chunk.replaced(metadata={**chunk.metadata, "words": len(chunk.text.split())})
