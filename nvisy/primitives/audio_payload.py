"""A sound."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Annotated, Any

from pydantic import Field

from nvisy.primitives.payload import INT_END, Payload

MAX_CHANNELS = 1024


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
    sample_rate_hz: Annotated[int, Field(ge=1, lt=INT_END)] | None = None
    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)] | None = None
    duration_s: Annotated[float, Field(ge=0)] | None = None
    transcript: str = ""

    @classmethod
    def _has_sound_numbers(cls, fields: Mapping[str, Any]) -> bool:
        rate_hz, channels, duration_s = fields["sample_rate_hz"], fields["channels"], fields["duration_s"]
        return (
            (rate_hz is None or 1 <= rate_hz < INT_END)
            and (channels is None or 1 <= channels <= MAX_CHANNELS)
            and (duration_s is None or 0 <= duration_s < inf)
        )
