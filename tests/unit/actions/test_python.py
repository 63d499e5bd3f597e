import sys
import textwrap
import types

import pytest

from nvisy.actions.python import DESCRIPTOR, PythonParams
from nvisy.connector.descriptor import Context
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import Rejected, Transient
from nvisy.primitives import Chunk, Document, Embedding

SOURCE = """
    from collections.abc import Iterator
    import helping_file
    from nvisy.errors import Transient
    from nvisy.primitives import Chunk, Document, Embedding, Primitive

    class Invoice(Primitive):
        total: int = 0

    def shout(document: Document, mark: str = "!") -> Document:
        return document.model_copy(update={"text": document.text.upper() + mark})

    def lines(document: Document) -> Iterator[Chunk]:
        for number, line in enumerate(document.text.splitlines()):
            yield Chunk(text=line, ordinal=number)

    def listed(document: Document) -> list[Chunk]:
        return list(lines(document))

    def maybe(document: Document) -> Document | None:
        return document if document.text else None

    def untyped(item):
        return item

    def marked(document: Document) -> Document:
        document.metadata["seen"] = True
        document.metadata["tags"].append("marked")
        return document

    def spoilt(document: Document) -> Document:
        document.metadata["a"] = object()
        return document

    def invoice(document: Document):
        return Invoice(total=len(document.text))

    def broken(document: Document) -> Document:
        return 1 / len(document.text)

    def quits(document: Document) -> Document:
        raise SystemExit("no")

    def busy(document: Document) -> Document:
        raise Transient("later")

    def text(document: Document) -> Document:
        return "a plain string"

    def wrong(document: Document) -> Document:
        return document.model_copy(update={"metadata": {"a": object()}})

    def half(document: Document) -> Iterator[Chunk]:
        yield Chunk(text="a")
        raise KeyError("b")

    def many(document: Document) -> Document | Chunk:
        return document

    def vector(chunk: Chunk) -> Embedding:
        return None

    def same_vector(embedding: Embedding) -> Embedding:
        return embedding

    def nowhere(document: "Nothing") -> Document:
        return document

    async def later(document: Document) -> Document:
        return document

    def two(first: Document, second: Document) -> Document:
        return first

    class Thing:
        pass

    aliased = lambda document: document
"""


@pytest.fixture
def folder(tmp_path, request):
    """A graph's folder with modules whose names no other test has."""
    name = f"steps_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(SOURCE).replace("helping_file", f"{name}_helps"))
    (tmp_path / f"{name}_helps.py").write_text("")
    return tmp_path, name


def shape(folder, function, incoming=Document, **params):
    path, name = folder
    incoming = incoming if isinstance(incoming, Shape) else Shape(incoming)
    return DESCRIPTOR.shape(
        PythonParams(function=f"{name}:{function}", folder=path, **params), incoming, None
    )


def call(folder, function, item, **params):
    path, name = folder
    context = Context(path, path, None, Shape(type(item)))
    action = DESCRIPTOR.build(PythonParams(function=f"{name}:{function}", folder=path, **params), context)
    try:
        return list(action.each(item))
    finally:
        action.close()


@pytest.mark.parametrize(
    ("function", "emitted"),
    [("shout", Document), ("lines", Chunk), ("listed", Chunk), ("maybe", Document), ("untyped", Document)],
)
def test_annotations_say_what_it_emits(folder, function, emitted):
    assert shape(folder, function) == Shape(emitted)


def test_emits_says_so_where_no_annotation_does(folder):
    assert shape(folder, "untyped", emits="Chunk") == Shape(Chunk)
    assert shape(folder, "invoice", emits="Invoice").primitive.type == "Invoice"
    with pytest.raises(ShapeMismatch, match="no primitive `Letter`") as refused:
        shape(folder, "untyped", emits="Letter")
    assert refused.value.param == "/emits"


def test_raw_documents_stay_raw_for_the_function_may_have_left_the_bytes(folder):
    assert shape(folder, "shout", Shape(Document, raw=True)) == Shape(Document, raw=True)
    assert shape(folder, "lines", Shape(Document, raw=True)) == Shape(Chunk)


def test_embeddings_keep_their_model_and_are_not_made(folder):
    incoming = Shape(Embedding, model="m@1", dimensions=8)
    assert shape(folder, "same_vector", incoming) == incoming
    with pytest.raises(ShapeMismatch, match="which model"):
        shape(folder, "vector", Chunk)


