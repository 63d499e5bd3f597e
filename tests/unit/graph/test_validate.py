import json
from itertools import pairwise
from pathlib import Path

import pytest

from nvisy.catalog import Catalog
from nvisy.connector.descriptor import ModelDescriptor, Params
from nvisy.connector.shape import Shape
from nvisy.errors import Unreachable
from nvisy.graph.codes import CODES
from nvisy.graph.validate import check_file
from nvisy.primitives.embedding import Embedding
from tests.unit.graph.fakes import (
    CATALOG,
    DESCRIPTORS,
    NODES,
    TextParams,
    action,
    chain,
    checked,
    faults,
    lint,
)


def said(value, **options) -> list[str]:
    found = faults(value, **options)
    assert all(fault.code in CODES for fault in found)
    return [str(fault) for fault in found]


def wired(nodes: list[dict], *edges: str, **fields) -> dict:
    """Edges written `a>b`, `route:port>b` and `a>b=topic`."""
    return {"name": "docs", "nodes": nodes, "edges": [edge_of(edge) for edge in edges], **fields}


def edge_of(text: str) -> dict:
    way, _, topic = text.partition("=")
    giver, _, taker = way.partition(">")
    giver, _, port = giver.partition(":")
    edge = {"from": giver, "to": taker} | ({"port": port} if port else {})
    return edge | ({"topic": topic} if topic else {})


FILES, TEXT, CHUNK, EMBED, INDEX = NODES.values()
LINE = ("files>text", "text>chunk", "chunk>embed", "embed>index")
JOIN = {"id": "join", "type": "fanin"}
PART = {"id": "part", "type": "fanout"}
ROUTE = {
    "id": "route",
    "type": "branch",
    "params": {"routes": [{"port": "code", "when": "text.contains('def')"}], "default": "prose"},
}


def kept(node_id: str, when: str = "text != ''") -> dict:
    return {"id": node_id, "type": "action", "action": "filter", "params": {"when": when}}


# --- a graph in order ---


def test_a_graph_in_order_knows_the_shape_of_every_edge():
    graph = checked(chain())
    assert list(graph.nodes) == ["files", "text", "chunk", "embed", "index"]
    assert [str(node.outgoing) for node in graph.nodes.values()] == [
        "raw Document",
        "Document",
        "Chunk",
        "Embedding(local/hash@1, 256 dimensions)",
        "None",
    ]
    assert graph.nodes["index"].incoming == Shape(Embedding, model="local/hash@1", dimensions=256)
    assert graph.nodes["embed"].models == ("local/hash@1",)


def test_paths_start_at_the_folder_of_the_graph(tmp_path):
    (tmp_path / "g.json").write_text(json.dumps(chain()))
    graph = check_file(tmp_path / "g.json", CATALOG, {})
    assert graph.nodes["files"].params.path == tmp_path / "docs"
    assert graph.nodes["index"].params.path == tmp_path / ".nvisy/index.db"
    assert (graph.folder, graph.file) == (tmp_path, str(tmp_path / "g.json"))


def test_absolute_paths_stay():
    files = {**FILES, "params": {"path": "/data"}}
    assert checked(chain(files=files)).nodes["files"].params.path == Path("/data")


def test_nodes_come_givers_first_whatever_their_order_in_the_file():
    value = chain()
    value["nodes"].reverse()
    assert list(checked(value).nodes) == ["files", "text", "chunk", "embed", "index"]


def test_ways_may_part_and_meet():
    graph = checked(
        wired(
            [
                FILES,
                TEXT,
                ROUTE,
                kept("a"),
                kept("b"),
                JOIN,
                CHUNK,
                PART,
                EMBED,
                INDEX,
                {**INDEX, "id": "copy"},
            ],
            *("files>text", "text>route", "route:code>a", "route:prose>b", "a>join", "b>join", "join>chunk"),
            *("chunk>part", "part>embed", "embed>index=vectors", "embed>copy=vectors"),
        )
    )
    assert str(graph.nodes["join"].outgoing) == "Document"
    assert [edge.to for edge in graph.outgoing("embed")] == ["index", "copy"]
    assert [edge.from_ for edge in graph.incoming("join")] == ["a", "b"]
    assert graph.nodes["route"].params.ports == ("code", "prose")


