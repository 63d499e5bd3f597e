import subprocess
import sys
from functools import partial

import pytest

from nvisy.catalog import Catalog, NotInstalled, _Entry
from nvisy.connector.descriptor import ModelDescriptor, Params
from nvisy.primitives.primitive import Primitive
from tests.unit.graph.fakes import CATALOG, DESCRIPTORS, IndexParams, sink, source


class Invoice(Primitive):
    total: int = 0


def entry(name: str, load, group: str = "nvisy.connectors") -> _Entry:
    return _Entry(group, name, load)


def broken(_error: Exception):
    raise _error


def test_names_are_listed_without_importing():
    catalog = Catalog(
        [entry("b/x", partial(broken, AssertionError())), entry("a/x", partial(broken, AssertionError()))]
    )
    assert catalog.names("nvisy.connectors") == ("a/x", "b/x")


def test_a_name_may_be_a_source_and_a_sink():
    catalog = Catalog([entry("topic", lambda: (source("topic"), sink("topic", IndexParams)))])
    assert catalog.source("topic").summary == "files"
    assert catalog.sink("topic").summary == "index"


def test_an_unknown_name_comes_with_the_one_that_was_meant():
    with pytest.raises(NotInstalled, match=r'unknown action "embd"; did you mean "embed"\?'):
        CATALOG.action("embd")


def test_an_unknown_name_far_from_all_comes_with_all():
    with pytest.raises(NotInstalled, match=r'unknown model "gpt"; installed: local/hash, openai'):
        CATALOG.model("gpt")


@pytest.mark.parametrize(("name", "extra"), [("vector/sqlite", "vector"), ("object/files", "object")])
def test_a_well_known_name_comes_with_what_to_install(name, extra):
    with pytest.raises(NotInstalled) as caught:
        Catalog.of([]).sink(name)
    assert caught.value.hint == f"pip install 'nvisy[{extra}]'"


def test_nothing_is_said_about_installing_what_is_installed():
    with pytest.raises(NotInstalled) as caught:
        CATALOG.sink("vector/sqlit")
    assert caught.value.hint == 'did you mean "vector/sqlite"?'


def test_a_sink_is_no_source():
    with pytest.raises(NotInstalled, match='"vector/sqlite" is not a source; it is a sink'):
        CATALOG.source("vector/sqlite")


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (
            partial(broken, ImportError("No module named 'driver'\nmore")),
            "ImportError: No module named 'driver'",
        ),
        (lambda: 7, "its entry point leads to a int, which is not what nvisy.connectors holds"),
        (lambda: sink("vector/y", IndexParams), 'it calls itself "vector/y"'),
    ],
)
def test_a_broken_plugin_is_one_line_and_takes_no_other_with_it(load, reason):
    catalog = Catalog([entry("vector/x", load), entry("object/files", source)])
    assert [str(line) for line in catalog.broken()] == [f"vector/x (nvisy.connectors): {reason}"]
    assert [found.name for found in catalog.all("source")] == ["object/files"]
    with pytest.raises(NotInstalled, match='sink "vector/x" cannot be used: '):
        catalog.sink("vector/x")


def test_two_plugins_of_one_name_are_broken():
    catalog = Catalog([entry("object/files", source), entry("object/files", source)])
    assert "two installed packages" in str(catalog.broken()[0])


def test_a_plugin_is_imported_once():
    calls = []
    catalog = Catalog([entry("object/files", lambda: calls.append(1) or source())])
    catalog.source("object/files")
    catalog.all("source")
    assert calls == [1]


def test_primitives_are_listed_by_name():
    catalog = Catalog.of(DESCRIPTORS, [Invoice])
    assert catalog.names("nvisy.primitives") == ("Invoice",)
    assert catalog.all("primitive") == (Invoice,)


def test_a_model_is_named_by_itself_or_by_its_provider():
    assert CATALOG.facts("local/hash", {}) == ("local/hash@1", 256)
    assert CATALOG.facts("local/hash", {"dimensions": 64}) == ("local/hash@1", 64)
    assert CATALOG.facts("openai/text/small", {"apiKey": "k"}) == ("openai/text/small@2024", 1536)


def test_the_longest_registered_prefix_names_the_model():
    exact = ModelDescriptor("openai/tiny", "", Params, lambda _params: ("7", 3), None)
    assert Catalog.of([*DESCRIPTORS, exact]).facts("openai/tiny", {}) == ("openai/tiny@7", 3)


def test_a_model_s_wrong_parameters_are_named_without_their_values():
    with pytest.raises(NotInstalled, match='model "openai/x": apiKey: Field required'):
        CATALOG.facts("openai/x", {})


def test_a_model_is_opened_with_its_parameters():
    opened = []
    far = ModelDescriptor("far", "", IndexParams, lambda _params: ("1", 1), opened.append)
    Catalog.of([far]).open_model("far", {"collection": "c"})
    assert opened == [IndexParams(collection="c")]


def test_importing_the_catalogue_imports_no_driver():
    heavy = "bytewax,confluent_kafka,apsw,psycopg,qdrant_client,wordllama,pypdfium2"
    code = f"import nvisy.graph.validate, sys; print(set('{heavy}'.split(',')) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