@pytest.mark.parametrize(
    ("function", "incoming", "reason"),
    [
        ("shout", Chunk, "takes Document, and Chunk comes in"),
        ("absent", Document, "has no `absent`"),
        ("aliased.x", Document, "not a name at the top of a module"),
        ("<lambda>", Document, "not a name at the top of a module"),
        ("outer.<locals>.inner", Document, "not a name at the top of a module"),
        ("Thing", Document, "is a type, not a function"),
        ("later", Document, "is async"),
        ("two", Document, "cannot be called so: missing a required argument: 'second'"),
        ("many", Document, "may return Chunk, Document"),
        ("nowhere", Document, "annotations cannot be read: NameError"),
        ("", Document, "is not `module:name`"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(folder, function, incoming, reason):
    with pytest.raises(ShapeMismatch, match=reason):
        shape(folder, function, incoming)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import surely_not_installed", "ModuleNotFoundError: No module named 'surely_not_installed'"),
        ("def f(:", r"SyntaxError: .*:1\)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_with_the_reason(tmp_path, source, reason):
    name = f"failing_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    with pytest.raises(ShapeMismatch, match=reason) as refused:
        DESCRIPTOR.shape(PythonParams(function=f"{name}:f", folder=tmp_path), Shape(Document), None)
    assert refused.value.param == "/function"


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("surely_absent:f", "no module `surely_absent` that a fresh process could import"),
        ("surely_absent.deeper:f", "no module `surely_absent`"),
        ("__main__:f", "exists in this process alone"),
        ("no_colon", "is not `module:name`"),
        ("../up:f", "is not `module:name`"),
    ],
)
def test_what_no_fresh_process_could_import_is_refused(tmp_path, function, reason):
    with pytest.raises(ShapeMismatch, match=reason):
        DESCRIPTOR.shape(PythonParams(function=function, folder=tmp_path), Shape(Document), None)


def test_a_module_made_in_this_process_is_refused(tmp_path, monkeypatch):
    module = types.ModuleType("made_here")
    module.f = lambda document: document
    monkeypatch.setitem(sys.modules, "made_here", module)
    with pytest.raises(ShapeMismatch, match="was made in this process"):
        DESCRIPTOR.shape(PythonParams(function="made_here:f", folder=tmp_path), Shape(Document), None)


def test_a_module_may_not_hide_one_that_this_process_needs(tmp_path):
    (tmp_path / "json.py").write_text("def f(document): return document")
    with pytest.raises(ShapeMismatch, match="the module name `json` is taken"):
        DESCRIPTOR.shape(PythonParams(function="json:f", folder=tmp_path), Shape(Document), None)


def test_two_graphs_may_each_have_a_module_of_one_name(tmp_path):
    for folder, result in (("a", "Document"), ("b", "Chunk"), ("a", "Document")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "steps_of_two.py").write_text(
            f"from nvisy.primitives import Document, {result} as R\ndef f(document: Document) -> R: return None"
        )
        params = PythonParams(function="steps_of_two:f", folder=tmp_path / folder)
        assert DESCRIPTOR.shape(params, Shape(Document), None).primitive.type == result
    assert not [path for path in sys.path if path.startswith(str(tmp_path))]


def test_keyword_arguments_come_from_the_graph(folder):
    (made,) = call(folder, "shout", Document(text="hey"), params={"mark": "?"})
    assert made.text == "HEY?"
    with pytest.raises(ShapeMismatch, match="unexpected keyword argument 'volume'") as refused:
        shape(folder, "shout", params={"volume": 11})
    assert refused.value.param == "/params"


def test_one_several_none_and_a_generator_are_all_understood(folder):
    document = Document(text="a\nb")
    assert [chunk.text for chunk in call(folder, "lines", document)] == ["a", "b"]
    assert [chunk.text for chunk in call(folder, "listed", document)] == ["a", "b"]
    assert call(folder, "maybe", Document(text="")) == []
    assert call(folder, "untyped", document)[0] is document


def test_what_it_writes_into_metadata_is_its_own(folder):
    document = Document(text="hey", metadata={"tags": ["first"]})
    (made,) = call(folder, "marked", document)
    assert made.metadata == {"tags": ["first", "marked"], "seen": True}
    assert document.metadata == {"tags": ["first"]}, "the same document goes on another way too"
    assert made.content_hash == Document(text="hey", metadata=made.metadata).content_hash


def test_a_copy_with_another_text_gets_the_hash_of_that_text(folder):
    (made,) = call(folder, "shout", Document(text="hey"))
    assert made.content_hash == Document(text="HEY!").content_hash


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("broken", r"broken failed at steps_\d+.py:\d+: ZeroDivisionError: division by zero"),
        ("half", r"half failed at steps_\d+.py:\d+: KeyError: 'b'"),
        ("quits", "SystemExit: no"),
        ("text", "returned a str, not Document"),
        ("wrong", "returned a wrong metadata"),
        ("spoilt", "returned a wrong metadata"),
    ],
)
def test_a_failing_function_rejects_its_document_and_says_where(folder, function, reason):
    with pytest.raises(Rejected, match=reason) as rejected:
        call(folder, function, Document(text=""))
    assert rejected.value.kind == "python"
    assert "Traceback" not in str(rejected.value)


def test_a_function_may_say_itself_that_it_is_to_be_tried_again(folder):
    with pytest.raises(Transient):
        call(folder, "busy", Document(text=""))


def test_an_edited_file_is_another_revision(tmp_path):
    params = PythonParams(function="editing:step", folder=tmp_path)
    revisions = []
    for source in ("def step(item):\n    return item\n", "def step(item):\n    return None\n"):
        (tmp_path / "editing.py").write_text(source)
        revisions.append(DESCRIPTOR.revision(params))
    assert revisions[0] != revisions[1]
    assert DESCRIPTOR.revision(params) == revisions[1]
