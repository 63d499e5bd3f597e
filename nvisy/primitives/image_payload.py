"""An image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvisy.primitives.payload import INT_END, Payload, Pixels


class ImagePayload(Payload):
    """An image, as bytes or as a claim check.

    Attributes:
        media_type: MIME type.
        width: Pixels across, or None where it is not known.
        height: Pixels down, or None where it is not known.
        caption: What it shows, in words, or empty.
    """

    media_type: str = "image/png"
    width: Pixels | None = None
    height: Pixels | None = None
    caption: str = ""

    @classmethod
    def _has_sound_numbers(cls, fields: Mapping[str, Any]) -> bool:
        width, height = fields["width"], fields["height"]
        return (width is None or 1 <= width < INT_END) and (height is None or 1 <= height < INT_END)
