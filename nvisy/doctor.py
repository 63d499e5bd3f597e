"""Findings about an installation: each says what it looked at, how that is, and how to mend it."""

from __future__ import annotations

import importlib
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import numpy as np

from nvisy.catalog import Catalog
from nvisy.codec.registry import open_registry
from nvisy.connector.descriptor import SinkDescriptor, SourceDescriptor
from nvisy.errors import CodecError, NvisyError
from nvisy.graph.validate import CheckedGraph
from nvisy.runtime.settings import Settings

OLDEST, BEYOND = (3, 11), (3, 13)
LOW_BYTES = 1 << 30
_SOME_SCHEMA = 1
_OPTIONAL = {f"nvisy-{extra}": f"pip install 'nvisy[{extra}]'" for extra in ("object", "sql", "vector")}
_PACKAGES = ("nvisy", *_OPTIONAL, "bytewax", "confluent-kafka", "apsw", "sqlite-vec")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: What it is, in a word.
        detail: How it is.
        fix: What to do, empty where nothing is to be done.
        exit_code: What `nvisy doctor` should exit with because of it.
    """

    name: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    fix: str = ""
    exit_code: int = 0


def examine(settings: Settings | None = None, catalog: Catalog | None = None) -> Iterator[Finding]:
    """Everything that can be looked at without a graph. Raises nothing."""
    settings = settings or Settings.from_environ()
    catalog = catalog or Catalog.installed()
    yield _python()
    yield from _packages()
    yield _looked(
        "log", partial(_log, settings), "start the broker, or correct NVISY_LOG; unset, it is a folder"
    )
    yield _looked("registry", partial(_registry, settings), "correct NVISY_REGISTRY_URL, _USER and _PASSWORD")
    yield _looked("sqlite", _sqlite, "pip install 'nvisy[vector]'")
    yield _looked("disk", partial(_disk, settings.state), "make room, or set NVISY_STATE to a larger disk")
    for broken in catalog.broken():
        yield Finding("plugin", "failed", str(broken), "reinstall the package that brings it", 1)
    for model in catalog.all("model"):
        if model.name.startswith("local/"):
            yield _looked(
                "model", partial(_model, catalog, model.name), "reinstall nvisy: its model is damaged"
            )


def examine_graph(checked: CheckedGraph, settings: Settings | None = None) -> Iterator[Finding]:
    """Whether what a graph's sources and sinks name can be reached. Writes nothing. Raises nothing."""
    settings = settings or Settings.from_environ()
    for node_id, node in checked.nodes.items():
        descriptor = node.descriptor
        if not isinstance(descriptor, SourceDescriptor | SinkDescriptor) or descriptor.topic is not None:
            continue
        look = partial(_end, checked, node_id, descriptor, settings)
        yield _looked(node.node.type, look, f"look at the parameters of node {node_id!r}")


def _looked(name: str, look: Callable[[], str | Finding], fix: str) -> Finding:
    """What looking came to; whatever goes wrong while looking is the finding."""
    try:
        found = look()
    except NvisyError as error:
        return Finding(name, "failed", str(error), fix, error.exit_code)
    except Exception as error:  # drivers may fail in any way, and this must not
        return Finding(name, "failed", f"{type(error).__name__}: {error}", fix, 1)
    return found if isinstance(found, Finding) else Finding(name, "ok", found)


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if OLDEST <= sys.version_info[:2] < BEYOND:
        return Finding("python", "ok", found)
    return Finding("python", "failed", found, "use Python 3.11 or 3.12: Bytewax has no wheels for others", 1)


def _packages() -> Iterator[Finding]:
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            if package in _OPTIONAL:
                yield Finding("packages", "warning", f"{package} is not installed", _OPTIONAL[package])
    yield Finding("packages", "ok", ", ".join(versions))


def _log(settings: Settings) -> str:
    if settings.log_url is None and not (settings.state / "log").exists():
        return f"embedded, in {settings.state / 'log'}, made by the first run"
    with closing(settings.open_log()) as log:
        return f"{log.url}, {len(log.topics())} topics"


def _registry(settings: Settings) -> str:
    registry = open_registry(settings.environ, settings.state)
    if not settings.environ.get("NVISY_REGISTRY_URL"):
        return f"files, {registry.url}"
    try:
        registry.schema(_SOME_SCHEMA)
    except CodecError as error:  # it answered: that it has no such schema, or one that is not Avro
        return f"{registry.url} answers ({error})"
    return f"{registry.url} answers"


def _sqlite() -> str:
    apsw = importlib.import_module("apsw")
    extension = importlib.import_module("sqlite_vec")
    with closing(apsw.Connection(":memory:")) as connection:
        connection.enable_load_extension(True)
        connection.load_extension(extension.loadable_path())
        vec = connection.execute("SELECT vec_version()").fetchone()[0]
    return f"{apsw.sqlite_lib_version()} with sqlite-vec {vec}; beyond 300,000 records pgvector or Qdrant is quicker"


def _disk(state: Path) -> str | Finding:
    there = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    said = f"{free / (1 << 30):.1f} GiB free for {state}"
    if free >= LOW_BYTES:
        return said
    return Finding("disk", "warning", said, "make room, or set NVISY_STATE to a larger disk")


def _model(catalog: Catalog, name: str) -> str | Finding:
    known, dimensions = catalog.facts(name, {})
    with closing(catalog.open_model(name, {})) as model:
        vectors = model.embed(["a word or two"]).vectors
    if vectors.shape != (1, dimensions) or not np.isfinite(vectors).all():
        return Finding("model", "failed", f"{known} gives wrong vectors", "reinstall nvisy", 1)
    return f"{known}, {dimensions} dimensions"


def _end(
    checked: CheckedGraph, node_id: str, descriptor: SourceDescriptor | SinkDescriptor, settings: Settings
) -> str:
    part = descriptor.open(checked.nodes[node_id].params, checked.context(node_id, settings.state))
    part.check()
    return f"{node_id} ({descriptor.name}) can be reached"
