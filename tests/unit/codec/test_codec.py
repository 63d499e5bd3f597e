"""Changes and primitives, to bytes and back."""

import tempfile
from io import BytesIO
from pathlib import Path

import fastavro
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvisy.codec import Blobs, Codec
from nvisy.codec.file_registry import FileRegistry
from nvisy.errors import CodecError, Rejected
from nvisy.primitives import (
    Change,
    Chunk,
    Completion,
    Document,
    Embedding,
    Primitive,
    PrimitiveTypes,
    Provenance,
    Version,
)
from tests.unit.codec.samples import EVERY, INVOICE, ORIGIN, origins, primitives

SHARED = Codec(FileRegistry(Path(tempfile.mkdtemp())))
CHANGE = Change(ORIGIN, items=EVERY, fingerprint=b"\x00f", graph="g1", trace="00-ab-cd-01")


def read(codec, value):
    return codec.decode_change(value, topic="docs.text", partition=9, offset=900)


def test_a_change_comes_back_with_one_provenance_for_all_its_items(codec):
    change = read(codec, codec.encode_change(CHANGE, "docs.text"))
    assert change == CHANGE.with_items(tuple(item.replaced(provenance=ORIGIN) for item in EVERY))
    assert all(item.provenance is change.origin for item in change.items)


def test_a_new_change_gets_its_version_from_where_it_stands(codec):
    new = Change(Provenance("files", "a.md", run="r1"), items=(Chunk(text="x"),))
    change = read(codec, codec.encode_change(new, "docs.text", inc=4))
    assert change.origin == Provenance(
        "files", "a.md", run="r1", version=Version(4, 900), partition=9, topic="docs.text"
    )


def test_a_version_is_carried_on_through_later_topics(codec):
    first = read(codec, codec.encode_change(Change(Provenance("files", "a.md")), "docs.files", inc=1))
    later = codec.encode_change(first, "docs.embed")
    assert codec.decode_change(later, topic="docs.embed", partition=9, offset=17) == first


def test_a_delete_and_an_empty_upsert_are_two_things(codec):
    for op in ("upsert", "delete"):
        assert read(codec, codec.encode_change(Change(ORIGIN, op), "docs.text")) == Change(ORIGIN, op)


def test_a_delete_with_items_is_refused(codec):
    with pytest.raises(CodecError, match="delete that carries items"):
        read(codec, codec.encode_change(Change(ORIGIN, "delete", (Chunk(text="x"),)), "docs.text"))


def test_every_record_of_a_topic_has_the_same_schema(codec):
    deleted = codec.encode_change(Change(ORIGIN, "delete"), "docs.text")
    changed, elsewhere = codec.encode_change(CHANGE, "docs.text"), codec.encode_change(CHANGE, "other")
    assert deleted[:5] == changed[:5] == elsewhere[:5]


@pytest.mark.parametrize("item", EVERY, ids=lambda item: item.type)
def test_a_primitive_travels_alone_with_its_own_provenance(codec, item):
    for each in (item, item.replaced(provenance=ORIGIN), item.replaced(provenance=Provenance("s", "k"))):
        assert codec.decode_primitive(codec.encode_primitive(each, f"out-{item.type}")) == each


def test_types_that_share_a_topic_have_subjects_of_their_own(codec):
    values = [codec.encode_primitive(item, "out", per_type=True) for item in EVERY]
    assert [codec.decode_primitive(value) for value in values] == list(EVERY)
    codec.encode_primitive(EVERY[0], "out")
    with pytest.raises(CodecError, match="out-value holds records of schema"):
        codec.encode_primitive(EVERY[1], "out")


def test_a_refusal_can_be_had_before_the_data_comes(codec):
    codec.prepare("docs.text")
    codec.prepare("out", "Chunk")
    codec.prepare("out", "Document", per_type=True)
    for topic, primitive in (("out", ""), ("out", "Document"), ("docs.text", "Chunk"), ("x", "Unknown")):
        with pytest.raises(CodecError):
            codec.prepare(topic, primitive)


def test_a_users_own_primitive_travels_like_the_built_in_ones(codec):
    change = Change(ORIGIN, items=(INVOICE, Chunk(text="x")))
    item, _ = read(codec, codec.encode_change(change, "docs.text")).items
    assert item == INVOICE.replaced(provenance=ORIGIN)
    assert codec.decode_primitive(codec.encode_primitive(INVOICE, "bills")) == INVOICE


