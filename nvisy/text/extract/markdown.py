"""Markdown: the text as it is written, its front matter as metadata."""

import re

from nvisy.text.extract.extracted import Extracted, Metadata
from nvisy.text.extract.plain import decode

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)??(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_PAIR = re.compile(r"^([A-Za-z][\w-]{0,63})[ \t]*:[ \t]*(.*)$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+(\S.*?)[ \t#]*$|^(\S[^\n]*)\n=+[ \t]*$", re.MULTILINE)


def read(content: bytes, charset: str = "") -> Extracted:
    """The text without its front matter, whose `key: value` lines (only those of one line) are metadata.

    Raises:
        Rejected: `binary` or `decode`.
    """
    text, metadata = decode(content, charset)
    front = _FRONT_MATTER.match(text)
    if front:
        metadata |= _pairs(front[1] or "")
        text = text[front.end() :]
    if "title" not in metadata and (heading := _HEADING.search(text)):
        metadata["title"] = heading[1] or heading[2].strip()
    return Extracted(text, metadata)


def _pairs(front: str) -> Metadata:
    return {key: value for key, raw in _PAIR.findall(front) if (value := raw.strip().strip("\"'"))}
