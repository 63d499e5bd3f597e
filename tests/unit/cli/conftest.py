"""A command line over a catalogue in memory, in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nvisy.catalog import Catalog
from nvisy.cli import failure
from nvisy.cli.main import call
from tests.unit.graph.fakes import CATALOG, chain


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The last line of stdout."""
        return json.loads(self.out.splitlines()[-1])


Call = Callable[..., Ended]


@pytest.fixture
def nvisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.chdir(tmp_path)
    for name in ("NVISY_LOG", "NVISY_STATE", "NVISY_REGISTRY_URL", "NVISY_BLOBS", "NVISY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Catalog, "installed", classmethod(lambda _cls: CATALOG))
    monkeypatch.setattr(failure, "_cleaners", [])

    def run(*arguments: str) -> Ended:
        code = call([str(argument) for argument in arguments])
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A graph without faults."""
    return write(tmp_path, chain())


def write(folder: Path, value: Any) -> Path:
    path = folder / "graph.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=2))
    return path
