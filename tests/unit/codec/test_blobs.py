"""Blobs: content-addressed, written once, proven when read."""

import hashlib

import pytest

from nvisy.codec import Blobs
from nvisy.codec.blobs import MAX_BLOB_BYTES
from nvisy.errors import CodecError, Rejected


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path)


def test_what_was_put_is_got_and_lies_where_it_says(blobs, tmp_path):
    sha256 = blobs.put(b"data")
    assert sha256 == blobs.put(b"data") == hashlib.sha256(b"data").hexdigest()
    assert blobs.get(sha256, 4) == b"data"
    assert (tmp_path / blobs.where(sha256)).read_bytes() == b"data"
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 1


def test_a_blob_that_was_tampered_with_is_refused(blobs, tmp_path):
    sha256 = blobs.put(b"data")
    (tmp_path / blobs.where(sha256)).write_bytes(b"atad")
    with pytest.raises(CodecError, match="is not what was written"):
        blobs.get(sha256, 4)
    with pytest.raises(CodecError, match="is not what was written"):
        blobs.get(sha256, 5)


def test_a_claim_to_more_than_is_possible_is_not_believed(blobs):
    for size in (-1, MAX_BLOB_BYTES + 1):
        with pytest.raises(CodecError, match="not believed"):
            blobs.get("0" * 64, size)


def test_a_folder_that_is_not_there_is_said_when_it_is_needed(tmp_path):
    with pytest.raises(Rejected, match="NVISY_BLOBS") as caught:
        Blobs(tmp_path / "missing").put(b"data")
    assert caught.value.kind == "too_large"


def test_the_folder_is_the_one_named_or_the_default(tmp_path):
    assert Blobs.open({"NVISY_BLOBS": str(tmp_path)}, tmp_path / "default").folder == tmp_path
    assert not (tmp_path / "default").exists()
    assert Blobs.open({}, tmp_path / "default").folder.is_dir()
    assert Blobs.open({}, None) is None
