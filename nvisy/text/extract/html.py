"""HTML: what a reader of the page sees, blocks apart by blank lines, headings and lists as in Markdown.

Runs in the reader process only: a page nested a million deep keeps the parser busy for hours.
"""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from nvisy.errors import Rejected
from nvisy.text.extract.extracted import Extracted, clean
from nvisy.text.extract.plain import decode

MAX_HTML_BYTES = 16 * 2**20  # the tree takes some twenty times as much memory

_DROPPED = frozenset(
    [
        "script",
        "style",
        "noscript",
        "template",
        "nav",
        "svg",
        "iframe",
        "object",
        "head",
        "select",
        "-comment",
    ]
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_BLOCKS = frozenset(
    "address article aside blockquote body caption dd details dialog div dl dt fieldset figcaption figure "  # noqa: SIM905
    "footer form header hr legend main menu ol p pre section summary table ul h1 h2 h3 h4 h5 h6".split()
)
_LINES = frozenset(["br", "li", "tr"])
_CELLS = frozenset(["td", "th"])
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
_HEAD_BYTES = 4096
_META = {"author": "author", "description": "description", "keywords": "keywords"}


def read(content: bytes, charset: str = "") -> Extracted:
    """The visible text; `title`, `author`, `description`, `keywords` and `language` as metadata.

    Raises:
        Rejected: `binary`, `decode` or `too_large`.
    """
    if len(content) > MAX_HTML_BYTES:
        raise Rejected(
            f"the HTML page has {len(content):,} bytes, more than {MAX_HTML_BYTES:,}; split it",
            kind="too_large",
        )
    declared = _CHARSET.search(content[:_HEAD_BYTES])
    source, metadata = decode(content, charset or (declared[1].decode("ascii") if declared else ""))
    page = LexborHTMLParser(source)
    for node in page.css("head title, head meta[name], html[lang]"):
        key, value = _fact(node)
        if key and value:
            metadata.setdefault(key, clean(value))
    return Extracted(clean(_text(page.body)) if page.body else "", metadata)


def _fact(node: LexborNode) -> tuple[str, str]:
    attributes = node.attributes
    if node.tag == "title":
        return "title", " ".join(node.text().split())
    if node.tag == "html":
        return "language", attributes.get("lang") or ""
    return _META.get((attributes.get("name") or "").lower(), ""), attributes.get("content") or ""


def _text(body: LexborNode) -> str:
    """Walks the tree without recursion, for pages are nested as deep as their authors please."""
    page = _Page()
    node: LexborNode | None = body
    top = body.mem_id  # nodes compare by their whole HTML
    while node is not None:
        dropped = node.tag in _DROPPED
        if not dropped:
            page.enter(node)
        following = None if dropped else node.child
        while following is None and node is not None:
            if node.tag not in _DROPPED:
                page.leave(node)
            if node.mem_id == top:
                return page.text()
            following, node = node.next, node.parent
        node = following
    return page.text()


class _Page:
    """The text so far, and the break that must come before what follows."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._break = ""
        self._prefix = ""
        self._preformatted = 0

    def enter(self, node: LexborNode) -> None:
        tag = node.tag
        if tag == "-text":
            self._write(node.text_content or "")
        elif tag == "pre":
            self._preformatted += 1
        self._space(tag)
        if tag in _HEADINGS:
            self._prefix = _HEADINGS[tag]
        elif tag == "li":
            self._prefix = "- "

    def leave(self, node: LexborNode) -> None:
        tag = node.tag
        if tag == "pre":
            self._preformatted -= 1
        if tag != "br":
            self._space(tag)
        if tag in _HEADINGS or tag == "li":
            self._prefix = ""

    def text(self) -> str:
        return "".join(self._parts).strip("\n")

    def _space(self, tag: str | None) -> None:
        if tag in _BLOCKS:
            self._break = "\n\n"
        elif tag in _LINES and not self._break.startswith("\n"):
            self._break = "\n"
        elif tag in _CELLS and not self._break.startswith("\n"):
            self._break = " | "

    def _write(self, text: str) -> None:
        if not self._preformatted:
            text = self._folded(text)
        if not text or (text == " " and (self._break or not self._parts)):
            return
        if self._break:
            if self._parts:
                self._parts.append(self._break)
            text = text if self._preformatted else text.lstrip(" ")
            self._break = ""
        self._parts.append(self._prefix + text)
        self._prefix = ""

    def _folded(self, text: str) -> str:
        folded = " ".join(text.split())
        if not folded:
            return " " if text else ""
        return (" " if text[0].isspace() else "") + folded + (" " if text[-1].isspace() else "")
