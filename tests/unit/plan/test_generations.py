"""What a change of a graph makes anew, from what, and under which names."""

from __future__ import annotations

from typing import Any

import pytest

from nvisy.errors import Refused
from nvisy.plan.compile import compile_graph
from nvisy.plan.generations import FIRST, Change, Layout, change_of, laid_out
from tests.unit.graph.fakes import NODES, chain, checked


def changed(**params: dict[str, Any]) -> dict[str, Any]:
    """The chain with other parameters of some nodes."""
    return chain(
        **{
            name: {**NODES[name], "params": {**NODES[name].get("params", {}), **some}}
            for name, some in params.items()
        }
    )


def between(old: dict[str, Any], new: dict[str, Any], **options: Any) -> Change:
    return change_of(checked(old), checked(new), **options)


def test_another_model_is_made_of_the_documents() -> None:
    found = between(chain(), changed(embed={"dimensions": 32}))
    assert (found.stages, found.replays) == (("text", "index"), ("docs.files",))
    assert "dimensions" in found.why["text"][0]


def test_where_the_sink_alone_changes_the_embeddings_serve() -> None:
    found = between(chain(), changed(index={"collection": "other"}))
    assert (found.stages, found.replays) == (("index",), ("docs.embed",))


def test_nothing_is_made_of_what_is_the_same_unless_it_is_wanted() -> None:
    assert between(chain(), chain()).stages == ()
    assert between(chain(), changed(files={"glob": "*.md"})).stages == (), (
        "the source lists otherwise, that is all"
    )
    assert between(chain(), chain(), anew=True).stages == ("index",)
    assert between(chain(), chain(), also=["text"]).stages == ("text", "index")


def test_a_generation_shares_what_it_does_not_make() -> None:
    graph = checked(changed(embed={"dimensions": 32}))
    plan = compile_graph(graph)
    layout = between(chain(), changed(embed={"dimensions": 32})).layout(plan, FIRST, 2, {})
    second = laid_out(plan, layout)
    assert [stage.id for stage in second.stages] == ["files", "text.2", "index.2"]
    assert [topic.name for topic in second.topics] == ["docs.files", "docs.embed.2"]
    assert second.stage("text.2").inputs == ("docs.files",)
    assert second.stage("text.2").upstream == ("files",)
    assert second.stage("index.2").generation("index") == 2
    assert [stage.config for stage in second.stages] == [stage.config for stage in plan.stages]
    third = between(changed(embed={"dimensions": 32}), changed(embed={"dimensions": 32}), anew=True)
    names = laid_out(plan, third.layout(plan, layout, 3, {}))
    assert [stage.id for stage in names.stages] == ["files", "text.2", "index.3"]
    assert [topic.name for topic in names.topics] == ["docs.files", "docs.embed.2"]


def test_the_first_generation_has_the_names_of_the_graph() -> None:
    plan = compile_graph(checked(chain()))
    assert laid_out(plan, FIRST) == plan


def test_only_own_stages_begin_elsewhere() -> None:
    """The stage that fills a shared topic, or reads it for another generation too, reads all of it."""
    plan = compile_graph(checked(chain()))
    starts = {"docs.embed": {0: 7}}
    layout = between(chain(), chain(), anew=True).layout(plan, FIRST, 2, starts)
    (inlet,) = laid_out(plan, layout).stage("index.2").inlets
    assert inlet.starts == ((0, 7),)
    assert Layout.from_json(layout.as_json()) == layout


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ({**chain(), "name": "another"}, "is one of the graph 'docs'"),
        ({**chain(), "log": {"partitions": 9}}, "keep them"),
    ],
)
def test_what_the_log_does_not_hold_is_refused(new: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        between(chain(), new)


def test_what_lies_behind_no_topic_is_refused() -> None:
    def uncut(value: dict[str, Any]) -> dict[str, Any]:
        value["edges"][0]["topic"] = False
        return value

    with pytest.raises(Refused, match="no topic lies between the source files"):
        between(uncut(chain()), uncut(changed(embed={"dimensions": 32})))
