"""Plain text: bytes to characters.

The encoding is, in this order: the byte order mark's (UTF-8, UTF-16); the one declared; UTF-8; and if the
bytes are not UTF-8, windows-1252, which `metadata["encoding"]` then says.
"""

import codecs

from nvisy.errors import Rejected
from nvisy.text.extract.extracted import Extracted, Metadata, clean

_MARKS = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
]
_FALLBACK = "windows-1252"
_TEXT_CONTROLS = b"\t\n\r\f\b\x1b"
_CONTROLS = bytes(set(range(32)) - set(_TEXT_CONTROLS))
_SNIFF_BYTES = 8192
_NO_CHARSETS = frozenset(["idna", "punycode", "raw-unicode-escape", "unicode-escape"])


def read(content: bytes, charset: str = "") -> Extracted:
    """The text as it stands.

    Raises:
        Rejected: `binary` or `decode`.
    """
    text, metadata = decode(content, charset)
    return Extracted(text, metadata)


def decode(content: bytes, charset: str = "") -> tuple[str, Metadata]:
    """The characters of `content`, and `{"encoding": …}` when it is not UTF-8.

    Args:
        content: The bytes.
        charset: What the transport or the document declares, if anything; an unknown name is ignored.

    Raises:
        Rejected: `binary` if the bytes are no text, `decode` if they are text in an unknown encoding.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _decode(content[len(mark) :], encoding), _said(encoding)
    if looks_binary(content):
        raise Rejected(
            "the content is binary, not text; name the file after its real format, or leave it out",
            kind="binary",
        )
    encoding = _known(charset)
    if encoding:
        return _decode(content, encoding), _said(encoding)
    try:
        return clean(content.decode()), {}
    except UnicodeDecodeError:
        return _decode(content, _FALLBACK), _said(_FALLBACK)


def looks_binary(content: bytes) -> bool:
    """Whether bytes are no ASCII-compatible text: a NUL anywhere, or over 1 in 20 controls at the start."""
    head = content[:_SNIFF_BYTES]
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return 0 in content or controls * 20 > len(head)


def _decode(content: bytes, encoding: str) -> str:
    try:
        return clean(content.decode(encoding))
    except UnicodeError as error:
        at = f" at byte {error.start:,}" if isinstance(error, UnicodeDecodeError) else ""
        raise Rejected(f"the text is not valid {encoding}{at}; save it as UTF-8", kind="decode") from None


def _known(charset: str) -> str:
    """The codec's name for a declared charset, or empty when it is unknown or not one of text."""
    try:
        found = codecs.lookup(charset.strip("\"' "))
        "".encode(found.name)
    except (LookupError, ValueError):
        return ""
    if found.name in _NO_CHARSETS:
        return ""
    return "windows-1252" if found.name in {"iso8859-1", "ascii"} else found.name


def _said(encoding: str) -> Metadata:
    return {} if encoding == "utf-8" else {"encoding": encoding}
