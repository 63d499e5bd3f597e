"""PDF, read by PDFium. Runs in the reader process only: the parser is native code and the input untrusted."""

import re

import pypdfium2  # type: ignore[import-untyped]

from nvisy.errors import Rejected
from nvisy.text.extract.extracted import MAX_CONTENT_BYTES, Extracted, Metadata, clean

MAX_PAGES = 5000
PAGE_BREAK = "\n\f\n"

_HYPHENATED = re.compile("[\x02\ufffe]\n?")
_FACTS = {
    "Title": "title",
    "Author": "author",
    "Subject": "subject",
    "Keywords": "keywords",
    "CreationDate": "created",
    "ModDate": "modified",
}


def read(content: bytes) -> Extracted:
    """The text of all pages, a form feed between them; `pages` and the document's own facts as metadata.

    Raises:
        Rejected: `encrypted`, `corrupt`, `too_large`, or `no_text` when pages hold only pictures.
    """
    document = _opened(content)
    try:
        if len(document) > MAX_PAGES:
            raise Rejected(
                f"the PDF has {len(document):,} pages, more than the {MAX_PAGES:,} that are read; split it",
                kind="too_large",
            )
        metadata: Metadata = {"pages": len(document)}
        for key, value in document.get_metadata_dict(skip_empty=True).items():
            if key in _FACTS:
                metadata[_FACTS[key]] = clean(value)
        text = PAGE_BREAK.join(_pages(document))
    finally:
        document.close()
    if not text.strip():
        raise Rejected(
            f"the PDF has {metadata['pages']} pages and no text in them, as scans have; run OCR on it first",
            kind="no_text",
        )
    return Extracted(text, metadata)


def _opened(content: bytes) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise Rejected("the PDF is encrypted; save it without a password", kind="encrypted") from None
        raise Rejected(
            "the PDF is damaged and cannot be opened; fetch or export it again", kind="corrupt"
        ) from None


def _pages(document: pypdfium2.PdfDocument) -> list[str]:
    texts: list[str] = []
    total = 0
    for number in range(len(document)):
        try:
            page = document[number]
            text = page.get_textpage().get_text_bounded()
            page.close()
        except pypdfium2.PdfiumError:
            raise Rejected(
                f"page {number + 1:,} of the PDF is damaged; repair or export it again", kind="corrupt"
            ) from None
        texts.append(_HYPHENATED.sub("", clean(text)).strip())
        total += len(text)
        if total > MAX_CONTENT_BYTES:
            raise Rejected(
                "the text of the PDF is longer than what is read into memory; split it", kind="too_large"
            )
    return texts
