"""What is installed: connectors, actions, models and primitives, found by entry point.

Listing names imports nothing; a descriptor is imported when it is asked for. A plugin that cannot be imported
is a line in `broken`, and an error only for the graph that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Literal, Self, TypeVar

from pydantic import ValidationError

from nvisy.connector.descriptor import (
    ActionDescriptor,
    Descriptor,
    ModelDescriptor,
    SinkDescriptor,
    SourceDescriptor,
)
from nvisy.connector.model import EmbeddingModel
from nvisy.errors import NvisyError
from nvisy.primitives.primitive import Primitive

Kind = Literal["source", "sink", "action", "model", "primitive"]
_D = TypeVar("_D")

_GROUPS = ("nvisy.connectors", "nvisy.actions", "nvisy.models", "nvisy.primitives")
_KINDS: Mapping[Kind, tuple[str, type[Any]]] = {
    "source": ("nvisy.connectors", SourceDescriptor),
    "sink": ("nvisy.connectors", SinkDescriptor),
    "action": ("nvisy.actions", ActionDescriptor),
    "model": ("nvisy.models", ModelDescriptor),
    "primitive": ("nvisy.primitives", type),
}
_EXTRAS = {"object/": "object", "sql/": "sql", "vector/": "vector"}
"""Prefixes of well-known names and the extra that brings them."""


class NotInstalled(NvisyError):  # noqa: N818 - a state, and reads as one where it is caught
    """No such connector, action or model, or one that cannot be used; `hint` says what would help."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message}; {hint}" if hint else message)


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin that is installed but cannot be used."""

    group: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.group}): {self.reason}"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One name of one group; `load` gives a descriptor, several (a source and a sink), or a primitive."""

    group: str
    name: str
    load: Callable[[], Any]


def closest(name: str, names: Iterable[str]) -> str:
    """`did you mean "embed"?`, or nothing where no name is near."""
    near = get_close_matches(name, list(names), n=1)
    return f'did you mean "{near[0]}"?' if near else ""


