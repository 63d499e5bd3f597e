"""Rate limits of a connection: what they are, and a model that keeps to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from nvisy.connector.descriptor import Params
from nvisy.connector.model import Embedded, EmbeddingModel
from nvisy.errors import Transient

if TYPE_CHECKING:
    from nvisy.models.allowance import Allowance

FILE = "limits.db"
USUAL_IN_FLIGHT = 16


class Limits(Params):
    """The `limits` of a connection, which everything that names it shares, in every process of this machine."""

    requests_per_minute: int | None = Field(
        None, ge=1, alias="requestsPerMinute", description="Calls in any minute, at most."
    )
    tokens_per_minute: int | None = Field(
        None, ge=1, alias="tokensPerMinute", description="Tokens in any minute, at most."
    )
    max_in_flight: int = Field(
        USUAL_IN_FLIGHT, ge=1, le=1024, alias="maxInFlight", description="Calls side by side, at most."
    )


class LimitedModel:
    """A model whose calls wait until the connection's limits allow them. Any number of threads may call it.

    A server that says it is too much is believed: every process leaves it alone for as long as it asks, and all of
    them go slower for a while.
    """

    def __init__(self, model: EmbeddingModel, allowance: Allowance, limits: Limits) -> None:
        self.name = model.name
        self.revision = model.revision
        self.dimensions = model.dimensions
        self.max_batch = model.max_batch
        self.max_in_flight = min(model.max_in_flight, limits.max_in_flight)
        self.cached = model.cached
        self._model = model
        self._allowance = allowance

    def embed(self, texts: Sequence[str]) -> Embedded:
        """What the model answers, once it may be asked."""
        tokens: int | None = None
        grant = self._allowance.take(sum(map(len, texts)))
        try:
            embedded = self._model.embed(texts)
            tokens = embedded.tokens
        except Transient as error:
            if error.retry_after_s is not None:
                self._allowance.refused(error.retry_after_s)
            raise
        finally:
            self._allowance.done(grant, tokens)
        return embedded

    def close(self) -> None:
        """Close the model; calls that wait end with `Transient`."""
        self._allowance.close()
        self._model.close()


def limited(model: EmbeddingModel, limits: Limits, state: Path, connection: str) -> EmbeddingModel:
    """`model` within the limits of a connection, where its calls leave the process; else the model as it is."""
    from nvisy.models.allowance import Allowance  # noqa: PLC0415 - a database is opened by who needs it

    if model.max_in_flight == 1:
        return model
    return LimitedModel(model, Allowance(state / FILE, connection, limits), limits)


def connection_id(provider: str, params: Mapping[str, Any]) -> str:
    """Names a connection the same in every graph that writes it the same; `params` with references unresolved."""
    written = json.dumps([provider, dict(params)], sort_keys=True, default=str)
    return f"{provider}-{hashlib.sha256(written.encode()).hexdigest()[:16]}"
