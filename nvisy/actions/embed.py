"""`embed`: texts to vectors, whole batches at a time, no text twice."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nvisy.actions._accepts import require
from nvisy.connector.action import Action, Question
from nvisy.connector.descriptor import ActionDescriptor, Context, Models, Params
from nvisy.connector.model import Embedded, EmbeddingModel
from nvisy.connector.shape import Shape
from nvisy.errors import Fatal, Rejected, Transient
from nvisy.models.cache import EmbeddingCache
from nvisy.models.limits import LimitedModel
from nvisy.primitives.chunk import Chunk
from nvisy.primitives.document import Document
from nvisy.primitives.embedding import Embedding
from nvisy.primitives.primitive import Primitive, content_hash
from nvisy.primitives.provenance import Span

REMOTE_BATCH = 64
Answer = NDArray[np.float32] | Rejected


class EmbedParams(Params):
    """Parameters of `embed`."""

    model: str = Field(min_length=1, description="The embedding model, such as `local/wordllama`.")
    dimensions: int | None = Field(
        None, ge=1, description="Length of the vectors; the model's own if left out."
    )
    batch_size: int | None = Field(
        None, ge=1, alias="batchSize", description="Texts per call; what suits the model if left out."
    )
    cache: bool = Field(
        True, description="Whether to keep vectors in the state folder, for a model that is dearer than that."
    )

    def for_model(self) -> dict[str, Any]:
        """The model's own parameters."""
        return {} if self.dimensions is None else {"dimensions": self.dimensions}


class EmbedAction:
    """Embeds chunks, or whole documents, whichever changes they belong to.

    Attributes:
        max_batch: Items per `batch`.
        calls: Calls to the model that answered.
        model_calls: Texts that the model embedded.
        cache_hits: Texts whose vector the cache had.
        tokens: Tokens billed, as far as the model counts them.
        cost_usd: Money spent, as far as the model tells.
    """

    def __init__(
        self, model: EmbeddingModel, name: str, cache: EmbeddingCache | None, batch_size: int | None = None
    ) -> None:
        """Embeds with `model`, whose vectors are named `name`, `local/hash@1`."""
        self.max_batch = min(model.max_batch, batch_size or model.max_batch)
        self.calls = 0
        self.model_calls = 0
        self.cache_hits = 0
        self.tokens = 0
        self.cost_usd = 0.0
        self._model = model
        self._name = name
        self._cache = cache

    def batch(self, items: Sequence[Primitive]) -> list[Primitive | Rejected]:
        """An `Embedding` per item; a text that the model cannot embed rejects the items it is in, and no other."""
        texts = [_text_of(item) for item in items]
        hashes = [content_hash(text) for text in texts]
        wanted = {key: text for key, text in zip(hashes, texts, strict=True) if text}
        answers: dict[str, Answer] = {"": _EMPTY}
        if self._cache:
            answers.update(self._cache.get_many(list(wanted)))
            self.cache_hits += len(answers) - 1
        missing = {key: text for key, text in wanted.items() if key not in answers}
        fresh = dict(zip(missing, self._ask_for_all(list(missing.values())), strict=True))
        if self._cache:
            self._cache.put_many(
                {key: found for key, found in fresh.items() if not isinstance(found, Rejected)}
            )
        answers.update(fresh)
        return [
            self._embedding(item, text, key, answers[key if text else ""])
            for item, text, key in zip(items, texts, hashes, strict=True)
        ]

    def close(self) -> None:
        """Close the model and the cache."""
        self._model.close()
        if self._cache:
            self._cache.close()

    def _ask_for_all(self, texts: list[str]) -> list[Answer]:
        answers: list[Answer] = []
        for start in range(0, len(texts), self.max_batch):
            answers += self._ask(texts[start : start + self.max_batch])
        return answers

    def _ask(self, texts: list[str]) -> list[Answer]:
        """The model's answers; where it rejects a batch, each half is asked again, down to the text at fault."""
        try:
            embedded = self._model.embed(texts)
        except Rejected as rejected:
            if len(texts) == 1:
                return [rejected]
            middle = len(texts) // 2
            return self._ask(texts[:middle]) + self._ask(texts[middle:])
        return self._checked(embedded, len(texts))

    def _checked(self, embedded: Embedded, count: int) -> list[Answer]:
        self.calls += 1
        self.model_calls += count
        self.tokens += embedded.tokens or 0
        self.cost_usd += embedded.cost_usd or 0.0
        vectors = np.ascontiguousarray(embedded.vectors, np.float32)
        expected = (count, self._model.dimensions)
        if vectors.shape != expected:
            raise Fatal(f"{self._name} answered with vectors of shape {vectors.shape}, not {expected}")
        vectors.setflags(write=False)
        unsound = Rejected(f"{self._name} answered with numbers that are not finite", kind="model")
        finite = np.atleast_1d(np.isfinite(vectors).all(axis=1))
        return [vector if sound else unsound for vector, sound in zip(vectors, finite, strict=True)]

    def _embedding(self, item: Primitive, text: str, key: str, answer: Answer) -> Embedding | Rejected:
        if isinstance(answer, Rejected):
            return answer
        return Embedding.trusted(
            {
                "id": "",
                "content_hash": key,
                "parent": "",
                "steps": "",
                "metadata": item.metadata,
                "provenance": None,
                "vector": answer,
                "model": self._name,
                "text": text,
                "dimensions": len(answer),
                "span": item.span if isinstance(item, Chunk) else Span(0, len(text)),
            }
        )