# --- faults: all at once, each at its place ---


def test_all_faults_come_at_once_each_with_its_place(tmp_path):
    text = """{ "name": "docs",
  "nodes": [
    {"id": "files", "type": "source", "provider": "object/fles", "params": {"path": "${DOCS}"}},
    {"id": "text", "type": "embd"},
    {"id": "chunk", "type": "action", "action": "chunk", "params": {"sise": 400, "overlap": -1}},
    {"id": "embed", "type": "embed", "params": {"model": "local/hash"}},
    {"id": "index", "type": "sink", "provider": "vector/sqlite"}
  ],
  "edges": [{"from": "files", "to": "text"}, {"from": "text", "to": "chnk"}]
}"""
    assert lint(text, tmp_path) == [
        'graph.json:3:51  NV1201  unknown source "object/fles"; did you mean "object/files"?',
        "graph.json:3:85  NV1402  DOCS is not set and has no default; set it, or write ${DOCS:-…}",
        'graph.json:4:28  NV1203  unknown node type "embd"; did you mean "embed"?',
        'graph.json:5:69  NV1211  unknown parameter "sise"; did you mean "size"?',
        'graph.json:5:93  NV1213  "overlap" has to be at least 0',
        'graph.json:6:5  NV1507  no source leads to "embed"; is an edge missing? {"from": "chunk", "to": "embed"}',
        'graph.json:6:29  NV1203  unknown node type "embed"; write "type": "action", "action": "embed"',
        'graph.json:7:5  NV1212  "collection" is missing',
        'graph.json:7:5  NV1507  no source leads to "index"; is an edge missing? {"from": "embed", "to": "index"}',
        'graph.json:9:69  NV1501  there is no node "chnk"; did you mean "chunk"?',
    ]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (
            {"files": {**FILES, "provider": "vector/sqlite"}},
            'NV1201  "vector/sqlite" is not a source; it is a sink',
        ),
        (
            {"index": {**INDEX, "provider": "object/files"}},
            'NV1201  "object/files" is not a sink; it is a source',
        ),
        (
            {"text": {**TEXT, "action": "extrakt"}},
            'NV1202  unknown action "extrakt"; did you mean "extract"?',
        ),
        ({"text": {**TEXT, "action": "qqq"}}, 'unknown action "qqq"; installed: chunk, deduplicate, embed'),
        (
            {"embed": {**EMBED, "params": {"model": "local/hsh"}}},
            '/nodes/3/params/model  NV1204  unknown model "local/hsh"; did you mean "local/hash"?',
        ),
        (
            {"embed": {**EMBED, "params": {"model": "local/hash", "dimensions": -1}}},
            '/nodes/3/params/dimensions  NV1213  model "local/hash": "dimensions" has to be at least 1',
        ),
        (
            {"chunk": {**CHUNK, "params": {"size": "many"}}},
            '/nodes/2/params/size  NV1213  "size" has to be a whole number',
        ),
        ({"files": {**FILES, "params": {}}}, '/nodes/0/params  NV1212  "path" is missing'),
        (
            {"files": {**FILES, "connection": "c1"}},
            '/nodes/0/connection  NV1207  there is no connection "c1"',
        ),
        (
            {"text": kept("text", "lng == 'en'")},
            "/nodes/1/params/when  NV1310  expression, column 1: unknown field 'lng'",
        ),
        (
            {"text": kept("text", "size(text)")},
            "/nodes/1/params/when  NV1310  expression, column 1: it gives int",
        ),
        ({"chunk": kept("chunk")}, '/nodes/3  NV1301  "embed": it takes Chunk, not Document'),
        (
            {"text": kept("text")},
            '/nodes/2  NV1301  "chunk": the documents may still be bytes; put an extract before it',
        ),
        (
            {"embed": kept("embed")},
            '/nodes/4  NV1303  "index" keeps vectors, and "embed" gives it Chunks: nothing between them makes vectors',
        ),
        (
            {"index": {**INDEX, "provider": "vector/append"}},
            '/nodes/4  NV1304  "index" cannot delete, but documents of "files" may go away',
        ),
        (
            {
                "embed": {**EMBED, "params": {"model": "local/hash", "dimensions": 301}},
                "index": {**INDEX, "provider": "vector/remote", "params": {"dsn": "x", "collection": "c"}},
            },
            "NV1305  vectors of 301 dimensions are too long: vector/remote takes up to 300",
        ),
    ],
)
def test_a_node_that_does_not_fit_is_a_fault(changed, fault):
    (found,) = said(chain(**changed))
    assert fault in found


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (wired([FILES, TEXT, CHUNK, EMBED, {**INDEX, "id": "text"}]), 'NV1105  two nodes have the id "text"'),
        (
            wired([*NODES.values()], "files>text", "text>chunk", "chunk>text", "chunk>embed", "embed>index"),
            "/edges/2  NV1502  these nodes form a cycle: text → chunk → text",
        ),
        (
            wired([*NODES.values()], "files>text", "text>text", "text>chunk", "chunk>embed", "embed>index"),
            "/edges/1  NV1502  these nodes form a cycle: text → text",
        ),
        (
            wired([*NODES.values()], "files>text", "text>chunk", "chunk>embed", "embed>index", "index>chunk"),
            '/edges/4/from  NV1503  "index" is a sink: nothing comes out of it',
        ),
        (
            wired([*NODES.values()], "files>text", "text>files", "text>chunk", "chunk>embed", "embed>index"),
            '/edges/1/to  NV1504  "files" is a source: nothing goes into it',
        ),
        ({"name": "docs"}, "/nodes  NV1505  the graph has no source"),
        ({"name": "docs"}, "/nodes  NV1506  the graph has no sink"),
        (
            wired([*NODES.values()], "files>text", "text>chunk", "embed>index"),
            '/nodes/3  NV1507  no source leads to "embed"; is an edge missing? {"from": "chunk", "to": "embed"}',
        ),
        (
            wired([*NODES.values(), kept("aside")], *LINE, "text>aside"),
            '/nodes/5  NV1508  "aside" leads to no sink',
        ),
        (
            wired([*NODES.values(), kept("aside")], *LINE, "aside>chunk"),
            '/nodes/5  NV1507  no source leads to "aside"; add an edge to it, or remove it',
        ),
        (
            wired([*NODES.values(), kept("aside")], *LINE),
            '/nodes/5  NV1507  no source leads to "aside"; add edges to it and from it, or remove it',
        ),
        (
            wired([FILES, TEXT, ROUTE, CHUNK, EMBED, INDEX], "files>text", "text>route", "route>chunk"),
            '/edges/2  NV1509  an edge from the branch "route" needs a port; one of code, prose',
        ),
        (
            wired([FILES, TEXT, ROUTE, CHUNK, EMBED, INDEX], "files>text", "text>route", "route:cod>chunk"),
            '/edges/2/port  NV1509  the branch "route" has no port "cod"; did you mean "code"?',
        ),
        (wired([*NODES.values()], "files:x>text"), '/edges/0/port  NV1510  "files" has no ports'),
        (wired([*NODES.values()], "files>text", "files>text"), "/edges/1  NV1511  there is a second edge"),
        (
            wired([*NODES.values()], "files>text=t", "text>chunk=t"),
            '/edges/1/topic  NV1514  the topic "t" is already written by "files"',
        ),
        (
            wired([*NODES.values()], "files>txt"),
            '/edges/0/to  NV1501  there is no node "txt"; did you mean "text"?',
        ),
    ],
)
def test_edges_that_cannot_be_are_faults(value, fault):
    found = said(value)
    assert any(fault in message for message in found), found


