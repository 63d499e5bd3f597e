"""Finding a user's function by name, and reading what it takes and gives from its annotations."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import traceback
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import FunctionType
from typing import Any

from nvisy.connector.shape import ShapeMismatch
from nvisy.primitives.primitive import Primitive
from nvisy.primitives.types import BUILTIN


def find(reference: str, folder: Path) -> FunctionType:
    """The function that `reference`, `module:name`, leads to for a fresh process that starts in `folder`.

    Raises:
        ShapeMismatch: A fresh process could not import it, and why.
    """
    module_name, _, name = reference.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")) or not name:
        raise _refused(f"`{reference}` is not `module:name`", "as in `steps:clean`, for `clean` in steps.py")
    if module_name == "__main__":
        raise _refused(
            "a function in `__main__` exists in this process alone", "move it to a module of its own"
        )
    if not name.isidentifier():
        raise _refused(
            f"`{name}` is not a name at the top of a module", "define the function there with `def`"
        )
    module = _imported(module_name, folder)
    function = getattr(module, name, None)
    if function is None:
        raise _refused(f"the module `{module_name}` ({_place(module)}) has no `{name}`")
    if not isinstance(function, FunctionType):
        raise _refused(f"`{reference}` is a {type(function).__name__}, not a function", "wrap it in a `def`")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise _refused(f"`{reference}` is async", "write it with a plain `def`")
    return function


def revision(reference: str, folder: Path) -> str:
    """Hash of the file that the function is written in; empty for one that has no file to be read."""
    code = find(reference, folder).__code__
    try:
        return hashlib.sha256(Path(code.co_filename).read_bytes()).hexdigest()[:12]
    except OSError:
        return ""


def check_call(function: FunctionType, params: Mapping[str, Any]) -> None:
    """Check that `function` can be called with one primitive and `params`.

    Raises:
        ShapeMismatch: It cannot.
    """
    try:
        inspect.signature(function).bind(object(), **params)
    except TypeError as error:
        signature = f"{function.__name__}{inspect.signature(function)}"
        raise ShapeMismatch(f"`{signature}` cannot be called so: {error}", param="/params") from None


def annotated(function: FunctionType) -> tuple[frozenset[type[Primitive]], frozenset[type[Primitive]]]:
    """Primitives that the first parameter and the result are annotated with; none where there is no annotation.

    Raises:
        ShapeMismatch: The annotations cannot be read.
    """
    try:
        hints = typing.get_type_hints(function)
    except Exception as error:  # evaluates what the user wrote
        raise _refused(f"its annotations cannot be read: {type(error).__name__}: {error}") from None
    first = next(iter(inspect.signature(function).parameters.values()), None)
    takes = _primitives_in(hints.get(first.name)) if first else frozenset[type[Primitive]]()
    return takes, _primitives_in(hints.get("return"))


def primitive_named(name: str, function: FunctionType) -> type[Primitive]:
    """The built-in primitive `name`, or one of the user's that the function's module knows.

    Raises:
        ShapeMismatch: There is no such primitive.
    """
    own = [
        cls for cls in function.__globals__.values() if isinstance(cls, type) and issubclass(cls, Primitive)
    ]
    known = {cls.type: cls for cls in (*BUILTIN, *own) if cls is not Primitive}
    if name not in known:
        raise ShapeMismatch(f"there is no primitive `{name}`", f"one of {', '.join(sorted(known))}", "/emits")
    return known[name]


def _primitives_in(hint: Any) -> frozenset[type[Primitive]]:
    if isinstance(hint, type) and issubclass(hint, Primitive):
        return frozenset({hint})
    return frozenset[type[Primitive]]().union(*map(_primitives_in, typing.get_args(hint)))


def _imported(name: str, folder: Path) -> Any:
    with _first_on_path(folder):
        importlib.invalidate_caches()
        try:
            _make_way(name)
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(f"{error.name}.")):
                hint = f"modules are looked for in {folder} and among what is installed"
                raise _refused(
                    f"there is no module `{error.name}` that a fresh process could import", hint
                ) from None
            raise _refused(_failure(name, error)) from None
        except (Exception, SystemExit) as error:  # whatever the user's module does when it is imported
            raise _refused(_failure(name, error)) from None


def _make_way(name: str) -> None:
    """See to it that the import finds what a fresh process would: not another graph's module of the same name.

    Raises:
        ShapeMismatch: The name belongs to a module that this process needs, or to one that has no file.
    """
    root = name.partition(".")[0]
    loaded = sys.modules.get(root)
    found = PathFinder.find_spec(root, sys.path)
    origin = getattr(getattr(loaded, "__spec__", None), "origin", None)
    is_same = found is not None and found.origin == origin
    if loaded is None:
        _of_graphs.add(root)
    elif root in _of_graphs and not is_same:
        for each in [each for each in sys.modules if each == root or each.startswith(f"{root}.")]:
            del sys.modules[each]
    elif found is None and root not in sys.builtin_module_names:
        raise _refused(f"the module `{root}` was made in this process, and a fresh one could not import it")
    elif found is not None and not is_same:
        raise _refused(f"the module name `{root}` is taken by {_place(loaded)}", "rename your module")


_of_graphs: set[str] = set()
"""Modules first imported for a graph, by the first part of their name."""


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def place_of(error: BaseException, file: str | None) -> str:
    """`steps.py:12`: the last line of `file` that the error went through, or nothing."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _failure(name: str, error: BaseException) -> str:
    where = ""
    if isinstance(error, SyntaxError):
        where = f" ({Path(error.filename or name).name}:{error.lineno})"
    return f"the module `{name}` cannot be imported: {type(error).__name__}: {error}{where}"


def _place(module: Any) -> str:
    return str(getattr(module, "__file__", "built in"))


def _refused(message: str, hint: str = "") -> ShapeMismatch:
    return ShapeMismatch(message, hint, "/function")
