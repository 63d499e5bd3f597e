"""An image."""

from __future__ import annotations

from nvisy.primitives.payload import Payload, Pixels


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