def test_a_dangling_edge_is_the_only_fault_it_makes():
    found = said(wired([*NODES.values()], "files>text", "text>chnk", "chunk>embed", "embed>index"))
    assert len(found) == 1


def test_a_broken_branch_expression_is_at_its_route():
    route = {**ROUTE, "params": {"routes": [{"port": "code", "when": "size(txt) > 1"}]}}
    (found,) = said(
        wired(
            [FILES, TEXT, route, CHUNK, EMBED, INDEX],
            *("files>text", "text>route", "route:code>chunk", "chunk>embed", "embed>index"),
        )
    )
    assert "/nodes/2/params/routes/0/when  NV1310  expression, column 6: unknown field 'txt'" in found


# --- options ---

OPTIONS = {
    "retry": {"maxRetries": 3, "backoff": "exponential", "initialDelayMs": 1000, "maxDelayMs": 30000},
    "timeout": {"nodeTimeoutMs": 30000},
    "concurrency": {"maxPerNode": 8},
}


def test_an_action_may_be_given_limits():
    assert checked(chain(embed={**EMBED, **OPTIONS}, chunk={**CHUNK, **OPTIONS}))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    ("node", "what"),
    [
        (FILES, "a source"),
        (INDEX, "a sink"),
        ({"id": "text", "type": "action", "action": "deduplicate"}, 'the action "deduplicate"'),
    ],
)
def test_an_option_that_would_do_nothing_is_a_fault(option, node, what):
    value = chain(**{node["id"]: {**node, option: OPTIONS[option]}})
    found = [fault for fault in faults(value) if fault.code == "NV1214"]
    assert [(fault.message, fault.hint) for fault in found] == [
        (f'"{option}" has no effect on {what}', "remove it")
    ]
    assert found[0].pointer.endswith(f"/{option}")


