"""What an embedding model is to Nvisy, local or behind an API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors for some texts, and what they cost.

    Attributes:
        vectors: float32, shape (n, dimensions), one row per text, finite.
        tokens: Tokens billed, or None where nobody counts.
        cost_usd: Money spent, or None.
    """

    vectors: NDArray[np.float32]
    tokens: int | None = None
    cost_usd: float | None = None


class EmbeddingModel(Protocol):
    """Turns texts into vectors. One instance is used by up to `max_in_flight` threads at a time.

    Attributes:
        name: As in a graph, `local/hash`.
        revision: Changes whenever the vectors for some text would; part of every cache key.
        dimensions: Length of the vectors.
        max_batch: Texts per call, at most.
        max_in_flight: Calls that may run side by side: 1 for a model that computes in this process, more for one
            behind an API, whose calls then share the limits of its connection.
        cached: Whether keeping its answers is cheaper than asking again.
    """

    name: str
    revision: str
    dimensions: int
    max_batch: int
    max_in_flight: int
    cached: bool

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed up to `max_batch` texts.

        Raises:
            Transient: The same call may succeed later.
            Rejected: One of the texts cannot be embedded (all of them are suspect; the caller splits the batch).
            Fatal: No call can succeed.
        """

    def close(self) -> None:
        """Let go of everything. May be called twice."""
