"""`nvisy explain --acls` against a broker that allows nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.servers.kafka import KafkaServer

pytestmark = pytest.mark.kafka

_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
}


def nvisy(kafka: KafkaServer, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ,
        "NVISY_LOG": f"kafka+ssl://{kafka.sasl_bootstrap}",
        "NVISY_KAFKA_SASL_MECHANISM": "PLAIN",
        "NVISY_KAFKA_SASL_USERNAME": kafka.guest,
        "NVISY_KAFKA_SASL_PASSWORD": kafka.password,
        "NVISY_KAFKA_SSL_CA_LOCATION": str(kafka.ca_path),
    }
    command = [sys.executable, "-c", "from nvisy.cli.main import main; main()", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=100
    )


def last_object(ended: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(ended.stdout.splitlines()[-1])


def grant(kafka: KafkaServer, rights: list[dict[str, Any]]) -> None:
    patterns = {"literal": ResourcePatternType.LITERAL, "prefixed": ResourcePatternType.PREFIXED}
    wanted = [
        AclBinding(
            _RESOURCES[right["resource"]],
            right["name"],
            patterns[right["pattern"]],
            f"User:{kafka.guest}",
            "*",
            _OPERATIONS[operation],
            AclPermissionType.ALLOW,
        )
        for right in rights
        for operation in right["operations"]
    ]
    owner = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in owner.create_acls(wanted).values():
        future.result(timeout=10)


@pytest.mark.timeout(300)
def test_a_graph_runs_with_the_rights_that_are_printed_and_not_without(
    kafka: KafkaServer, tmp_path: Path, unique_name: str
) -> None:
    nodes: list[dict[str, Any]] = [
        {"id": "files", "type": "source", "provider": "object/files", "params": {"path": "docs"}},
        {"id": "text", "type": "action", "action": "extract"},
        {"id": "embed", "type": "action", "action": "embed", "params": {"model": "local/hash"}},
        {
            "id": "index",
            "type": "sink",
            "provider": "vector/sqlite",
            "params": {"path": "index.db", "collection": "docs"},
        },
    ]
    edges = [
        {"from": "files", "to": "text"},
        {"from": "text", "to": "embed"},
        {"from": "embed", "to": "index"},
    ]
    graph = {"name": unique_name, "log": {"partitions": 2}, "nodes": nodes, "edges": edges}
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("alpha beta")

    refused = nvisy(kafka, tmp_path, "run", "graph.json", "--json")
    assert refused.returncode in (3, 6)
    assert "Traceback" not in refused.stderr

    grant(kafka, last_object(nvisy(kafka, tmp_path, "explain", "graph.json", "--acls", "--json")))
    first = nvisy(kafka, tmp_path, "run", "graph.json", "--json")
    assert (first.returncode, last_object(first)["written"]) == (0, 1), first.stdout + first.stderr
    again = nvisy(kafka, tmp_path, "run", "graph.json", "--json")
    assert (again.returncode, last_object(again)["written"]) == (0, 0), again.stdout + again.stderr
    listed = nvisy(kafka, tmp_path, "topics", "read", f"{unique_name}.files", "--json")
    assert last_object(listed)["key"] == "files/a.md"