# --- ways that part and meet ---


def test_what_meets_must_be_of_one_type():
    (found,) = said(
        wired(
            [FILES, TEXT, JOIN, CHUNK, EMBED, INDEX],
            "files>text",
            "files>join",
            "text>join",
            "join>chunk",
            "chunk>embed",
            "embed>index",
        )
    )
    assert (
        'NV1302  what arrives at "join" is not of one type: raw Document from "files", Document from "text"'
        in found
    )


@pytest.mark.parametrize(
    "other", [{"model": "local/hash", "dimensions": 128}, {"model": "local/other"}], ids=str
)
def test_vectors_of_different_models_must_not_meet(other):
    hashed = ModelDescriptor("local/other", "", Params, lambda _params: ("1", 256), None)
    catalog = Catalog.of([*DESCRIPTORS, hashed])
    found = said(
        wired(
            [FILES, TEXT, CHUNK, EMBED, {**EMBED, "id": "embed2", "params": other}, INDEX],
            *("files>text", "text>chunk", "chunk>embed", "chunk>embed2", "embed>index", "embed2>index"),
        ),
        catalog=catalog,
    )
    assert len(found) == 1
    assert 'NV1302  what arrives at "index"' in found[0]


@pytest.mark.parametrize(("collection", "count"), [("docs", 1), ("other", 0)])
def test_two_sinks_must_not_put_two_models_into_one_collection(collection, count):
    value = wired(
        [
            *NODES.values(),
            {**EMBED, "id": "embed2", "params": {"model": "local/hash", "dimensions": 128}},
            {**INDEX, "id": "index2", "params": {"collection": collection}},
        ],
        *("files>text", "text>chunk", "chunk>embed", "chunk>embed2", "embed>index", "embed2>index2"),
    )
    if count:
        assert '/nodes/6  NV1306  "index2" and "index" put' in said(value)[0]
    else:
        assert checked(value)


def test_a_sink_may_take_everything_and_two_of_them_share_no_collection():
    topic = {"id": "out", "type": "sink", "provider": "topic", "params": {"topic": "events"}}
    graph = checked(
        wired(
            [*NODES.values(), topic, {**topic, "id": "out2"}],
            *("files>text", "text>chunk", "chunk>embed", "embed>index", "files>out", "embed>out2"),
        )
    )
    assert str(graph.nodes["out"].incoming) == "raw Document"


def test_a_text_that_is_no_graph_is_one_fault(tmp_path):
    assert len(lint("[]", tmp_path)) == 1
    assert len(lint('{"name": "docs", "nodes": {}}', tmp_path)) == 1


