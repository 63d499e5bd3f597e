"""Confluent's wire format, in its three forms."""

from uuid import UUID

import pytest

from nvisy.codec.framing import HEADER, frame, unframe
from nvisy.errors import CodecError

GUID = UUID(int=0x0123456789ABCDEF0123456789ABCDEF)


def test_a_frame_is_a_zero_byte_and_the_number():
    assert frame(258) == b"\x00\x00\x00\x01\x02"
    assert unframe(frame(258) + b"body") == (258, 5)


def test_a_guid_may_stand_before_the_body_or_in_a_header():
    assert unframe(b"\x01" + GUID.bytes + b"body") == (GUID, 17)
    assert unframe(b"body", [("other", b"x"), (HEADER, b"\x01" + GUID.bytes)]) == (GUID, 0)
    assert unframe(b"body", [(HEADER, frame(7))]) == (7, 0)


@pytest.mark.parametrize("value", [b"", b"\x00\x00\x00\x01", b"\x01" + GUID.bytes[:15], b"{}", b"\x02" * 20])
def test_anything_else_is_refused(value):
    with pytest.raises(CodecError, match="wire format"):
        unframe(value)
