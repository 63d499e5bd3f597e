from nvisy.graph.diamonds import inside_diamonds
from nvisy.graph.model import Edge, Graph, SourceNode
from nvisy.graph.wiring import Wiring


def inside(*edges: str, sources: str = "s") -> tuple[set[str], set[str]]:
    """Edges and nodes within diamonds of a graph whose nodes are single letters."""
    ids = sorted({end for edge in edges for end in edge})
    nodes = [
        SourceNode(id=i, provider="p") if i in sources else {"id": i, "type": "action", "action": "a"}
        for i in ids
    ]
    graph = Graph(name="g", nodes=nodes, edges=[Edge(from_=e[0], to=e[1]) for e in edges])
    found = inside_diamonds(Wiring.of_graph(graph))
    return {edges[place] for place in found.edges}, set(found.nodes)


def test_a_chain_has_no_inside():
    assert inside("sa", "ab") == (set(), set())


def test_inside_is_what_only_some_ways_go_through():
    assert inside("sa", "ab", "ac", "bd", "cd", "de") == ({"ab", "ac", "bd", "cd"}, {"b", "c"})


def test_one_way_may_be_an_edge_alone():
    assert inside("sa", "ab", "ad", "bd") == ({"ab", "ad", "bd"}, {"b"})


def test_between_two_diamonds_is_outside():
    edges, nodes = inside("sa", "ab", "ac", "bd", "cd", "de", "ef", "eg", "fh", "gh")
    assert "de" not in edges
    assert nodes == {"b", "c", "f", "g"}


def test_a_diamond_in_a_diamond_is_inside_with_its_ends():
    assert inside("sa", "ab", "bc", "bd", "ce", "de", "ef", "af")[1] == {"b", "c", "d", "e"}


def test_ways_that_never_meet_have_no_inside():
    assert inside("sa", "ab", "ac") == (set(), set())


def test_sources_that_meet_have_no_inside():
    assert inside("sa", "tb", "ac", "bc", sources="st") == (set(), set())


def test_sources_that_share_a_diamond_have_an_inside():
    assert inside("sa", "ta", "ab", "ac", "bd", "cd", sources="st")[1] == {"b", "c"}
