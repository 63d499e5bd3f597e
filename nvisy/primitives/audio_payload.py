"""A sound."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nvisy.primitives.payload import Payload


class AudioPayload(Payload):
    """A sound recording, as bytes or as a claim check.

    Attributes:
        media_type: MIME type.
        sample_rate_hz: Samples a second, or None where it is not known.
        channels: 1 for mono, 2 for stereo, …, or None where it is not known.
        duration_s: Length in seconds, or None where it is not known.
        transcript: What is said, or empty.
    """

    media_type: str = "audio/wav"
    sample_rate_hz: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    channels: Annotated[int, Field(ge=1, le=1024)] | None = None
    duration_s: Annotated[float, Field(ge=0)] | None = None
    transcript: str = ""