@pytest.mark.parametrize("place", ["part>a=t", "a>join=t"])
def test_a_topic_within_a_diamond_is_a_fault(place):
    edges = ["files>text", "text>part", "part>a", "part>b", "a>join", "b>join", "join>chunk"]
    edges = [place if edge == place.partition("=")[0] else edge for edge in edges]
    nodes = [FILES, TEXT, PART, kept("a"), kept("b"), JOIN, CHUNK, EMBED, INDEX]
    (found,) = said(wired(nodes, *edges, "chunk>embed", "embed>index"))
    assert 'NV1512  the topic "t" lies between ways that part and meet again' in found


def test_topics_before_and_after_a_diamond_are_fine():
    nodes = [FILES, TEXT, PART, kept("a"), kept("b"), JOIN, CHUNK, EMBED, INDEX]
    assert checked(
        wired(
            nodes,
            *(
                "files>text",
                "text>part=t",
                "part>a",
                "part>b",
                "a>join",
                "b>join",
                "join>chunk=u",
                "chunk>embed",
            ),
            "embed>index",
        )
    )


def test_a_deduplicate_within_a_diamond_is_a_fault():
    nodes = [
        FILES,
        TEXT,
        PART,
        {"id": "a", "type": "action", "action": "deduplicate"},
        kept("b"),
        JOIN,
        CHUNK,
    ]
    (found,) = said(
        wired(
            [*nodes, EMBED, INDEX],
            *("files>text", "text>part", "part>a", "part>b", "a>join", "b>join", "join>chunk", "chunk>embed"),
            "embed>index",
        )
    )
    assert '/nodes/3  NV1513  "a" compares documents between ways' in found


def test_ways_that_never_meet_may_be_cut():
    copy = {**INDEX, "id": "copy", "params": {"collection": "copy"}}
    assert checked(
        wired(
            [*NODES.values(), {**EMBED, "id": "embed2"}, copy],
            *("files>text", "text>chunk", "chunk>embed=t", "chunk>embed2=t", "embed>index", "embed2>copy=u"),
        )
    )


def test_different_sources_that_meet_are_a_union_and_may_be_cut():
    assert checked(
        wired(
            [*NODES.values(), {**FILES, "id": "more"}],
            "files>text=a",
            "more>text=b",
            "text>chunk",
            "chunk>embed",
            "embed>index",
        )
    )


# --- references and secrets ---

REMOTE = {**INDEX, "provider": "vector/remote", "params": {"dsn": "${DSN}", "collection": "c"}}
SECRET = "postgresql://u:hunter22@db/x"


def test_references_are_resolved_for_the_node_and_nowhere_else():
    graph = checked(chain(index=REMOTE), environ={"DSN": SECRET})
    assert graph.nodes["index"].params.dsn.get_secret_value() == SECRET
    assert graph.nodes["index"].node.params["dsn"] == "${DSN}"
    assert "hunter22" not in f"{graph!r} {graph.graph.to_json()}"
    assert graph.redactor.clean("cannot reach u:hunter22@db") == "cannot reach u:***@db"


def test_a_reference_may_stand_for_a_number():
    graph = checked(chain(chunk={**CHUNK, "params": {"size": "${SIZE:-300}"}}))
    assert graph.nodes["chunk"].params.size == 300


def test_an_unset_variable_is_one_fault_and_not_a_wrong_value_too():
    (found,) = said(chain(chunk={**CHUNK, "params": {"size": "${SIZE}"}}))
    assert "/nodes/2/params/size  NV1402  SIZE is not set" in found


def test_a_bad_value_from_the_environment_is_not_shown():
    (found,) = said(
        chain(index={**REMOTE, "params": {**REMOTE["params"], "distance": "${DSN}"}}), environ={"DSN": SECRET}
    )
    assert "NV1213" in found
    assert "hunter22" not in found


def test_what_a_plugin_says_is_cleaned_of_secrets():
    def shape(*_):
        raise RuntimeError(f"no luck with {SECRET}")

    catalog = Catalog.of([*DESCRIPTORS, action("plugin", TextParams, shape)])
    node = {"id": "p", "type": "action", "action": "plugin"}
    (found,) = said(
        wired(
            [FILES, node, TEXT, CHUNK, EMBED, REMOTE],
            "files>p",
            "p>text",
            "text>chunk",
            "chunk>embed",
            "embed>index",
        ),
        environ={"DSN": SECRET},
        catalog=catalog,
    )
    assert '/nodes/1  NV1205  "plugin" failed while it was checked: RuntimeError: no luck with ***' in found


