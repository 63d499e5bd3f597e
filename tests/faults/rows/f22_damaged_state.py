"""F22: a file of the state is damaged, cut short, gone, or an older copy; the index, or the log, is an older copy."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.cell import Cell
from tests.faults.matrix import CHAIN, SMALLEST, Row
from tests.faults.stores import SqliteStore

REFUSED = 6
STOPPED = (1, 3, REFUSED)
"""What a run may end with that found a damaged file, if it says which."""
BESIDE = ("-wal", "-shm")
WHOLE = (SMALLEST, ("chain", "kafka", "sqlite"))
WHOLE_SHARE, SHARE, QUICK_SHARE = 0.15, 0.06, 0.05
"""Of what can be done to files: another part with each seed, and a smaller one where only the store differs."""
Harm = Callable[[Path, Path], None]
"""Does it to a file; the second is an older copy of it."""


def play(cell: Cell) -> None:
    """A run refuses and names the file, or repairs what was lost; afterwards everything is as the sources are."""
    cell.source.fill(24)
    cell.run()
    _change(cell)
    cell.run()
    cell.judge()
    old = _copy(cell)
    _change(cell)
    cell.run()
    cell.judge()
    chance = random.Random(f"{cell.setting.seed}/F22")
    share = QUICK_SHARE if cell.setting.quick else WHOLE_SHARE if _is_whole(cell) else SHARE
    for kind, path in _files(cell, old):
        for what, harm in HARMS.items():
            if cell.setting.only == f"{kind}/{what}" or (not cell.setting.only and chance.random() < share):
                with cell.saying(f"--only {kind}/{what}"):
                    _harm(cell, path, old / path.relative_to(cell.folder), harm)
    for what, restore in _older_copies(cell):
        if cell.setting.only in ("", what):
            with cell.saying(f"--only {what}"):
                _older(cell, restore, old)
    cell.finish(repeats=True)


def _is_whole(cell: Cell) -> bool:
    return (cell.setting.shape, cell.setting.log, cell.setting.store) in WHOLE


def _harm(cell: Cell, path: Path, older: Path, harm: Harm) -> None:
    cell.tally.runs += 1
    good = cell.folder / "good"
    _put(cell.state, good)
    _change(cell)
    harm(path, older)
    code = cell.ended(cell.spawn(), 120)
    if code in STOPPED:
        said = cell.said().rpartition(" | ")[2]
        cell.expect(
            path.stem in said or "--adopt" in said, f"exit code {code}, and it did not say why: {said}"
        )
        _put(good, cell.state)
        cell.run()
    elif code not in (0, 4):
        cell.fail(f"exit code {code}: {cell.said()}")
    cell.judge()


def _older(cell: Cell, restore: Callable[[Path], None], old: Path) -> None:
    """No copy is refused, whatever is newer than what."""
    cell.tally.runs += 1
    _change(cell)
    cell.run()
    _change(cell)
    restore(old)
    code = cell.ended(cell.spawn(), 120)
    if code == REFUSED and "--adopt" in cell.said():
        cell.note("an older copy of the log needs --adopt")
        cell.run("--adopt")
    elif code not in (0, 4):
        cell.fail(f"exit code {code}: {cell.said()}")
    cell.judge()


def _change(cell: Cell) -> None:
    """Edits; nothing fails in the end, since what is in the dead letters while a pass is swept leaves the index."""
    cell.source.edit()
    for key in cell.oracle.letters():
        cell.source.write(key, cell.source.document(2))


def _files(cell: Cell, old: Path) -> Iterator[tuple[str, Path]]:
    """One file of each kind below the state, by its kind."""
    kinds: set[str] = set()
    for path in sorted(cell.state.rglob("*")):
        if not path.is_file() or path.name.endswith(BESIDE):
            continue
        kind = str(path.relative_to(cell.state)).replace(f"{cell.name}.", "")
        if "schemas" in kind:
            kind = str(Path(kind).parent.name).removesuffix("-value")
        if kind not in kinds and (old / path.relative_to(cell.folder)).exists():
            kinds.add(kind)
            yield kind, path


def _corrupt(path: Path, _older: Path) -> None:
    """Noise all over it, its first bytes included."""
    found = bytearray(path.read_bytes())
    noise = random.Random(len(found))
    for at in range(0, len(found), 97):
        found[at : at + 16] = noise.randbytes(min(16, len(found) - at))
    _without_beside(path)
    path.write_bytes(found)


def _corrupt_within(path: Path, _older: Path) -> None:
    """Noise from the second page on: it opens, and what it says is wrong."""
    found = bytearray(path.read_bytes())
    noise = random.Random(len(found))
    for at in range(4096, len(found), 512):
        found[at : at + 64] = noise.randbytes(min(64, len(found) - at))
    _without_beside(path)
    path.write_bytes(found)


def _truncate(path: Path, _older: Path) -> None:
    _without_beside(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path, _older: Path) -> None:
    _without_beside(path)
    path.write_bytes(b"")


def _delete(path: Path, _older: Path) -> None:
    _without_beside(path)
    path.unlink()


def _restore(path: Path, older: Path) -> None:
    _without_beside(path)
    for one in (older, *(older.with_name(older.name + end) for end in BESIDE)):
        if one.exists():
            shutil.copy2(one, path.with_name(one.name))


def _without_beside(path: Path) -> None:
    for end in BESIDE:
        path.with_name(path.name + end).unlink(missing_ok=True)


HARMS: dict[str, Harm] = {
    "corrupt": _corrupt,
    "corrupt_within": _corrupt_within,
    "truncated": _truncate,
    "emptied": _empty,
    "deleted": _delete,
    "older": _restore,
}


def _older_copies(cell: Cell) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Of the index, of the whole state under a newer index, of the log alone, and all of them."""
    state = cell.state.name
    if isinstance(cell.store, SqliteStore):
        yield "older_index", lambda old: _put_index(cell, old, cell.folder)
        yield "older_index_and_state", lambda old: _both(cell, old)
    yield "older_state", lambda old: _put(old / state, cell.state)
    if cell.setting.log == "embedded":
        yield "older_log", lambda old: _put(old / state / "log", cell.state / "log")


def _both(cell: Cell, old: Path) -> None:
    _put(old / cell.state.name, cell.state)
    _put_index(cell, old, cell.folder)


def _copy(cell: Cell) -> Path:
    """Everything as it is now."""
    old = cell.folder / "old"
    _put(cell.state, old / cell.state.name)
    _put_index(cell, cell.folder, old)
    return old


def _put(origin: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(origin, target)


def _put_index(cell: Cell, origin: Path, target: Path) -> None:
    if isinstance(cell.store, SqliteStore):
        _without_beside(target / cell.store.path.name)
        for end in ("", *BESIDE):
            name = cell.store.path.name + end
            if (origin / name).exists():
                shutil.copy2(origin / name, target / name)


ROW = Row("F22", "a file of the state damaged, gone or old; an older index, an older log", play, where=CHAIN)
