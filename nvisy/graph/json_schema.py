"""The JSON Schema by which editors complete and check graph files: the models, and what is installed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nvisy.catalog import Catalog
from nvisy.connector.descriptor import (
    ActionDescriptor,
    Descriptor,
    ModelDescriptor,
    SinkDescriptor,
    SourceDescriptor,
)
from nvisy.graph.misspelling import other_than
from nvisy.graph.model import Graph
from nvisy.models.limits import Limits

_Descriptors = Sequence[SourceDescriptor | SinkDescriptor | ActionDescriptor]
_REFERENCE: Mapping[str, Any] = {"type": "string", "pattern": r"\$\{"}
_TEMPLATE = "#/$defs/{model}"


def graph_schema(catalog: Catalog) -> dict[str, Any]:
    """The schema (2020-12) of graphs that use this catalogue.

    Names that are not installed here stay valid, with any parameters, since another machine may have them; those that
    are one slip away from an installed one do not.
    """
    schema = Graph.model_json_schema(by_alias=True, ref_template=_TEMPLATE)
    parts = schema["$defs"]
    sources, sinks, actions = catalog.all("source"), catalog.all("sink"), catalog.all("action")
    models: Sequence[ModelDescriptor] = catalog.all("model")
    for kind, name, descriptors, others in (
        ("SourceNode", "provider", sources, sinks),
        ("SinkNode", "provider", sinks, sources),
        ("ActionNode", "action", actions, ()),
    ):
        parts |= _with_params(parts[kind], kind.removesuffix("Node").lower(), name, descriptors)
        parts[kind]["properties"][name] |= _named(descriptors, others)
    for action in actions:
        _with_models(parts[f"action.{action.name}"], models)
    parts |= _with_connections(parts["Connection"], [*sources, *sinks, *models])
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
    """Let `node` know the parameters of each descriptor; returns the parts that this refers to.

    What a descriptor cannot do without is required where the node names no connection that may hold it.
    """
    parts: dict[str, Any] = {}
    node["allOf"] = []
    for descriptor in descriptors:
        prefix = _prefix(kind, descriptor)
        own, needed = _params_schema(descriptor.params, prefix)
        parts |= own
        then: dict[str, Any] = {"properties": {"params": {"$ref": f"#/$defs/{prefix}"}}}
        if needed:
            then["if"] = {"not": {"required": ["connection"]}}
            then["then"] = {"required": ["params"], "properties": {"params": {"required": needed}}}
        node["allOf"].append(_where(name, descriptor.name, then))
    return parts


def _with_connections(connection: dict[str, Any], descriptors: Iterable[Descriptor]) -> dict[str, Any]:
    """Let a connection know whose parameters it may hold; returns the parts that this refers to."""
    parts: dict[str, Any] = {
        "connection.limits": _params_schema(Limits, "connection.limits")[0]["connection.limits"]
    }
    connection["properties"]["limits"]["$ref"] = "#/$defs/connection.limits"
    known: dict[str, list[Descriptor]] = {}
    for descriptor in descriptors:
        known.setdefault(descriptor.name, []).append(descriptor)
    connection["allOf"] = []
    for name, several in known.items():
        ways = []
        for descriptor in several:
            prefix = _prefix(_kind(descriptor), descriptor)
            if isinstance(descriptor, ModelDescriptor):
                parts |= _params_schema(descriptor.params, prefix)[0]
            ways.append({"$ref": f"#/$defs/{prefix}"})
        params = ways[0] if len(ways) == 1 else {"anyOf": ways}
        connection["allOf"].append(_where("provider", name, {"properties": {"params": params}}))
    connection["properties"]["provider"] |= _named([several[0] for several in known.values()])
    return parts


def _with_models(params: dict[str, Any], models: Sequence[ModelDescriptor]) -> None:
    """Let the parameter `model` of an action know the models."""
    if params["properties"].get("model", {}).get("type") != "string":
        return
    own = [model for model in models if "model" not in model.params.model_fields]
    named = [
        {"type": "string", "pattern": f"^{model.name}/.+", "description": model.summary}
        for model in models
        if model not in own
    ]
    known = _named(own)["anyOf"]
    known[-1]["pattern"] += "[^/]+/.+"  # behind a provider's name comes the provider's own
    params["properties"]["model"] |= {"anyOf": [*known[:-1], *named, known[-1], dict(_REFERENCE)]}


def _named(descriptors: Iterable[Descriptor], others: Iterable[Descriptor] = ()) -> dict[str, Any]:
    """A name of one of these, or one that is not known here; none of `others`, which are of another kind."""
    known = [{"const": one.name, "description": one.summary} for one in descriptors]
    names = [one.name for one in descriptors]
    foreign = {one.name for one in others} - set(names)
    return {"anyOf": [*known, {"type": "string", "pattern": other_than(names, foreign)}]}


def _where(name: str, value: str, then: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {name: {"const": value}}, "required": [name]}, "then": then}


def _prefix(kind: str, descriptor: Descriptor) -> str:
    return f"{kind}.{descriptor.name.replace('/', '.')}"


def _kind(descriptor: Descriptor) -> str:
    return type(descriptor).__name__.removesuffix("Descriptor").lower()


def _params_schema(model: type[BaseModel], prefix: str) -> tuple[dict[str, Any], list[str]]:
    """The parts for one parameter model, under `prefix`, and the names of those that have to be given.

    Any of its values may be a text with a reference in it. None is required here: a connection may hold it.
    """
    schema = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{prefix}.{{model}}")
    nested = {f"{prefix}.{name}": _referable(part) for name, part in schema.pop("$defs", {}).items()}
    needed: list[str] = schema.pop("required", [])
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
