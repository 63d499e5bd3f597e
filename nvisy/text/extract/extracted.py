"""What every format's reader returns, and the limits all of them keep."""

import re
from dataclasses import dataclass, field

from nvisy.errors import Rejected

Metadata = dict[str, str | int | float | bool | None]

MAX_CONTENT_BYTES = 64 * 2**20  # of one document, as it came and after expansion
MAX_RATIO = 100  # expanded to compressed bytes, beyond FREE_BYTES
FREE_BYTES = 2**20  # so much may come out of any archive, however small

_UNWANTED = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of one document, always encodable as UTF-8, and what the format itself says about it.

    Attributes:
        text: What a reader sees, headings as Markdown headings, blocks apart by blank lines.
        metadata: `title`, `author`, `pages`, `records`, `encoding`, … where the format has them.
    """

    text: str
    metadata: Metadata = field(default_factory=dict)


def clean(text: str) -> str:
    r"""`text` with `\n` line ends, without what no store takes: NUL characters and lone surrogates."""
    return _UNWANTED.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def check_size(byte_count: int, what: str) -> None:
    """Refuse content over the limit.

    Raises:
        Rejected: `too_large`.
    """
    if byte_count > MAX_CONTENT_BYTES:
        raise Rejected(
            f"{what} has {byte_count:,} bytes, more than the {MAX_CONTENT_BYTES:,} that are read whole; "
            "split the file, or read a file of records with the source's `format`",
            kind="too_large",
        )


def check_expansion(expanded: int, compressed: int, what: str) -> None:
    """Refuse content that grows suspiciously when it is expanded.

    Raises:
        Rejected: `too_large`, or `bomb` when the ratio is over the limit.
    """
    check_size(expanded, f"{what}, expanded,")
    if expanded > FREE_BYTES and expanded > compressed * MAX_RATIO:
        raise Rejected(
            f"{what} expands more than {MAX_RATIO} times, as archives built to exhaust memory do; "
            "expand it yourself if it is genuine",
            kind="bomb",
        )
