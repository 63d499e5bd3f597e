"""Which format a file is in, by its first bytes and its name."""

import re
from pathlib import PurePosixPath

from nvisy.text.extract import gz
from nvisy.text.extract.plain import looks_binary

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
HTML = "text/html"
MARKDOWN = "text/markdown"
JSONL = "application/jsonl"
JSON = "application/json"
CSV = "text/csv"
TSV = "text/tab-separated-values"
PLAIN = "text/plain"
BINARY = "application/octet-stream"

OLE_MAGIC = b"\xd0\xcf\x11\xe0"
_ZIP_MAGIC = b"PK\x03\x04"
_PDF_MAGIC = b"%PDF-"
_BOMS = (b"\xff\xfe", b"\xfe\xff")
_SNIFF_BYTES = 1024
_HTML_START = re.compile(
    rb"\s*(?:<!--.*?-->\s*)?(?:<\?xml[^>]*>\s*)?<(?:!doctype html|html)\b", re.IGNORECASE | re.DOTALL
)

_BY_SUFFIX = {
    ".pdf": PDF,
    ".docx": DOCX,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".mkd": MARKDOWN,
    ".jsonl": JSONL,
    ".ndjson": JSONL,
    ".json": JSON,
    ".csv": CSV,
    ".tsv": TSV,
    ".txt": PLAIN,
    ".text": PLAIN,
    ".rst": PLAIN,
    ".log": PLAIN,
}


def media_type_of(name: str, head: bytes) -> str:
    """The media type of a file, what its bytes prove before what its name claims.

    Args:
        name: The file's name or path; `.gz` at its end is looked through.
        head: Its first bytes, 1 KiB or more of them.

    Returns:
        One of the types `extract` reads, or `application/octet-stream` for anything else that is not text.
    """
    if head.startswith(gz.MAGIC):
        return media_type_of(name.removesuffix(".gz"), gz.peek(head))
    suffix = PurePosixPath(name.lower()).suffix
    return _by_magic(head, suffix) or _BY_SUFFIX.get(suffix) or _by_look(head)


def _by_magic(head: bytes, suffix: str) -> str | None:
    if _PDF_MAGIC in head[:_SNIFF_BYTES]:
        return PDF
    if head.startswith(_ZIP_MAGIC):
        return DOCX if suffix == ".docx" or b"word/" in head else BINARY
    if head.startswith(OLE_MAGIC):
        return DOCX if suffix in {".docx", ".doc"} else BINARY
    return None


def _by_look(head: bytes) -> str:
    if not head.startswith(_BOMS) and looks_binary(head):
        return BINARY
    return HTML if _HTML_START.match(head[:_SNIFF_BYTES]) else PLAIN
