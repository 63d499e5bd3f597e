"""Bytes from somebody who means harm, or from a broken disk: a clear refusal, never a crash."""

import struct
import tempfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvisy.codec import Codec
from nvisy.codec.codec import MAX_MESSAGE_BYTES, SLACK_BYTES
from nvisy.codec.file_registry import FileRegistry
from nvisy.errors import CodecError, Rejected
from nvisy.primitives import Change, Chunk, Document, Embedding, StructuredOutput
from tests.unit.codec.samples import EVERY, ORIGIN

REGISTRY = FileRegistry(Path(tempfile.mkdtemp()))
CODEC = Codec(REGISTRY)
CHANGE = CODEC.encode_change(Change(ORIGIN, items=EVERY, fingerprint=b"f"), "t")
ALONE = [CODEC.encode_primitive(item.replaced(provenance=ORIGIN), "t", per_type=True) for item in EVERY]


def decode(value):
    return CODEC.decode_change(value, topic="t", partition=0, offset=0)


def survives(reader, value):
    with suppress(CodecError, Rejected):
        reader(value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_behind_a_frame_are_read_or_refused(body):
    for frame in (CHANGE[:5], *(value[:5] for value in ALONE)):
        survives(decode, frame + body)
        survives(CODEC.decode_primitive, frame + body)
        survives(CODEC.decode_record, frame + body)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_a_few_bytes_is_read_or_refused(data):
    value = bytearray(data.draw(st.sampled_from([CHANGE, *ALONE])))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(5, len(value) - 1))] = data.draw(st.integers(0, 255))
    survives(decode, bytes(value))
    survives(CODEC.decode_primitive, bytes(value))


def test_no_prefix_of_a_record_is_a_record():
    for value, reader in [(CHANGE, decode), *((value, CODEC.decode_primitive) for value in ALONE)]:
        for end in range(len(value)):
            with pytest.raises(CodecError):
                reader(value[:end])


def test_nothing_may_follow_a_record():
    with pytest.raises(CodecError, match="1 bytes too many"):
        decode(CHANGE + b"\x00")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x00",
        b"\x00\x00\x00\x00",
        b"{}",
        b"\x01" + bytes(16),
        b"\x05" + CHANGE[1:],
        b"\x00\xff\xff\xff\xff\x00",
    ],
)
def test_what_names_no_known_schema_is_refused(value):
    for reader in (decode, CODEC.decode_primitive, CODEC.decode_record):
        with pytest.raises(CodecError):
            reader(value)


def test_a_refusal_says_where_the_record_stands():
    with pytest.raises(CodecError, match="docs, partition 3, offset 12: damaged record"):
        CODEC.decode_change(CHANGE[:40], topic="docs", partition=3, offset=12)


def test_more_than_a_message_holds_is_not_even_looked_at():
    with pytest.raises(CodecError, match="are more than"):
        decode(CHANGE[:5] + bytes(MAX_MESSAGE_BYTES + SLACK_BYTES))


@pytest.mark.parametrize("length", [2**40, -1, -(2**62), 2**62])
def test_a_length_that_is_not_there_takes_no_memory(length):
    zigzag, body = (length << 1) ^ (length >> 63), bytearray()
    while zigzag > 127:
        body.append(zigzag & 127 | 128)
        zigzag >>= 7
    body.append(zigzag)
    tracemalloc.start()
    with pytest.raises(CodecError):
        decode(CHANGE[:6] + bytes(body))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    "wrong",
    [
        Embedding(vector=[1, 2], model="m").replaced(vector=np.array([1, np.nan], np.float32)),
        Embedding(vector=[1, 2], model="m").replaced(vector=np.array([1, np.inf], np.float32)),
        Embedding(vector=[1, 2], model="m").replaced(dimensions=3),
        Chunk(text="x").replaced(text=""),
        Chunk(text="x", span=(0, 1)).replaced(ordinal=-1),
        EVERY[5].replaced(messages=EVERY[5].messages[:1]),
        EVERY[8].replaced(calls=EVERY[8].calls[1:]),
        StructuredOutput(value=1, schema_name="s").replaced(violations=("no",)),
    ],
)
def test_a_record_that_breaks_its_primitives_contract_is_refused(wrong):
    with pytest.raises(CodecError):
        decode(CODEC.encode_change(Change(ORIGIN, items=(wrong,)), "t"))
    with pytest.raises(CodecError):
        CODEC.decode_primitive(CODEC.encode_primitive(wrong, "t", per_type=True))


def test_invalid_utf8_is_refused():
    value = CODEC.encode_primitive(Document(text="abcdef"), "t", per_type=True)
    with pytest.raises(CodecError):
        CODEC.decode_primitive(value.replace(b"abcdef", b"abc\xff\xfef"))


def test_a_vector_of_half_a_number_is_refused():
    value = CODEC.encode_primitive(Embedding(vector=[1, 2], model="m"), "t", per_type=True)
    whole = b"\x10" + struct.pack("<ff", 1, 2)
    with pytest.raises(CodecError):
        CODEC.decode_primitive(value.replace(whole, b"\x0e" + whole[1:-1]))


def test_another_format_of_the_log_is_refused():
    # The format is the first number after the record's type.
    start = CHANGE.index(b"Change") + len(b"Change")
    assert CHANGE[start] == 2
    with pytest.raises(CodecError, match="format 2 is unknown here"):
        decode(CHANGE[:start] + b"\x04" + CHANGE[start + 1 :])


def test_a_claim_check_cannot_name_a_file_of_its_own_choice(tmp_path):
    from nvisy.codec import Blobs

    (tmp_path / "blobs").mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    for claimed in ("../secret", "/etc/passwd", "0" * 63 + "/", "A" * 64, ""):
        with pytest.raises(CodecError):
            Blobs(tmp_path / "blobs").get(claimed, 1)


def test_a_foreign_schema_that_would_crash_the_reader_is_refused():
    fields = '[{"name": "next", "type": ["null", "Chunk"]}]'
    recursive = f'{{"type": "record", "name": "Chunk", "namespace": "ai.nvisy", "fields": {fields}}}'
    schema_id = REGISTRY.register("foreign-value", recursive)
    body = b"\x00" + schema_id.to_bytes(4, "big") + b"\x02" * 100_000
    for reader in (decode, CODEC.decode_primitive, CODEC.decode_record):
        with pytest.raises(CodecError, match="refers back to itself"):
            reader(body)
