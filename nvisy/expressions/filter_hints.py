"""How to write in a search filter what it has no form for."""

from __future__ import annotations

import sys

from nvisy.expressions.filter_tree import Field
from nvisy.expressions.syntax import Node, entry_of

_SUPPORTED = (
    "a filter compares key, source_uri or metadata.NAME with a string, a number, true or false "
    "(== != < <= > >=, in […]), asks has(metadata.NAME) or 'text' in metadata.NAME, and joins with && || !"
)
_COMPUTED = "let a `map` node compute it into a metadata field, and compare that field"
_INSTEAD_OF = {
    "coalesce": "a field that is missing makes its comparison false; ask has(metadata.NAME) or !has(metadata.NAME)",
    "_?_:_": "say it with && and ||",
    "_[_]": "a field of metadata is named by a text, as in metadata['x-y']",
}
_CONVERSIONS = frozenset({"string", "int", "uint", "double", "bool", "bytes", "dyn"})
IN_A_TEXT = (
    "a filter cannot look for a part of a text: compare all of it, as in key == 'a.md' or key in ['a.md', 'b.md']; "
    "'text' in metadata.NAME looks into a list"
)


def hint_for(node: Node) -> str:
    """What to write instead of `node`, if anything comes near it, and what is supported."""
    instead = _instead(node)
    return f"{instead}; {_SUPPORTED}" if instead else _SUPPORTED


def _instead(node: Node) -> str:
    if node.kind == "call":
        return _instead_of_call(node)
    if node.kind == "list":
        return "ask for one of its elements, as in 'text' in metadata.NAME"
    if node.kind == "other":
        return "ask what a list holds with 'text' in metadata.NAME"
    if node.kind == "ident":
        return "name a field of it, metadata.NAME" if node.name == "metadata" else ""
    if node.kind == "select" and entry_of(node) is None:
        return "metadata has one level of fields; one whose name has a dot is metadata['a.b']"
    return ""


def _instead_of_call(node: Node) -> str:
    name, on = node.name, written(node.children[0])
    if name == "startsWith" and on and isinstance(prefix := node.children[-1].value, str) and prefix:
        return _range(on, prefix)
    if name == "contains" and on and on.startswith("metadata"):
        return (
            f"if it is a list, write {_quoted(node.children[-1].value)} in {on}; if it is a text, {_COMPUTED}"
        )
    if name in _CONVERSIONS:
        return "values keep the type they have in metadata: compare with a value of that type"
    return _INSTEAD_OF.get(name, _COMPUTED)


def _range(field: str, prefix: str) -> str:
    """Texts that begin with `prefix`, as the range that they are."""
    last = ord(prefix[-1])
    if last >= sys.maxunicode or 0xD7FF <= last < 0xE000:  # there is no next character
        return _COMPUTED
    end = prefix[:-1] + chr(last + 1)
    return f"write {field} >= {_quoted(prefix)} && {field} < {_quoted(end)}"


def written(node: Node) -> str | None:
    """A field as a filter writes it, or None for what is no field."""
    if node.kind == "ident":
        return node.name
    entry = entry_of(node)
    return None if entry is None or node.kind == "has" else _path(entry)


def _path(field: Field) -> str:
    root, name = field
    return f"{root}.{name}" if name.isidentifier() else f"{root}[{_quoted(name)}]"


def _quoted(value: object) -> str:
    return repr(value) if isinstance(value, str) else "'…'"
