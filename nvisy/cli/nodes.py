"""`nvisy nodes`: what a graph can be made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from nvisy.catalog import Broken, Catalog, Kind, closest
from nvisy.cli.graphs import AsJson
from nvisy.cli.output import say, say_json, say_table
from nvisy.connector.descriptor import Descriptor, SinkDescriptor, SourceDescriptor
from nvisy.errors import UsageError
from nvisy.graph.model import BranchNode, FanInNode, FanOutNode, Routes
from nvisy.primitives import PrimitiveTypes

_KINDS: tuple[Kind, ...] = ("source", "sink", "action", "model")
_WAYS: tuple[type[BranchNode | FanOutNode | FanInNode], ...] = (BranchNode, FanOutNode, FanInNode)
_ROUTES = {"routes": [{"port": "code", "when": "key.endsWith('.py')"}], "default": "prose"}
_WORDS = {"string": "text", "array": "list", "integer": "whole number", "boolean": "true or false"}
_ABILITIES = ("emits", "accepts", "deletes", "guarantee")


def command(
    name: Annotated[str, typer.Argument(help="One of them, with its parameters.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """List what a graph can be made of, with its parameters."""
    catalog = Catalog.installed()
    found = [(kind, part) for kind in _KINDS for part in catalog.all(kind) if name in ("", part.name)]
    ways = [entry for entry in map(_way, _WAYS) if name in ("", entry["name"])]
    primitives = [entry for entry in _primitives(catalog) if name in ("", entry["name"])]
    broken = [one for one in catalog.broken() if name in ("", one.name)]
    if name and not (found or ways or primitives or broken):
        raise UsageError(_unknown(name, catalog))
    entries = [*(_entry(kind, part) for kind, part in found), *ways]
    if as_json:
        say_json([*entries, *primitives, *map(_broken, broken)])
    elif name:
        for entry in entries:
            _show(entry)
        _list(primitives, broken)
    else:
        _list([*entries, *primitives], broken)


def _list(entries: list[dict[str, Any]], broken: list[Broken]) -> None:
    rows = [(entry["kind"], entry["name"], entry["summary"]) for entry in entries]
    if rows:
        say_table(("kind", "name", "what it is"), rows)
    for one in broken:
        say(f"broken: {one}")


def _show(entry: dict[str, Any]) -> None:
    say(f"{entry['kind']} {entry['name']}\n  {entry['summary']}")
    for what in _ABILITIES:
        if what in entry:
            say(f"  {what}: {_plainly(entry[what])}")
    if entry["params"]:
        say("\n  parameters")
    for param in entry["params"]:
        say(f"    {param['name']}: {param['type']}{_default(param)}\n        {param['description']}")
    if entry["example"]:
        say(f"\n  example\n    {json.dumps(entry['example'], ensure_ascii=False)}")
    say("")


def _plainly(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _entry(kind: Kind, part: Descriptor) -> dict[str, Any]:
    example = _example(kind, part) if getattr(part, "example", None) else None
    return {
        "kind": kind,
        "name": part.name,
        "summary": part.summary,
        **_abilities(part),
        "params": list(_params(part.params)),
        "example": example,
    }


def _way(node: type[BranchNode | FanOutNode | FanInNode]) -> dict[str, Any]:
    """A type of node that every graph may have, whatever is installed."""
    name = str(node.model_fields["type"].default)
    takes = Routes if node is BranchNode else None
    params = {"params": _ROUTES} if takes else {}
    return {
        "kind": "node",
        "name": name,
        "summary": _first_line(node),
        "params": list(_params(takes)) if takes else [],
        "example": {"id": name, "type": name, **params},
    }


def _broken(one: Broken) -> dict[str, Any]:
    return {"kind": "broken", "name": one.name, "group": one.group, "reason": one.reason}


def _abilities(part: Descriptor) -> dict[str, Any]:
    match part:
        case SourceDescriptor():
            return {"emits": sorted(part.capabilities.emits), "deletes": part.capabilities.deletes}
        case SinkDescriptor():
            able = part.capabilities
            return {"accepts": sorted(able.accepts), "deletes": able.deletes, "guarantee": able.guarantee}
        case _:
            return {}


def _params(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    schema = model.model_json_schema(by_alias=True)
    required, parts = schema.get("required", []), schema.get("$defs", {})
    for name, field in schema.get("properties", {}).items():
        yield {
            "name": name,
            "type": _type(field, parts),
            "required": name in required,
            "default": field.get("default"),
            "description": field.get("description", ""),
        }


def _type(field: dict[str, Any], parts: Mapping[str, Any]) -> str:
    """The type in words: `text`, `"cosine" or "l2"`, `list of {port: text, when: text}`."""
    if "$ref" in field:
        field = parts[field["$ref"].rpartition("/")[2]]
    if "anyOf" in field:
        given = [_type(each, parts) for each in field["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(given))
    if "enum" in field or "const" in field:
        return " or ".join(json.dumps(value) for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array" and field.get("items"):
        return f"list of {_type(field['items'], parts)}"
    if field.get("type") == "object" and "properties" in field:
        members = (f"{name}: {_type(part, parts)}" for name, part in field["properties"].items())
        return f"{{{', '.join(members)}}}"
    if field.get("writeOnly"):
        return "secret text"
    return _WORDS.get(str(field.get("type", "any")), str(field.get("type", "any")))


def _default(param: dict[str, Any]) -> str:
    if param["required"]:
        return ", required"
    return (
        ""
        if param["default"] is None
        else f", {json.dumps(param['default'], ensure_ascii=False)} unless given"
    )


def _example(kind: Kind, part: Descriptor) -> dict[str, Any]:
    """A node as a graph writes it."""
    name = "action" if kind == "action" else "provider"
    params = dict(getattr(part, "example", {}))
    return {"id": part.name.rpartition("/")[2], "type": kind, name: part.name, "params": params}


def _primitives(catalog: Catalog) -> Iterator[dict[str, Any]]:
    for name, cls in PrimitiveTypes(catalog.all("primitive")).items():
        yield {"kind": "primitive", "name": name, "summary": _first_line(cls)}


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _unknown(name: str, catalog: Catalog) -> str:
    names = [part.name for kind in _KINDS for part in catalog.all(kind)]
    names += [_way(node)["name"] for node in _WAYS]
    hint = closest(name, names)
    return f'nothing here is called "{name}"' + (
        f"; {hint}" if hint else "; `nvisy nodes` lists all there is"
    )
