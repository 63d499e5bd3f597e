"""What a change of a graph makes its next run do over."""

from __future__ import annotations

from typing import Any

from nvisy.plan.diff import GraphDiff, diff
from tests.unit.graph.fakes import NODES, chain, checked


def changed(**nodes: Any) -> dict[str, Any]:
    """The chain of the fakes, with other parameters in some nodes."""
    return chain(
        **{
            name: {**NODES[name], "params": {**NODES[name].get("params", {}), **params}}
            for name, params in nodes.items()
        }
    )


def between(old: dict[str, Any], new: dict[str, Any]) -> GraphDiff:
    return diff(checked(old), checked(new))


def effects(found: GraphDiff) -> dict[str, str]:
    return {stage.stage: stage.effect for stage in found.stages}


def test_the_same_graph_does_nothing_over() -> None:
    found = between(chain(), {**chain(), "description": "the same"})
    assert found.is_same
    assert (found.nodes, found.refused, found.remarks) == ((), (), ())


def test_another_chunker_is_run_from_the_documents_on_and_the_index_gets_everything_again() -> None:
    found = between(chain(), changed(chunk={"size": 300}))
    (stage,) = (one for one in found.stages if one.effect == "reads_again")
    assert stage.effect == "reads_again"
    assert stage.why == ("chunk: size 400 → 300",)
    assert stage.models == ("local/hash@1",)
    assert effects(found)["index"] == "gets_again"
    assert effects(found)["files"] == "same"
    assert [(node.node, node.change) for node in found.nodes] == [("chunk", "changed")]
    assert not found.refused


def test_vectors_of_another_model_are_refused_by_the_collection_until_it_has_another_name() -> None:
    new = changed(embed={"dimensions": 64})
    found = between(chain(), new)
    assert any("256 dimensions" in one and "64 dimensions" in one for one in found.refused)
    found = between(chain(), changed(embed={"dimensions": 64}, index={"collection": "other"}))
    assert not found.refused
    assert effects(found)["index"] == "reads_again"


def test_another_collection_is_filled_from_the_topic_before_it_and_no_model_is_asked() -> None:
    found = between(chain(), changed(index={"collection": "other"}))
    assert {name for name, effect in effects(found).items() if effect != "same"} == {"index"}
    (stage,) = (one for one in found.stages if one.effect != "same")
    assert stage.why == ("index writes into another collection",)
    assert stage.models == ()


def test_a_source_that_looks_elsewhere_is_listed_and_nothing_is_read_again() -> None:
    found = between(chain(), changed(files={"glob": "*.md"}))
    assert effects(found)["files"] == "lists_again"
    assert {effect for name, effect in effects(found).items() if name != "files"} == {"same"}


def test_another_graph_has_nothing_in_common() -> None:
    found = between(chain(), {**chain(), "name": "another"})
    assert set(effects(found).values()) == {"reads_again"}
    assert any('give it another "collection"' in one for one in found.refused)
    assert found.remarks


def test_topics_keep_their_partitions() -> None:
    found = between({**chain(), "log": {"partitions": 4}}, {**chain(), "log": {"partitions": 8}})
    assert any("keep them" in one for one in found.refused)


def test_without_a_topic_behind_the_source_an_edit_counts_from_now_on() -> None:
    """What a source said is kept nowhere: what has not changed there since is not made anew."""

    def uncut(value: dict[str, Any]) -> dict[str, Any]:
        value["edges"][0]["topic"] = False
        return value

    found = between(uncut(chain()), uncut(changed(chunk={"size": 300})))
    assert effects(found)["files"] == "from_now_on"
    assert any("--adopt" in reason for one in found.stages for reason in one.why)