class RemoteEmbedAction(EmbedAction):
    """Embeds with a model behind an API: an `AskingAction`, several of whose calls run side by side.

    Attributes:
        max_in_flight: Calls side by side.
    """

    def __init__(
        self, model: EmbeddingModel, name: str, cache: EmbeddingCache | None, batch_size: int | None = None
    ) -> None:
        super().__init__(model, name, cache, batch_size or REMOTE_BATCH)
        self.max_in_flight = model.max_in_flight
        self._lock = threading.Lock()

    def questions(self, items: Sequence[Primitive]) -> list[Question]:
        """The text of each item, by its hash; an empty one by nothing."""
        texts = [_text_of(item) for item in items]
        return [Question(content_hash(text) if text else "", text) for text in texts]

    def known(self, keys: Sequence[str]) -> Mapping[str, Answer]:
        """The vectors that the cache has."""
        found: dict[str, Answer] = {}
        if self._cache:
            with self._lock:
                found.update(self._cache.get_many([key for key in keys if key]))
                self.cache_hits += len(found)
        return {**found, "": _EMPTY} if "" in keys else found

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """One call to the model."""
        embedded = self._model.embed([question.content for question in questions])
        with self._lock:
            return self._checked(embedded, len(questions))

    def keep(self, questions: Sequence[Question], answers: Sequence[Answer]) -> None:
        """Put vectors into the cache."""
        if self._cache:
            keys = [question.key for question in questions]
            pairs = zip(keys, answers, strict=True)
            with self._lock:
                self._cache.put_many({key: one for key, one in pairs if not isinstance(one, Rejected)})

    def answered(self, item: Primitive, question: Question, answer: Answer) -> Embedding | Rejected:
        """The item's embedding."""
        return self._embedding(item, question.content, question.key, answer)

    def close(self) -> None:
        """Close the model, under calls that run, and then the cache."""
        self._model.close()
        with self._lock:
            super().close()

    def is_up(self) -> bool:
        """Whether the model embeds a word."""
        try:
            self._model.embed(["word"])
        except (Transient, Rejected):
            return False
        return True


_EMPTY = Rejected(
    "it has no text to embed; let only texts through with a filter, `size(text) > 0`", kind="empty"
)


def _text_of(item: Primitive) -> str:
    assert isinstance(item, Chunk | Document)
    return item.text


def _shape(params: EmbedParams, incoming: Shape, models: Models) -> Shape:
    require(incoming, Chunk, Document)
    model, dimensions = models(params.model, params.for_model())
    return Shape(Embedding, model=model, dimensions=dimensions)


def _build(params: EmbedParams, context: Context) -> Action:
    model = context.models(params.model, params.for_model())
    name = f"{params.model}@{model.revision}"
    cache = None
    if params.cache and model.cached:
        cache = EmbeddingCache(context.state / "embeddings.db", name, model.dimensions)
    kind = RemoteEmbedAction if isinstance(model, LimitedModel) else EmbedAction
    return kind(model, name, cache, params.batch_size)


DESCRIPTOR = ActionDescriptor(
    name="embed",
    summary="Turns chunks, or whole documents, into vectors with an embedding model.",
    params=EmbedParams,
    shape=_shape,
    build=_build,
    cut=True,
    example={"model": "local/wordllama"},
)