def test_a_primitive_that_is_not_installed_is_refused_by_name(codec):
    class Unknown(Primitive):
        pass

    for encode in (
        codec.encode_primitive,
        lambda item, topic: codec.encode_change(Change(ORIGIN, items=(item,)), topic),
    ):
        with pytest.raises(CodecError, match=r"Unknown is not among the primitives.*nvisy\.primitives"):
            encode(Unknown(), "t")


def test_a_record_of_a_type_that_is_gone_is_refused(codec, registry):
    value = codec.encode_change(Change(ORIGIN, items=(INVOICE,)), "docs.text")
    with pytest.raises(CodecError, match=r"docs\.text, partition 9, offset 900"):
        read(Codec(registry), value)
    assert read(Codec(registry), codec.encode_change(Change(ORIGIN, items=EVERY), "docs.text"))


def test_records_are_read_after_a_type_was_added(registry):
    value = Codec(registry).encode_change(CHANGE, "docs.text")
    from tests.unit.codec.samples import Invoice

    newer = Codec(registry, PrimitiveTypes([Invoice]))
    assert read(newer, value) == read(Codec(registry), value)
    assert newer.encode_change(CHANGE, "docs.text")[:5] != value[:5]


def test_a_field_that_was_added_later_gets_its_default(registry):
    def invoice(**fields):
        annotations = {"number": str, **{name: type(value) for name, value in fields.items()}}
        return type(
            "Invoice", (Primitive,), {"__annotations__": annotations, "__module__": __name__, **fields}
        )

    old, new = invoice(), invoice(scan=b"\xff", tags={"a": 1}["a"])
    value = Codec(registry, PrimitiveTypes([old])).encode_primitive(old(number="7"), "bills")
    codec = Codec(registry, PrimitiveTypes([new]))
    read_back = codec.decode_primitive(value)
    assert (read_back.number, read_back.scan, read_back.tags) == ("7", b"\xff", 1)


def test_a_field_without_a_default_cannot_be_added(registry):
    old = type("Invoice", (Primitive,), {"__annotations__": {"number": str}, "__module__": __name__})
    new = type(
        "Invoice", (Primitive,), {"__annotations__": {"number": str, "total": float}, "__module__": __name__}
    )
    value = Codec(registry, PrimitiveTypes([old])).encode_primitive(old(number="7"), "bills")
    codec = Codec(registry, PrimitiveTypes([new]))
    with pytest.raises(CodecError, match=r"Invoice\.total: has no default"):
        codec.encode_primitive(new(number="7", total=1), "bills")
    with pytest.raises(CodecError):
        codec.decode_primitive(value)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (Document(text="x").replaced(text=5), "Document.*text.*valid string"),
        (Document(text="x").replaced(title="\ud800"), "not valid Unicode|Document"),
        (Completion(text="x", model="m").replaced(input_tokens=2**64), "less than"),
        (Embedding(vector=[1], model="m").replaced(vector=None), "Embedding.*vector"),
        (Chunk(text="x").replaced(span=5), "span"),
    ],
)
def test_a_value_that_cannot_travel_is_refused_with_its_field(codec, item, said):
    with pytest.raises(CodecError, match=said):
        codec.encode_change(Change(ORIGIN, items=(item,)), "t")
    with pytest.raises(CodecError, match=said):
        codec.encode_primitive(item, f"out-{item.type}")


def test_a_refusal_does_not_quote_the_document(codec):
    secret = "the patient's name"
    with pytest.raises(CodecError) as caught:
        codec.encode_change(
            Change(ORIGIN, items=(Document(text=secret).replaced(title=5, text=[secret]),)), "t"
        )
    assert secret not in str(caught.value)


def test_a_key_that_is_not_unicode_is_refused(codec):
    with pytest.raises(CodecError, match="not valid Unicode"):
        codec.encode_change(Change(Provenance("files", "\udcff.md")), "t")


def test_a_change_beyond_the_limit_travels_by_claim_check(registry, tmp_path):
    (tmp_path / "blobs").mkdir()
    codec = Codec(registry, blobs=Blobs(tmp_path / "blobs"), max_bytes=2000)
    change = Change(ORIGIN, items=(Document(text="x" * 3000),), fingerprint=b"f")
    value = codec.encode_change(change, "docs.text")
    assert len(value) < 500
    assert read(codec, value) == change.with_items((change.items[0].replaced(provenance=ORIGIN),))


