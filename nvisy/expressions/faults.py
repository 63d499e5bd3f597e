"""What CEL says about an expression that does not compile or a record it fails on, in words for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from nvisy.errors import ExpressionError
from nvisy.expressions.fields import FieldType

FUNCTIONS = (
    *("contains", "startsWith", "endsWith", "matches", "size", "lowerAscii", "upperAscii", "trim", "replace"),
    *("split", "join", "substring", "indexOf", "lastIndexOf", "charAt", "reverse", "format"),
    *("string", "int", "uint", "double", "bool", "bytes", "timestamp", "duration", "type", "dyn"),
    *("has", "all", "exists", "exists_one", "filter", "map", "coalesce"),
)

_PLACED = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?: \[[A-Z_]+\])?$", re.MULTILINE)
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '(.*)'")
_RUNTIME_OVERLOAD = re.compile(r"No matching overloads found : (?:\((\w+)\)\.)?([^\s()]+)(?:\((.*)\))?$")

_SYNTAX: tuple[tuple[re.Pattern[str], str, str | None], ...] = (
    (re.compile(r"token recognition error at: '= ?.*'"), "a single '='", "compare with =="),
    (re.compile(r"(?:extraneous|mismatched) input 'and' .*"), "unexpected 'and'", "write && for and"),
    (re.compile(r"(?:extraneous|mismatched) input 'or' .*"), "unexpected 'or'", "write || for or"),
    (re.compile(r"(?:extraneous|mismatched) input 'not' .*"), "unexpected 'not'", "write ! for not"),
    (re.compile(r".*input '<EOF>' .*"), "the expression ends too early", None),
    (re.compile(r"(?:extraneous|mismatched) input '(.*)' expecting .*"), r"unexpected \1", None),
    (re.compile(r"token recognition error at: '(.*)'"), r"unexpected \1", None),
    (
        re.compile(r"has\(\) argument must be a field selection"),
        "has(…) asks for a field of a map, as in has(metadata.lang)",
        "where the name is no word, write 'x-y' in metadata",
    ),
)

_COMPARED = re.compile(r"[=<>]\s*$")
_TOO_DEEP = re.compile(r"recursion (?:depth|limit)")
_TYPE_NAMES = {"null_type": "null", "int64": "int", "uint64": "uint"}


def compile_error(said: str, text: str, fields: Mapping[str, FieldType]) -> ExpressionError:
    """The error for `text`, which the compiler refused with the words `said`.

    The column counts from the start of the expression, also when it has several lines.
    """
    if _TOO_DEEP.search(said):
        return ExpressionError("the expression is nested too deeply", hint="32 levels, or terms of a sum, go")
    placed = _PLACED.search(said)
    if placed is None:
        return ExpressionError(_without_codes(said))
    line, column, message = int(placed[1]), int(placed[2]), placed[3]
    column += sum(len(row) + 1 for row in text.split("\n")[: line - 1])
    if unknown := _UNDECLARED.search(message):
        return _unknown_name(unknown[1], text, column, fields)
    if overload := _OVERLOAD.search(message):
        return _no_overload(overload[1], overload[2], column)
    return _syntax_error(message.removeprefix("Syntax error: "), column)


def runtime_cause(said: str) -> str:
    """Why an evaluation failed, from the words of CEL's error."""
    if overload := _RUNTIME_OVERLOAD.search(said):
        operands = _type_list(", ".join(filter(None, (overload[1], overload[3])))) or "these values"
        return f"{operator_name(overload[2])} cannot be applied to {operands}"
    if said.startswith("NOT_FOUND: Key not found in map : "):
        name = said.removeprefix("NOT_FOUND: Key not found in map : ").strip('"')
        return f"there is no entry {name!r}; ask with has(…) or give a default with coalesce(…, …)"
    if "Iteration budget exceeded" in said:
        return "its loops run for too many rounds"
    if "construction from null" in said:
        return "the text holds half of a surrogate pair, which is not valid Unicode"
    if "Applying SELECT to non-message type" in said:
        return "an entry is looked up in a value that is not a map"
    return _without_codes(said)


def operator_name(function: str) -> str:
    """CEL's name of an operator (`_+_`) or a function as people write it, quoted."""
    written = {"_[_]": "[ ]", "_?_:_": "? :"}.get(function, function.strip("_@"))
    return f"'{written}'"


def _unknown_name(name: str, text: str, column: int, fields: Mapping[str, FieldType]) -> ExpressionError:
    before = text[: column - 1].rstrip()
    if text[column - 1 : column] == "(" and before.endswith(name):
        return _unknown_function(name, len(before) - len(name) + 1)
    root = name.partition(".")[0]
    column = text.rfind(root, 0, column + len(root) - 1) + 1
    close = get_close_matches(root, fields, n=1) or [
        f"{m}.{root}" for m in fields if fields[m] is FieldType.MAP
    ]
    meant = f"did you mean {close[0]!r}? " if close else ""
    if _COMPARED.search(text[: column - 1]):
        meant = f"a text is written in quotes, {root!r}; "
    hint = f"{meant}fields: {', '.join(sorted(fields)) or 'none'}"
    return ExpressionError(f"unknown field {root!r}", column=column, hint=hint)


def _unknown_function(name: str, column: int) -> ExpressionError:
    if name in FUNCTIONS:
        return ExpressionError(f"{name} is used with the wrong arguments", column=column)
    close = get_close_matches(name, FUNCTIONS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"functions: {', '.join(FUNCTIONS)}"
    return ExpressionError(f"unknown function {name!r}", column=column, hint=hint)


def _no_overload(function: str, types: str, column: int) -> ExpressionError:
    given = _type_list(types.removeprefix("(").removesuffix(")"))
    message = f"{operator_name(function)} cannot be applied to {given}"
    return ExpressionError(message, column=column, hint=_overload_hint(function, types))


def _overload_hint(function: str, types: str) -> str | None:
    if function == "_?_:_":
        return "a bool comes before the '?', and both results have one type"
    if function == "@in" and types.endswith(("string)", "wrapper(string))")):
        return "to look for a part of a text write contains('…')"
    if function in {"_[_]", "@in"}:
        return None
    if "string" in types and re.search(r"\b(int|double|uint)\b", types):
        return "string(x) turns a number into text, int(x) and double(x) turn text into a number"
    if "int" in types and "double" in types:
        return "double(x) turns an int into a double"
    return None


def _syntax_error(message: str, column: int) -> ExpressionError:
    for pattern, meaning, hint in _SYNTAX:
        if match := pattern.fullmatch(message):
            return ExpressionError(match.expand(meaning), column=column, hint=hint)
    return ExpressionError(message, column=column)


def _type_list(types: str) -> str:
    words = re.sub(r"wrapper\((\w+)\)", r"\1 or null", types)
    words = re.sub(r"\w+", lambda word: _TYPE_NAMES.get(word[0], word[0]), words)
    return words.replace(", ", " and ") if words.count(", ") == 1 else words


def _without_codes(said: str) -> str:
    return re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", said)
