"""Images and sounds: bytes or a claim check, proven by a hash."""

import hashlib

import pytest
from pydantic import ValidationError

from nvisy.primitives import AudioPayload, ImagePayload

DATA = b"not really a picture"
SHA256 = hashlib.sha256(DATA).hexdigest()


def test_the_hash_of_bytes_is_computed():
    assert ImagePayload(data=DATA).sha256 == SHA256


def test_bytes_and_their_claim_check_are_the_same_content():
    here = AudioPayload(data=DATA, sample_rate_hz=16000, channels=1, duration_s=0.5)
    elsewhere = AudioPayload(uri="s3://bucket/a.wav", sha256=SHA256)
    assert here.content_hash == elsewhere.content_hash


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "give the bytes as data"),
        ({"uri": "file:///a.png"}, "needs sha256"),
        ({"data": DATA, "sha256": "0" * 64}, "not the hash of data"),
        ({"uri": "file:///a.png", "sha256": "beef"}, "pattern"),
        ({"data": DATA, "width": 0}, "greater than or equal to 1"),
    ],
)
def test_what_proves_nothing_is_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        ImagePayload(**fields)
