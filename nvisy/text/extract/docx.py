"""Word documents (.docx). Runs in the reader process only: a zip of XML, and the input untrusted."""

import io
import re
import zipfile
from collections.abc import Iterator

import docx
from docx.document import Document
from docx.table import Table
from docx.text.paragraph import Paragraph

from nvisy.errors import Rejected
from nvisy.text.extract.extracted import Extracted, Metadata, check_expansion, clean
from nvisy.text.extract.media_type import OLE_MAGIC

MAX_ENTRIES = 10_000


_HEADING = re.compile(r"Heading ([1-6])\Z")
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


def read(content: bytes) -> Extracted:
    """Paragraphs, headings, lists and tables in order; `title`, `author`, … as metadata.

    Raises:
        Rejected: `encrypted`, `unsupported`, `corrupt`, `too_large` or `bomb`.
    """
    if content.startswith(OLE_MAGIC):
        if _ENCRYPTED in content:
            raise Rejected("the Word document is encrypted; save it without a password", kind="encrypted")
        raise Rejected("this is the older Word format; save the document as .docx", kind="unsupported")
    try:
        _check_archive(content)
        document = docx.Document(io.BytesIO(content))
        return Extracted(clean("\n\n".join(_blocks(document))), _facts(document))
    except (Rejected, MemoryError):
        raise
    except Exception:  # the library raises whatever its XML happens to break
        raise Rejected(
            "the Word document is damaged, or no .docx; open it in Word and save it again", kind="corrupt"
        ) from None


def _check_archive(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise Rejected(
            f"the Word document holds {len(entries):,} files, more than {MAX_ENTRIES:,}; split it",
            kind="too_large",
        )
    check_expansion(sum(entry.file_size for entry in entries), len(content), "the Word document")


def _blocks(document: Document) -> Iterator[str]:
    for block in document.iter_inner_content():
        text = _table(block) if isinstance(block, Table) else _paragraph(block)
        if text:
            yield text


def _paragraph(paragraph: Paragraph) -> str:
    text = paragraph.text.strip()
    name = (paragraph.style.name if paragraph.style else None) or ""
    if not text:
        return ""
    if heading := _HEADING.match(name):
        return "#" * int(heading[1]) + " " + text
    if name == "Title":
        return "# " + text
    return "- " + text if name.startswith("List") else text


def _table(table: Table) -> str:
    rows = []
    for row in table.rows:
        cells = {id(cell._tc): " ".join(cell.text.split()) for cell in row.cells}  # a merged cell comes twice
        rows.append(" | ".join(cells.values()))
    return "\n".join(rows)


def _facts(document: Document) -> Metadata:
    facts = document.core_properties
    found: Metadata = {
        "title": facts.title,
        "author": facts.author,
        "subject": facts.subject,
        "keywords": facts.keywords,
        "created": facts.created.isoformat() if facts.created else None,
        "modified": facts.modified.isoformat() if facts.modified else None,
    }
    return {key: clean(str(value)) for key, value in found.items() if value}
