"""Streaming dataflows for AI data: documents to vectors over Kafka-compatible logs, effectively once.

```python
import nvisy

graph = nvisy.Graph.load("graph.json")
report = nvisy.run(graph)
hits = nvisy.search(graph, "how are offsets committed?", k=5)
```

Everything below is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nvisy import errors, primitives
    from nvisy.asynchronous import run_async, search_async
    from nvisy.audit.lineage import descent, lineage
    from nvisy.audit.repair import repair
    from nvisy.audit.runs import runs
    from nvisy.audit.verify import verify
    from nvisy.connector.sink import Hit
    from nvisy.erasure.forget import forget, forgotten, readmit
    from nvisy.graph.model import Graph
    from nvisy.query import embed, records, search
    from nvisy.rebuilding.live import run
    from nvisy.rebuilding.rebuild import finish, rebuild, rollback
    from nvisy.runtime.counters import Report
    from nvisy.runtime.rerun import rerun

__all__ = [
    "Graph",
    "Hit",
    "Report",
    "descent",
    "embed",
    "errors",
    "finish",
    "forget",
    "forgotten",
    "lineage",
    "primitives",
    "readmit",
    "rebuild",
    "records",
    "repair",
    "rerun",
    "rollback",
    "run",
    "run_async",
    "runs",
    "search",
    "search_async",
    "verify",
]

_HOMES = {
    "Graph": "nvisy.graph.model",
    "Hit": "nvisy.connector.sink",
    "Report": "nvisy.runtime.counters",
    "descent": "nvisy.audit.lineage",
    "embed": "nvisy.query",
    "finish": "nvisy.rebuilding.rebuild",
    "forget": "nvisy.erasure.forget",
    "forgotten": "nvisy.erasure.forget",
    "lineage": "nvisy.audit.lineage",
    "readmit": "nvisy.erasure.forget",
    "rebuild": "nvisy.rebuilding.rebuild",
    "records": "nvisy.query",
    "repair": "nvisy.audit.repair",
    "rerun": "nvisy.runtime.rerun",
    "rollback": "nvisy.rebuilding.rebuild",
    "run": "nvisy.rebuilding.live",
    "run_async": "nvisy.asynchronous",
    "runs": "nvisy.audit.runs",
    "search": "nvisy.query",
    "search_async": "nvisy.asynchronous",
    "verify": "nvisy.audit.verify",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in __all__:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
