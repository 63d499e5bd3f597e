"""A model that remembers, for tests of actions."""

from collections.abc import Sequence

import numpy as np

from nvisy.connector.model import Embedded
from nvisy.errors import Rejected
from nvisy.models.hash import HashModel


class RecordingModel:
    """`local/hash` in eight dimensions that remembers what it was asked, and rejects texts with `bad` in them."""

    name = "test/recording"
    revision = "7"
    max_batch = 4
    max_in_flight = 1
    dimensions = 8

    def __init__(self, *, cached: bool = True) -> None:
        self.cached = cached
        self.asked: list[list[str]] = []
        self.closed = 0
        self._model = HashModel(self.dimensions)

    def embed(self, texts: Sequence[str]) -> Embedded:
        self.asked.append(list(texts))
        if any("bad" in text for text in texts):
            raise Rejected("the model does not like it", kind="model")
        vectors = self._model.embed(texts).vectors
        for row, text in zip(vectors, texts, strict=True):
            if "nan" in text:
                row[0] = np.nan
        return Embedded(vectors, tokens=len(texts), cost_usd=0.5)

    def close(self) -> None:
        self.closed += 1


def facts(name, params):
    """A model's facts, as a graph that is being compiled is told them."""
    return f"{name}@7", params.get("dimensions", 8)
