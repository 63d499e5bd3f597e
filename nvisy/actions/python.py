"""`python`: calls a user's function on typed primitives.

The file that the function is written in is part of the node's configuration: when it is edited, everything is processed
by it again. What that file imports is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

from pydantic import Field, ValidationError

from nvisy.actions import _functions
from nvisy.connector.action import EachAction
from nvisy.connector.descriptor import ActionDescriptor, Context, Models, Params
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import ConnectorError, Rejected
from nvisy.primitives.document import Document
from nvisy.primitives.embedding import Embedding
from nvisy.primitives.primitive import Primitive

_LONGEST_MESSAGE = 500


class PythonParams(Params):
    """Parameters of `python`."""

    function: str = Field(
        min_length=1,
        description="`module:name` of a function from one primitive to one, a list of them, a generator or None.",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments for every call.")
    emits: str | None = Field(
        None, description="Name of the primitive it returns, where its annotation does not say so."
    )
    folder: Path = Field(
        Path(), description="Where its module lies, if it is not installed; the graph's own folder."
    )


class PythonAction:
    """Calls the function; what it raises concerns the one document only."""

    def __init__(self, function: FunctionType, params: Mapping[str, Any], emits: type[Primitive]) -> None:
        self._function = function
        self._params = dict(params)
        self._emits = emits
        self._name = f"{function.__module__}:{function.__name__}"

    def each(self, item: Primitive) -> Iterable[Primitive]:
        """What the function makes of `item`.

        Raises:
            Rejected: The function failed, or returned something else than it should (kind `python`).
            Transient, Fatal: As the function raised them.
        """
        given = _lent(item)
        try:
            made = _several(self._function(given, **self._params))
        except ConnectorError:
            raise
        except BaseException as error:  # a user's function may fail in any way, `sys.exit` is one
            raise self._failure(error) from None
        is_as_it_was = given.metadata == item.metadata
        return [item if each is given and is_as_it_was else self._checked(each) for each in made]

    def close(self) -> None:
        """Nothing is held."""

    def _checked(self, made: Any) -> Primitive:
        """What was returned, validated: a copy with changed fields has not been, and its hash is another."""
        if not isinstance(made, self._emits):
            raise Rejected(
                f"{self._name} returned a {type(made).__name__}, not {self._emits.type}, a list of them, or None",
                kind="python",
            )
        try:
            return type(made).model_validate({**made.__dict__, "content_hash": ""}, by_name=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or self._emits.type
            raise Rejected(f"{self._name} returned a wrong {where}: {first['msg']}", kind="python") from None

    def _failure(self, error: BaseException) -> Rejected:
        place = _functions.place_of(error, self._function.__code__.co_filename)
        message = f"{self._name} failed{f' at {place}' if place else ''}: {type(error).__name__}: {error}"
        return Rejected(message[:_LONGEST_MESSAGE], kind="python")


def _lent(item: Primitive) -> Primitive:
    """`item` with metadata of its own: what a function writes into it is not seen on other ways through the graph."""
    kept = {name: list(value) if isinstance(value, list) else value for name, value in item.metadata.items()}
    return item.replaced(metadata=kept)


def _several(returned: Any) -> list[Any]:
    if returned is None:
        return []
    if isinstance(returned, list | tuple | Iterator):
        return list(returned)
    return [returned]


def _shape(params: PythonParams, incoming: Shape, models: Models) -> Shape:
    _, outgoing = _resolved(params, incoming)
    return outgoing


def _build(params: PythonParams, context: Context) -> EachAction:
    function, outgoing = _resolved(params, context.incoming)
    return PythonAction(function, params.params, outgoing.primitive)


def _resolved(params: PythonParams, incoming: Shape) -> tuple[FunctionType, Shape]:
    function = _functions.find(params.function, params.folder.absolute())
    _functions.check_call(function, params.params)
    takes, gives = _functions.annotated(function)
    if takes and not issubclass(incoming.primitive, tuple(takes)):
        names = " or ".join(sorted(cls.type for cls in takes))
        raise ShapeMismatch(f"`{params.function}` takes {names}, and {incoming} comes in")
    return function, _outgoing(_emitted(params, function, gives, incoming), incoming)


def _emitted(
    params: PythonParams, function: FunctionType, gives: frozenset[type[Primitive]], incoming: Shape
) -> type[Primitive]:
    if params.emits is not None:
        return _functions.primitive_named(params.emits, function)
    if len(gives) > 1:
        names = ", ".join(sorted(cls.type for cls in gives))
        raise ShapeMismatch(
            f"`{params.function}` may return {names}, and an edge carries one kind of primitive",
            "split it into two functions behind a `branch` or `fanout`",
        )
    emitted = next(iter(gives), incoming.primitive)
    return incoming.primitive if emitted is Primitive else emitted


def _outgoing(emitted: type[Primitive], incoming: Shape) -> Shape:
    """What leaves: as raw as what came, for the function may have left the bytes as they were."""
    if issubclass(emitted, Embedding):
        if not issubclass(incoming.primitive, Embedding):
            raise ShapeMismatch(
                "nothing says which model and how many dimensions the vectors of a function have",
                "make vectors with `embed`; a model of your own is a plugin, see CONTRIBUTING.md",
            )
        return Shape(emitted, model=incoming.model, dimensions=incoming.dimensions)
    return Shape(emitted, raw=incoming.raw and issubclass(emitted, Document))


def _revision(params: PythonParams) -> str:
    return _functions.revision(params.function, params.folder.absolute())


DESCRIPTOR = ActionDescriptor(
    name="python",
    summary="Calls a function of yours on each primitive; its annotations say what it takes and returns.",
    params=PythonParams,
    shape=_shape,
    build=_build,
    revision=_revision,
    example={"function": "steps:clean"},
)
