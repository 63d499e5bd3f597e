"""The one way in: finds the format's reader and keeps what all formats promise."""

from nvisy.errors import Rejected
from nvisy.text.extract import gz, markdown, plain, records
from nvisy.text.extract import media_type as types
from nvisy.text.extract.extracted import Extracted, check_size
from nvisy.text.extract.media_type import media_type_of
from nvisy.text.extract.reader import SHARED

_ALIASES = {
    "application/xhtml+xml": types.HTML,
    "text/x-markdown": types.MARKDOWN,
    "application/x-ndjson": types.JSONL,
    "application/ndjson": types.JSONL,
    "application/x-jsonlines": types.JSONL,
    "application/jsonlines": types.JSONL,
    "application/xml": types.PLAIN,
    "application/yaml": types.PLAIN,
    "application/toml": types.PLAIN,
}
_UNKNOWN = frozenset(["", types.BINARY, "application/gzip", "application/x-gzip", "application/zip"])

_PROCESSED = {types.PDF: "pdf", types.DOCX: "docx"}
_TEXTS = {types.MARKDOWN: markdown.read}
_RECORDS = {
    types.JSONL: records.read_jsonl,
    types.JSON: records.read_json,
    types.CSV: records.read_csv,
    types.TSV: records.read_tsv,
}


def extract(content: bytes, media_type: str, *, name: str = "", text_field: str | None = None) -> Extracted:
    """The text of one document and what its format says about it.

    Args:
        content: The document's bytes, possibly compressed with gzip.
        media_type: Its type, with or without `; charset=…`; when empty or unspecific it is guessed.
        name: The file's name, for the guess.
        text_field: For files of records, the one field that is the text.

    Raises:
        Rejected: The document cannot be read; `kind` is `binary`, `bomb`, `corrupt`, `crash`, `decode`, `empty`,
            `encrypted`, `no_field`, `no_text`, `timeout`, `too_large`, `unsupported`.
        Transient: The process that reads PDF, Word and HTML files cannot be started.
    """
    check_size(len(content), "the document")
    if content.startswith(gz.MAGIC):
        content, name = gz.expand(content), name.removesuffix(".gz")
    kind, charset = _parsed(media_type)
    if kind in _UNKNOWN:
        kind = media_type_of(name, content)
    extracted = _read(content, kind, charset, text_field)
    if not extracted.text.strip():
        raise Rejected("the document has no text in it; leave it out with `glob`, or fill it", kind="empty")
    return extracted


def _parsed(declared: str) -> tuple[str, str]:
    kind, _, parameters = declared.lower().partition(";")
    kind = kind.strip()
    charset = parameters.partition("charset=")[2].partition(";")[0]
    return _ALIASES.get(kind, kind), charset


def _read(content: bytes, kind: str, charset: str, text_field: str | None) -> Extracted:
    if kind in _PROCESSED:
        return SHARED.read(_PROCESSED[kind], content)
    if kind == types.HTML:
        return SHARED.read("html", content, charset=charset)
    if kind in _RECORDS:
        return _RECORDS[kind](content, charset, text_field)
    if kind in _TEXTS or kind.startswith("text/"):
        return _TEXTS.get(kind, plain.read)(content, charset)
    raise Rejected(
        f"there is no reader for `{kind}`; convert the document to text, Markdown, HTML, PDF or DOCX, "
        "or extract it with a `python` node",
        kind="binary" if kind == types.BINARY else "unsupported",
    )