def test_the_same_items_are_the_same_blob_in_another_run(registry, tmp_path):
    (tmp_path / "blobs").mkdir()
    codec = Codec(registry, blobs=Blobs(tmp_path / "blobs"), max_bytes=2000)
    for run in ("r1", "r2"):
        codec.encode_change(Change(Provenance("s", "k", run=run), items=(Document(text="x" * 3000),)), "t")
    assert sum(path.is_file() for path in (tmp_path / "blobs").rglob("*")) == 1


def test_without_a_folder_for_blobs_it_is_too_large(registry, tmp_path):
    change = Change(ORIGIN, items=(Document(text="x" * 3000),))
    for blobs in (None, Blobs(tmp_path / "missing")):
        with pytest.raises(Rejected, match="NVISY_BLOBS") as caught:
            Codec(registry, blobs=blobs, max_bytes=2000).encode_change(change, "t")
        assert (caught.value.kind, caught.value.retryable) == ("too_large", True)


def test_a_claim_check_whose_blob_is_gone_is_rejected(registry, tmp_path):
    (tmp_path / "blobs").mkdir()
    codec = Codec(registry, blobs=Blobs(tmp_path / "blobs"), max_bytes=2000)
    value = codec.encode_change(Change(ORIGIN, items=(Document(text="x" * 3000),)), "t")
    (blob,) = (path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
    blob.unlink()
    for reader in (codec, Codec(registry)):
        with pytest.raises(Rejected, match="NVISY_BLOBS") as caught:
            read(reader, value)
        assert caught.value.kind == "decode"


def test_a_single_primitive_beyond_the_limit_is_too_large(registry):
    with pytest.raises(Rejected, match="larger than the 2000"):
        Codec(registry, max_bytes=2000).encode_primitive(Document(text="x" * 3000), "t")


def test_anybodys_record_is_read_as_it_is(codec):
    name, fields = codec.decode_record(codec.encode_primitive(INVOICE, "bills"))
    assert name == "ai.nvisy.Invoice"
    assert (fields["issued"], fields["total"], fields["due"]) == (INVOICE.issued, INVOICE.total, INVOICE.due)


def test_a_change_is_these_bytes():
    change = Change(
        Provenance("files", "a.md", run="r1", observed_at_us=1),
        items=(Embedding(vector=[1, -2], model="m@1", text="hi", span=(0, 2), metadata={"n": 1}),),
    )
    value = SHARED.encode_change(change, "docs.files", inc=2)
    golden = Path(__file__).with_name("change.golden.hex")
    assert value[5:].hex() == golden.read_text().strip()


@settings(max_examples=150, deadline=None)
@given(origins, st.lists(primitives, max_size=3), st.binary(max_size=9))
def test_whatever_is_in_a_change_comes_back(origin, items, fingerprint):
    change = Change(
        origin, items=tuple(item.replaced(provenance=origin) for item in items), fingerprint=fingerprint
    )
    assert read(SHARED, SHARED.encode_change(change, "t")) == change


@settings(max_examples=150, deadline=None)
@given(primitives, st.none() | origins)
def test_whatever_is_in_a_primitive_comes_back(item, origin):
    sent = item.replaced(provenance=origin)
    received = SHARED.decode_primitive(SHARED.encode_primitive(sent, f"out-{item.type}"))
    assert received == sent
    assert (
        received.content_hash
        == type(item).model_validate(dict(received.__dict__, content_hash="")).content_hash
    )


@pytest.mark.parametrize(
    ("renamed", "reason"),
    [
        ({"name": "body"}, "text: has no default"),
        ({"type": {"type": "array", "items": "string"}}, "text: was array"),
    ],
)
def test_a_schema_that_cannot_be_read_as_todays_is_named_with_the_field_at_fault(tmp_path, renamed, reason):
    registry = FileRegistry(tmp_path)
    ours = Codec(registry).encode_primitive(Chunk(text="one"), "ours")
    schema = orjson.loads(registry.schema(int.from_bytes(ours[1:5], "big")))
    next(field for field in schema["fields"] if field["name"] == "text").update(renamed)
    theirs = registry.register("theirs-value", orjson.dumps(schema).decode())
    value = BytesIO(b"\0" + theirs.to_bytes(4, "big"))
    value.seek(5)
    fastavro.schemaless_writer(value, fastavro.parse_schema(schema), {"body": "one", "text": ["one"]})
    with pytest.raises(CodecError, match=reason):
        Codec(registry).decode_primitive(value.getvalue())
