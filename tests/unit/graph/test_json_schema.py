import json

import pytest
from jsonschema import Draft202012Validator

from nvisy.graph.json_schema import drifted, graph_schema, schema_text
from tests.unit.graph.fakes import CATALOG, NODES, chain

SCHEMA = graph_schema(CATALOG)
VALIDATOR = Draft202012Validator(SCHEMA)
FILES, _, CHUNK, EMBED, INDEX = NODES.values()


def errors(value) -> list[str]:
    return [f"/{'/'.join(map(str, error.path))} {error.message}" for error in VALIDATOR.iter_errors(value)]


def test_it_is_a_valid_schema():
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "value",
    [
        chain(),
        {**chain(), "$schema": "./graph.schema.json", "_comment": "x"},
        chain(index={**INDEX, "type": "target"}),
        chain(index={**INDEX, "type": "action", "action": "load"}),
        chain(chunk={**CHUNK, "params": {"size": "${SIZE}"}}),
        chain(chunk={**CHUNK, "_comment": "x", "params": {"size": 4, "_comment": "x"}}),
        chain(chunk={"id": "chunk", "type": "action", "action": "somebody-else", "params": {"x": 1}}),
        chain(chunk={"id": "chunk", "type": "action", "action": "redact"}),
        chain(index={"id": "index", "type": "sink", "provider": "acme/table", "params": {"x": 1}}),
        chain(index={"id": "index", "type": "sink", "provider": "vector/milvus"}),
        chain(embed={**EMBED, "params": {"model": "openai/text-embedding-3-small"}}),
        chain(embed={**EMBED, "params": {"model": "acme/letters"}}),
        chain(embed={**EMBED, "params": {"model": "${MODEL:-local/hash}"}}),
        chain(index={"id": "index", "type": "sink", "provider": "vector/remote", "connection": "db"}),
        {
            **chain(),
            "connections": {"c1": {"provider": "acme", "params": {"x": 1}, "limits": {"maxInFlight": 4}}},
        },
        {
            "id": "x",
            "nodes": [
                {"id": "a", "type": "fanin"},
                {"id": "b", "type": "branch", "params": {"routes": [{"port": "p", "when": "true"}]}},
            ],
            "edges": [
                {"from": "a", "to": "b", "topic": False},
                {"from": "b", "port": "p", "to": "c", "topic": "t"},
            ],
            "connections": {"c1": {"provider": "openai", "params": {"apiKey": "${KEY}"}}},
        },
    ],
)
def test_editors_accept_what_the_loader_accepts(value):
    assert errors(value) == []


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"nodes": [], "edges": []}, "/ "),
        ({**chain(), "node": []}, "'node' was unexpected"),
        (chain(chunk={**CHUNK, "params": {"sise": 1}}), "/nodes/2/params "),
        (chain(chunk={**CHUNK, "params": {"size": 0}}), "/nodes/2/params/size "),
        (chain(chunk={**CHUNK, "type": "embd"}), "/nodes/2/type 'embd' is not one of"),
        (chain(index={"id": "i", "type": "sink"}), "'provider' is a required property"),
        (
            chain(index={"id": "i", "type": "sink", "provider": "vector/remote"}),
            "'params' is a required property",
        ),
        (chain(files={**FILES, "params": {}}), "/nodes/0/params 'path' is a required property"),
        (chain(files={**FILES, "provider": "object/fles"}), "/nodes/0/provider "),
        (chain(files={**FILES, "provider": "vector/sqlite"}), "/nodes/0/provider "),
        (chain(index={**INDEX, "provider": "vector/sqllite"}), "/nodes/4/provider "),
        (chain(chunk={**CHUNK, "action": "chnk"}), "/nodes/2/action "),
        (chain(chunk={**CHUNK, "action": "chunks"}), "/nodes/2/action "),
        (chain(chunk={**CHUNK, "action": "cuhnk"}), "/nodes/2/action "),
        (chain(chunk={**CHUNK, "action": ""}), "/nodes/2/action "),
        (chain(embed={**EMBED, "params": {"model": "local/hsh"}}), "/nodes/3/params/model "),
        (chain(embed={**EMBED, "params": {"model": "openai"}}), "/nodes/3/params/model "),
        (chain(embed={**EMBED, "params": {}}), "/nodes/3/params 'model' is a required property"),
        (
            {**chain(), "connections": {"c1": {"provider": "openai", "params": {"apiKye": "x"}}}},
            "/connections/c1/params ",
        ),
        ({**chain(), "connections": {"c1": {"provider": "opnai"}}}, "/connections/c1/provider "),
        (
            {**chain(), "connections": {"c1": {"provider": "openai", "limits": {"maxInFlight": 0}}}},
            "/connections/c1/limits/maxInFlight ",
        ),
        (chain(chunk={**CHUNK, "id": "a b"}), "/nodes/2/id "),
        (chain(chunk={**CHUNK, "retry": {"backoff": "linear"}}), "/nodes/2/retry/backoff "),
        ({**chain(), "edges": [{"from": "a", "to": "b", "topic": True}]}, "/edges/0/topic "),
    ],
)
def test_editors_refuse_what_the_loader_refuses(value, error):
    assert any(error in found for found in errors(value)), errors(value)


def test_a_parameter_brings_its_description():
    assert SCHEMA["$defs"]["action.chunk"]["properties"]["size"]["description"] == "Characters of a chunk."


def test_the_text_is_the_same_each_time():
    assert schema_text(CATALOG) == schema_text(CATALOG)
    assert json.loads(schema_text(CATALOG)) == SCHEMA


def test_drift_is_noticed(tmp_path):
    path = tmp_path / "graph.schema.json"
    assert drifted(path, CATALOG)
    path.write_text(schema_text(CATALOG))
    assert not drifted(path, CATALOG)
    path.write_text(schema_text(CATALOG).replace("Characters", "Signs"))
    assert drifted(path, CATALOG)
