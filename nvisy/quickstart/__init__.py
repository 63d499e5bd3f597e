"""The guided first run: documents become an index, and an edit, a delete and a damaged file reach it.

`corpus` says which documents there are and what is done to them, `folder` lays them out beside a graph, and `tour` runs
the graph after each change and checks what moved.
"""

from nvisy.quickstart.corpus import Corpus, documentation, samples
from nvisy.quickstart.folder import lay_out
from nvisy.quickstart.tour import Step, Tour

__all__ = ["Corpus", "Step", "Tour", "documentation", "lay_out", "samples"]
