import pytest

from nvisy.graph.hashing import config_hash, graph_hash
from nvisy.graph.model import Graph
from tests.unit.graph.fakes import NODES, chain, checked


def hash_of(**fields) -> str:
    return graph_hash(Graph.model_validate({**chain(), **fields}, by_alias=True))


def config_of(node_id: str, environ=None, **changed) -> str:
    return checked(chain(**changed), environ=environ).nodes[node_id].config_hash


CHUNK, EMBED = NODES["chunk"], NODES["embed"]


def test_the_order_in_the_file_does_not_matter():
    turned = chain()
    assert hash_of(nodes=turned["nodes"][::-1], edges=turned["edges"][::-1]) == hash_of()


@pytest.mark.parametrize(
    "field", [{"description": "x"}, {"metadata": {"a": 1}}, {"$schema": "x"}, {"id": "docs"}]
)
def test_what_has_no_effect_does_not_count(field):
    assert hash_of(**field) == hash_of()


@pytest.mark.parametrize("field", [{"name": "other"}, {"log": {"partitions": 2}}, {"edges": []}])
def test_what_has_an_effect_counts(field):
    assert hash_of(**field) != hash_of()


def test_a_default_written_out_changes_nothing():
    written = {**CHUNK, "retry": {"maxRetries": 3}}
    assert hash_of(nodes=chain(chunk=written)["nodes"]) == hash_of()
    assert config_of("chunk", chunk={**CHUNK, "params": {"size": 400, "overlap": 0}}) == config_of("chunk")


@pytest.mark.parametrize("params", [{"size": 401}, {"size": 400, "overlap": 1}])
def test_a_parameter_changes_the_configuration_of_its_node_alone(params):
    changed = {**CHUNK, "params": params}
    assert config_of("chunk", chunk=changed) != config_of("chunk")
    assert config_of("embed", chunk=changed) == config_of("embed")


def test_how_a_node_is_called_and_retried_is_not_its_configuration():
    assert config_of("chunk", chunk={**CHUNK, "retry": {"maxRetries": 9}}) == config_of("chunk")


def test_a_model_revision_is_part_of_the_configuration():
    node = checked(chain()).nodes["embed"]
    assert config_hash(node.node, node.params, ["local/hash@2"]) != node.config_hash
    assert config_hash(node.node, node.params, ["local/hash@1"]) == node.config_hash


def test_a_secret_leaves_no_trace_in_a_hash():
    changed = {**CHUNK, "params": {"size": "${SIZE}"}}
    hashes = {config_of("chunk", {"SIZE": size}, chunk=changed) for size in ("10", "20")}
    assert len(hashes) == 1


def test_hashes_have_a_fixed_length():
    assert (len(hash_of()), len(config_of("chunk"))) == (32, 8)


def test_the_code_behind_a_node_is_part_of_its_configuration():
    node = checked(chain()).nodes["chunk"].node
    hashes = {config_hash(node), config_hash(node, revision="one"), config_hash(node, revision="two")}
    assert len(hashes) == 3