class Catalog:
    """The installed parts by name."""

    def __init__(self, entries: Iterable[_Entry]) -> None:
        self._entries: dict[tuple[str, str], list[_Entry]] = {}
        for entry in entries:
            self._entries.setdefault((entry.group, entry.name), []).append(entry)
        self._loaded: dict[tuple[str, str], tuple[Any, ...] | Broken] = {}

    @classmethod
    def installed(cls) -> Self:
        """The catalogue of this Python environment."""
        return cls(
            _Entry(group, point.name, point.load) for group in _GROUPS for point in entry_points(group=group)
        )

    @classmethod
    def of(cls, descriptors: Iterable[Descriptor], primitives: Iterable[type[Primitive]] = ()) -> Self:
        """A catalogue of these, for tests and for programs that install nothing."""
        named: dict[tuple[str, str], list[Any]] = {}
        for descriptor in descriptors:
            named.setdefault((_group_of(descriptor), descriptor.name), []).append(descriptor)
        for primitive in primitives:
            named.setdefault(("nvisy.primitives", primitive.type), []).append(primitive)
        return cls(_Entry(group, name, partial(tuple, parts)) for (group, name), parts in named.items())

    def names(self, group: str) -> tuple[str, ...]:
        """Names registered in an entry-point group, `nvisy.actions`, sorted. Imports nothing."""
        return tuple(sorted(name for of, name in self._entries if of == group))

    def source(self, name: str) -> SourceDescriptor:
        """The source of this name, or NotInstalled."""
        return self._find("source", name, SourceDescriptor)

    def sink(self, name: str) -> SinkDescriptor:
        """The sink of this name, or NotInstalled."""
        return self._find("sink", name, SinkDescriptor)

    def action(self, name: str) -> ActionDescriptor:
        """The action of this name, or NotInstalled."""
        return self._find("action", name, ActionDescriptor)

    def model(self, reference: str) -> tuple[ModelDescriptor, str]:
        """The model that a graph calls `reference`, and the rest of it that only the provider knows.

        `local/hash` is a model itself; `openai/text-embedding-3-small` is the model `openai` and a name of
        its own. The longest registered prefix wins.
        """
        parts = reference.split("/")
        for length in range(len(parts), 0, -1):
            name = "/".join(parts[:length])
            if ("nvisy.models", name) in self._entries:
                return self._find("model", name, ModelDescriptor), "/".join(parts[length:])
        return self._find("model", reference, ModelDescriptor), ""

    def all(self, kind: Kind) -> tuple[Any, ...]:
        """Every descriptor (or primitive class) of a kind that can be imported, by name."""
        group, cls = _KINDS[kind]
        loaded = (self._load(group, name) for name in self.names(group))
        return tuple(
            part
            for parts in loaded
            if not isinstance(parts, Broken)
            for part in parts
            if isinstance(part, cls)
        )

    def broken(self) -> tuple[Broken, ...]:
        """Plugins that cannot be used, each with its reason. Imports everything."""
        loaded = (self._load(group, name) for group, name in sorted(self._entries))
        return tuple(parts for parts in loaded if isinstance(parts, Broken))

    def facts(self, reference: str, params: Mapping[str, Any]) -> tuple[str, int]:
        """`(name@revision, dimensions)` of a model, without loading it.

        Raises:
            NotInstalled: There is no such model, or its parameters are wrong.
        """
        descriptor, typed = self._model_with(reference, params)
        try:
            revision, dimensions = descriptor.facts(typed)
        except NvisyError as error:
            raise NotInstalled(f'model "{reference}" cannot be used: {error}') from error
        return f"{reference}@{revision}", dimensions

    def open_model(
        self, reference: str, params: Mapping[str, Any], *, timeout_ms: int | None = None
    ) -> EmbeddingModel:
        """Load a model, whose calls may take `timeout_ms` where it has a parameter for that. Raises as `facts`."""
        descriptor, typed = self._model_with(reference, params)
        if timeout_ms is not None and "timeout_ms" in type(typed).model_fields:
            typed = typed.model_copy(update={"timeout_ms": timeout_ms})
        return descriptor.open(typed)

    def _model_with(self, reference: str, params: Mapping[str, Any]) -> tuple[ModelDescriptor, Any]:
        descriptor, rest = self.model(reference)
        named = {"model": rest} if rest else {}
        try:
            return descriptor, descriptor.params.model_validate({**named, **params})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise NotInstalled(f'model "{reference}": {where}: {first["msg"]}') from None

    def _find(self, kind: Kind, name: str, cls: type[_D]) -> _D:
        group = _KINDS[kind][0]
        parts = self._load(group, name)
        if isinstance(parts, Broken):
            raise NotInstalled(
                f'{kind} "{name}" cannot be used: {parts.reason}', "reinstall the package that brings it"
            )
        for part in parts:
            if isinstance(part, cls):
                return part
        if parts:
            other = "a sink" if kind == "source" else "a source"
            raise NotInstalled(f'"{name}" is not a {kind}', f"it is {other}")
        raise NotInstalled(f'unknown {kind} "{name}"', self._hint(kind, name))

    def _hint(self, kind: Kind, name: str) -> str:
        names = self.names(_KINDS[kind][0])
        for prefix, extra in _EXTRAS.items():
            if name.startswith(prefix) and not any(known.startswith(prefix) for known in names):
                return f"pip install 'nvisy[{extra}]'"
        return closest(name, names) or f"installed: {', '.join(names) or 'none'}"

    def _load(self, group: str, name: str) -> tuple[Any, ...] | Broken:
        """The parts behind a name: none where it is not registered."""
        if (group, name) not in self._loaded:
            self._loaded[group, name] = self._import(group, name)
        return self._loaded[group, name]

    def _import(self, group: str, name: str) -> tuple[Any, ...] | Broken:
        entries = self._entries.get((group, name), [])
        if len(entries) > 1:
            return Broken(group, name, "two installed packages bring a plugin of this name")
        try:
            parts = tuple(part for entry in entries for part in _several(entry.load()))
        except Exception as error:  # a plugin may fail in any way, and must not take others with it
            return Broken(group, name, f"{type(error).__name__}: {error}".splitlines()[0])
        for part in parts:
            if reason := _unfit(group, name, part):
                return Broken(group, name, reason)
        return parts


def _several(loaded: Any) -> tuple[Any, ...]:
    return tuple(loaded) if isinstance(loaded, tuple | list) else (loaded,)


def _group_of(descriptor: Descriptor) -> str:
    return next(group for group, cls in _KINDS.values() if isinstance(descriptor, cls))


def _unfit(group: str, name: str, part: Any) -> str:
    """Why `part` is no plugin of this group and name, or nothing."""
    if group == "nvisy.primitives":
        fits, called = isinstance(part, type) and issubclass(part, Primitive), getattr(part, "type", name)
    else:
        fits = isinstance(part, tuple(cls for of, cls in _KINDS.values() if of == group))
        called = getattr(part, "name", name)
    if not fits:
        return f"its entry point leads to a {type(part).__name__}, which is not what {group} holds"
    return "" if called == name else f'it calls itself "{called}"'