# --- connections ---


def test_a_sink_takes_parameters_from_its_connection():
    sink = {**REMOTE, "params": {"collection": "c"}, "connection": "db"}
    connections = {"db": {"provider": "vector/remote", "params": {"dsn": "${DSN}", "collection": "other"}}}
    graph = checked({**chain(index=sink), "connections": connections}, environ={"DSN": SECRET})
    params = graph.nodes["index"].params
    assert (params.dsn.get_secret_value(), params.collection) == (SECRET, "c")


def test_a_fault_in_a_connection_is_placed_there():
    sink = {**REMOTE, "params": {"collection": "c"}, "connection": "db"}
    connections = {"db": {"provider": "vector/remote", "params": {"dsn": "x", "distance": "far"}}}
    (found,) = said({**chain(index=sink), "connections": connections})
    assert "/connections/db/params/distance  NV1213" in found


def test_a_connection_of_another_provider_is_a_fault():
    connections = {"db": {"provider": "openai"}}
    (found,) = said(
        {**chain(index={**REMOTE, "connection": "db"}), "connections": connections}, environ={"DSN": "x"}
    )
    assert 'NV1207  the connection "db" is for openai, not for vector/remote' in found


def test_a_model_takes_parameters_from_the_connection_of_the_action():
    embed = {**EMBED, "params": {"model": "openai/small"}, "connection": "c1"}
    connections = {"c1": {"provider": "openai", "params": {"apiKey": "${KEY}"}}}
    graph = checked({**chain(embed=embed), "connections": connections}, environ={"KEY": "sk-123456"})
    assert graph.nodes["embed"].models == ("openai/small@2024",)
    assert graph.nodes["embed"].connection == {"apiKey": "sk-123456"}
    assert "sk-123456" not in repr(graph)


def test_a_connection_of_another_model_is_a_fault():
    embed = {**EMBED, "connection": "c1"}
    (found,) = said({**chain(embed=embed), "connections": {"c1": {"provider": "openai"}}})
    assert '/nodes/3/params/model  NV1207  the connection "c1" is for openai, not for local/hash' in found


def test_a_model_that_cannot_be_used_is_a_fault():
    def facts(_params):
        raise Unreachable("models.example does not answer")

    catalog = Catalog.of([*DESCRIPTORS, ModelDescriptor("far", "", Params, facts, None)])
    (found,) = said(chain(embed={**EMBED, "params": {"model": "far"}}), catalog=catalog)
    assert 'NV1204  model "far" cannot be used: models.example does not answer' in found


# --- what later steps ask of a checked graph ---


def test_a_context_tells_a_node_where_it_is(tmp_path):
    graph = checked(chain())
    context = graph.context("embed", tmp_path)
    assert (context.folder, context.state) == (Path("/graphs"), tmp_path)
    assert str(context.incoming) == "Chunk"
    assert str(graph.context("files", tmp_path).incoming) == "raw Document"


def test_a_fault_found_later_has_a_place_too(tmp_path):
    (tmp_path / "g.json").write_text(json.dumps(chain(), indent=1))
    graph = check_file(tmp_path / "g.json", CATALOG, {})
    fault = graph.fault("NV1521", "stages wait", "/nodes/1")
    assert (fault.line, fault.column) == (12, 3)
    assert graph.topic("files") == ""


def test_a_lint_of_twenty_nodes_is_quick(tmp_path):
    filters = {f"f{i}": kept(f"f{i}") for i in range(15)}
    nodes = [FILES, TEXT, *filters.values(), CHUNK, EMBED, INDEX]
    ids = [node["id"] for node in nodes]
    (tmp_path / "g.json").write_text(json.dumps(wired(nodes, *(f"{a}>{b}" for a, b in pairwise(ids)))))
    assert len(check_file(tmp_path / "g.json", CATALOG, {}).nodes) == 20
