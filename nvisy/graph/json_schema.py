"""The JSON Schema by which editors complete and check graph files: the models, and what is installed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nvisy.catalog import Catalog
from nvisy.connector.descriptor import ActionDescriptor, SinkDescriptor, SourceDescriptor
from nvisy.graph.model import Graph

_Descriptors = Iterable[SourceDescriptor | SinkDescriptor | ActionDescriptor]
_REFERENCE: Mapping[str, Any] = {"type": "string", "pattern": r"\$\{"}
_TEMPLATE = "#/$defs/{model}"


def graph_schema(catalog: Catalog) -> dict[str, Any]:
    """The schema (2020-12) of graphs that use this catalogue.

    Names that are not installed here stay valid, with any parameters: another machine may have them.
    """
    schema = Graph.model_json_schema(by_alias=True, ref_template=_TEMPLATE)
    parts = schema["$defs"]
    for kind, name, descriptors in (
        ("SourceNode", "provider", catalog.all("source")),
        ("SinkNode", "provider", catalog.all("sink")),
        ("ActionNode", "action", catalog.all("action")),
    ):
        parts |= _with_params(parts[kind], kind.removesuffix("Node").lower(), name, descriptors)
    parts["LoadNode"] = _load_node(parts["SinkNode"])
    parts["SinkNode"]["properties"]["type"] = {"enum": ["sink", "target"]}
    parts["ActionNode"]["properties"]["action"]["not"] = {"const": "load"}
    schema["properties"]["nodes"]["items"] = _node_of_any_kind(parts)
    schema["required"] = ["nodes", "edges"]
    schema["anyOf"] = [{"required": ["name"]}, {"required": ["id"]}]
    commented: dict[str, Any] = _commentable(schema)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Nvisy graph"}
    return {**head, **{name: part for name, part in commented.items() if name != "title"}}


def schema_text(catalog: Catalog) -> str:
    """The schema as its file holds it."""
    return json.dumps(graph_schema(catalog), indent=2, ensure_ascii=False) + "\n"


def drifted(path: Path, catalog: Catalog) -> bool:
    """Whether the file is not what the models and the catalogue say today."""
    return not path.exists() or path.read_text(encoding="utf-8") != schema_text(catalog)


def _with_params(node: dict[str, Any], kind: str, name: str, descriptors: _Descriptors) -> dict[str, Any]:
    """Let `node` know the parameters of each descriptor; returns the parts that this refers to."""
    parts: dict[str, Any] = {}
    known = []
    node["allOf"] = []
    for descriptor in descriptors:
        prefix = f"{kind}.{descriptor.name.replace('/', '.')}"
        own, needed = _params_schema(descriptor.params, prefix)
        parts |= own
        known.append({"const": descriptor.name, "description": descriptor.summary})
        then: dict[str, Any] = {"properties": {"params": {"$ref": f"#/$defs/{prefix}"}}}
        if needed:
            then["if"] = {"not": {"required": ["connection"]}}
            then["then"] = {"required": ["params"]}
        node["allOf"].append(
            {"if": {"properties": {name: {"const": descriptor.name}}, "required": [name]}, "then": then}
        )
    node["properties"][name] = {**node["properties"][name], "anyOf": [*known, {"type": "string"}]}
    return parts


def _params_schema(model: type[BaseModel], prefix: str) -> tuple[dict[str, Any], bool]:
    """The parts for one parameter model, under `prefix`, and whether some parameter has to be given.

    Any of its values may be a text with a reference in it. None is required here: a connection may hold it.
    """
    schema = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{prefix}.{{model}}")
    nested = {f"{prefix}.{name}": _referable(part) for name, part in schema.pop("$defs", {}).items()}
    needed = bool(schema.pop("required", []))
    return {prefix: _referable(schema), **nested}, needed


def _referable(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return schema | {"properties": {name: _or_reference(part) for name, part in properties.items()}}


def _or_reference(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "string" and not {"enum", "const", "pattern", "format"} & part.keys():
        return part
    outside: dict[str, Any] = {name: part[name] for name in ("description", "default") if name in part}
    inside = {name: value for name, value in part.items() if name not in outside}
    return {**outside, "anyOf": [inside, dict(_REFERENCE)]}


def _load_node(sink: dict[str, Any]) -> dict[str, Any]:
    """A sink written as an action."""
    properties = {**sink["properties"], "type": {"const": "action"}, "action": {"const": "load"}}
    required = [*sink["required"], "action"]
    return sink | {"title": "LoadNode", "properties": properties, "required": required}


def _node_of_any_kind(parts: dict[str, Any]) -> dict[str, Any]:
    """By `type`, so that an editor complains about the kind at hand and not about the six others."""
    kinds = {"source": "SourceNode", "sink": "SinkNode", "target": "SinkNode"}
    kinds |= {"branch": "BranchNode", "fanout": "FanOutNode", "fanin": "FanInNode"}
    ways = [_when({"type": {"const": kind}}, name) for kind, name in kinds.items()]
    load = {"type": {"const": "action"}, "action": {"const": "load"}}
    ways.append(_when(load, "LoadNode"))
    ways.append(_when({"type": {"const": "action"}, "action": {"not": {"const": "load"}}}, "ActionNode"))
    for name in {*kinds.values(), "LoadNode", "ActionNode"}:
        parts[name]["required"] = list(dict.fromkeys([*parts[name]["required"], "type"]))
    types = [*kinds, "action"]
    return {
        "type": "object",
        "required": ["id", "type"],
        "properties": {"type": {"enum": types}},
        "allOf": ways,
    }


def _when(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {"if": {"properties": fields, "required": ["type"]}, "then": {"$ref": f"#/$defs/{name}"}}


def _commentable(schema: Any) -> Any:
    """Allow `_comment` in every object, and drop titles that only repeat a name."""
    if isinstance(schema, list):
        return [_commentable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    walked = {name: _commentable(part) for name, part in schema.items()}
    if isinstance(walked.get("title"), str):
        del walked["title"]
    if walked.get("additionalProperties") is False:
        walked["properties"] = {**walked.get("properties", {}), "_comment": {}}
    return walked
