"""`nvisy nodes`: what a graph can be made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from nvisy.catalog import Broken, Catalog, Kind, closest
from nvisy.cli.graphs import AsJson
from nvisy.cli.output import say, say_json, say_table
from nvisy.connector.descriptor import Descriptor, SinkDescriptor, SourceDescriptor
from nvisy.errors import UsageError
from nvisy.primitives import PrimitiveTypes

_KINDS: tuple[Kind, ...] = ("source", "sink", "action", "model")


def command(
    name: Annotated[str, typer.Argument(help="One of them, with its parameters.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """List what a graph can be made of, with its parameters."""
    catalog = Catalog.installed()
    found = [(kind, part) for kind in _KINDS for part in catalog.all(kind) if name in ("", part.name)]
    primitives = [entry for entry in _primitives(catalog) if name in ("", entry["name"])]
    broken = [one for one in catalog.broken() if name in ("", one.name)]
    if name and not (found or primitives or broken):
        raise UsageError(_unknown(name, catalog))
    if as_json:
        say_json([*(_entry(kind, part) for kind, part in found), *primitives, *map(_broken, broken)])
    elif name:
        for kind, part in found:
            _show(kind, part)
        _list([], primitives, broken)
    else:
        _list(found, primitives, broken)


def _list(
    found: list[tuple[Kind, Descriptor]], primitives: list[dict[str, Any]], broken: list[Broken]
) -> None:
    rows = [(kind, part.name, part.summary) for kind, part in found]
    rows += [("primitive", entry["name"], entry["summary"]) for entry in primitives]
    if rows:
        say_table(("kind", "name", "what it is"), rows)
    for one in broken:
        say(f"broken: {one}")


def _show(kind: Kind, part: Descriptor) -> None:
    say(f"{kind} {part.name}\n  {part.summary}")
    for what, value in _abilities(part).items():
        say(f"  {what}: {_plainly(value)}")
    params = list(_params(part))
    if params:
        say("\n  parameters")
        for param in params:
            say(f"    {param['name']}: {param['type']}{_default(param)}\n        {param['description']}")
    example = getattr(part, "example", None)
    if example:
        say(f"\n  example\n    {json.dumps(_example(kind, part), ensure_ascii=False)}")
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
        "params": list(_params(part)),
        "example": example,
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


def _params(part: Descriptor) -> Iterator[dict[str, Any]]:
    schema = part.params.model_json_schema(by_alias=True)
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        yield {
            "name": name,
            "type": _type(field),
            "required": name in required,
            "default": field.get("default"),
            "description": field.get("description", ""),
        }


def _type(field: dict[str, Any]) -> str:
    """The type in words: `text`, `"cosine" or "l2"`."""
    if "enum" in field:
        return " or ".join(json.dumps(value) for value in field["enum"])
    if "const" in field:
        return json.dumps(field["const"])
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(each) for each in field["anyOf"]))
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if field.get("writeOnly"):
        return "secret text"
    words = {"string": "text", "object": "object", "array": "list", "null": "null"}
    kind = str(field.get("type", "any"))
    return words.get(kind, kind)


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
        yield {"kind": "primitive", "name": name, "summary": (cls.__doc__ or "").strip().partition("\n")[0]}


def _unknown(name: str, catalog: Catalog) -> str:
    names = [part.name for kind in _KINDS for part in catalog.all(kind)]
    hint = closest(name, names)
    return f'nothing here is called "{name}"' + (
        f"; {hint}" if hint else "; `nvisy nodes` lists all there is"
    )
