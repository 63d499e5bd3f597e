"""`extract` and `media_type_of`: every format's text, and a clear refusal for everything else."""

import gzip
import io
import zipfile

import docx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nvisy.errors import Rejected
from nvisy.text.extract import Extracted, extract, media_type_of

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
TYPES = ["text/plain", "text/markdown", "text/html", "application/pdf", DOCX, "application/jsonl", "text/csv"]
TYPES += [
    "application/json",
    "text/tab-separated-values",
    "",
    "application/octet-stream",
    "text/html; charset=x",
]


def pdf(*pages, title="", encrypted=False):
    """A PDF with one line of Helvetica on each page; `encrypted` names a password nobody knows."""
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        f"<< /Title ({title}) /Author (Ada) >>",
    ]
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    for at, line in enumerate(pages):
        stream = f"BT /F1 12 Tf 20 100 Td ({line}) Tj ET" if line else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 200] /Resources {font} /Contents {5 + 2 * at} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    lock = (
        f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{'41' * 32}> /U <{'42' * 32}> /P -44 >> /ID [<00> <00>]"
    )
    return (
        out
        + (
            f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
            f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info 3 0 R {lock if encrypted else ''} >>\n"
            f"startxref\n{len(out)}\n%%EOF\n"
        ).encode()
    )


def word():
    """A .docx with a title, a heading, a paragraph, a list item and a table with a merged row."""
    document = docx.Document()
    document.add_heading("The title", 0)
    document.add_heading("A section", 2)
    document.add_paragraph("Some words.")
    document.add_paragraph("an item", style="List Bullet")
    table = document.add_table(2, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    table.cell(1, 0).merge(table.cell(1, 1)).text = "both"
    document.core_properties.title = "Facts"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def archive(entries):
    """A zip file that begins like a .docx, of the given name and content pairs."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in entries:
            target.writestr(name, content)
    return out.getvalue()


def kind_of(content, media_type="", **options):
    with pytest.raises(Rejected) as refusal:
        extract(content, media_type, **options)
    assert ";" in str(refusal.value) or "," in str(refusal.value)  # says what to do as well
    return refusal.value.kind


class TestPlain:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_unicode_is_read_with_or_without_a_byte_order_mark(self, encoding):
        assert extract("naïve 漢".encode(encoding), "text/plain").text == "naïve 漢"

    def test_bytes_that_are_not_utf8_are_read_as_windows_1252_and_say_so(self):
        assert extract(b"caf\xe9 \x93q\x94", "text/plain") == Extracted(
            "café “q”", {"encoding": "windows-1252"}
        )

    def test_a_declared_charset_is_honoured(self):
        assert extract(b"\xb1", "text/plain; charset=ISO-8859-2").text == "ą"

    def test_a_charset_that_does_not_fit_is_refused(self):
        assert kind_of(b"caf\xe9", "text/plain; charset=utf-8") == "decode"
        assert kind_of(b"\x81\x8d", "text/plain") == "decode"

    def test_binary_content_is_refused(self):
        assert kind_of(b"ab\0cd", "text/plain") == "binary"
        assert kind_of(bytes(range(1, 256)) * 4, "") == "binary"

    @pytest.mark.parametrize("blank", [b"", b" \n\t", b"\xef\xbb\xbf"])
    def test_a_document_without_text_is_refused(self, blank):
        assert kind_of(blank, "text/plain") == "empty"

    def test_a_document_over_the_limit_is_refused(self):
        assert kind_of(b"x" * (64 * 2**20 + 1), "text/plain") == "too_large"

    def test_line_ends_become_newlines(self):
        assert extract(b"a\r\nb\rc\n", "text/plain").text == "a\nb\nc\n"


class TestMarkdown:
    def test_front_matter_becomes_metadata_and_leaves_the_text(self):
        found = extract(
            b'---\ntitle: "Guide"\ntags:\n  - x\nauthor: Ada\n---\n# Other\n\n*text*\n', "text/markdown"
        )
        assert found == Extracted("# Other\n\n*text*\n", {"title": "Guide", "author": "Ada"})

    @pytest.mark.parametrize("text", ["intro\n\n## First ##\nx", "First\n=====\nx"])
    def test_the_first_heading_is_the_title_and_the_text_stays_as_written(self, text):
        assert extract(text.encode(), "text/markdown") == Extracted(text, {"title": "First"})


class TestHtml:
    def test_the_visible_text_keeps_its_blocks_and_loses_scripts_and_navigation(self):
        page = (
            b"<!doctype html><html lang=en><head><title>A &amp; B</title><meta name=author content=Ada>"
            b"<style>p{}</style></head><body><nav>menu</nav><h2>Hi <b>you</b></h2><p>One\n two<br>three &lt;4</p>"
            b"<ul><li>x<li>y <i>z</i></ul><table><tr><td>1<td>2<tr><td>3<td>4</table><pre>a\n  b</pre>"
            b"<script>bad()</script>tail</body></html>"
        )
        text = "## Hi you\n\nOne two\nthree <4\n\n- x\n- y z\n\n1 | 2\n3 | 4\n\na\n  b\n\ntail"
        assert extract(page, "text/html") == Extracted(
            text, {"title": "A & B", "author": "Ada", "language": "en"}
        )

    def test_the_charset_of_the_meta_element_is_honoured(self):
        page = b'<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-2"><p>\xb1'
        assert extract(page, "text/html").text == "ą"

    def test_deep_nesting_is_read(self):
        assert extract(b"<div>" * 3000 + b"x", "text/html").text == "x"


class TestPdf:
    def test_pages_are_apart_by_form_feeds_and_the_facts_are_metadata(self):
        found = extract(pdf("Hello there", "Second page", title="Paper"), "application/pdf")
        assert found.text == "Hello there\n\f\nSecond page"
        assert found.metadata == {"pages": 2, "title": "Paper", "author": "Ada"}

    def test_an_encrypted_pdf_is_refused(self):
        assert kind_of(pdf("secret", encrypted=True), "application/pdf") == "encrypted"

    def test_a_damaged_pdf_is_refused(self):
        assert kind_of(b"%PDF-1.4\nnothing of the kind", "application/pdf") == "corrupt"

    def test_a_pdf_of_pictures_is_refused(self):
        assert kind_of(pdf("", ""), "application/pdf") == "no_text"


class TestDocx:
    def test_paragraphs_headings_lists_and_tables_keep_their_order(self):
        found = extract(word(), DOCX)
        assert found.text == "# The title\n\n## A section\n\nSome words.\n\n- an item\n\na | b\nboth"
        assert found.metadata["title"] == "Facts"

    def test_an_encrypted_or_older_document_is_refused(self):
        ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        assert kind_of(ole + "EncryptedPackage".encode("utf-16-le"), DOCX) == "encrypted"
        assert kind_of(ole, DOCX) == "unsupported"

    @pytest.mark.parametrize(
        "content", [b"PK\x03\x04", word()[:900], archive([("a", "b")])], ids=["cut", "half", "zip"]
    )
    def test_a_damaged_document_is_refused(self, content):
        assert kind_of(content, DOCX) == "corrupt"

    def test_a_document_that_expands_too_far_is_refused(self):
        assert kind_of(archive([("word/document.xml", bytes(9 * 2**20))]), DOCX) == "bomb"
        assert kind_of(archive((f"word/{at}", "") for at in range(10_001)), DOCX) == "too_large"


class TestRecords:
    JSONL = b'{"id": 1, "t": "x", "n": [1]}\n\n{"id": 2, "t": "y"}\n'

    def test_each_json_line_is_a_paragraph_of_its_fields(self):
        found = extract(self.JSONL, "application/x-ndjson")
        assert found == Extracted("id: 1\nt: x\nn: [1]\n\nid: 2\nt: y", {"records": 2})

    def test_text_field_picks_one_field(self):
        assert extract(self.JSONL, "application/jsonl", text_field="t").text == "x\n\ny"
        assert extract(b'[{"t": "x"}]', "application/json", text_field="t").text == "x"
        assert extract(b"t,u\nx,1\n", "text/csv", text_field="t").text == "x"

    def test_a_record_without_the_field_is_refused_by_its_number(self):
        with pytest.raises(Rejected, match="record 2 has no field `n`"):
            extract(self.JSONL, "application/jsonl", text_field="n")

    def test_a_line_that_is_not_json_is_refused_by_its_number(self):
        with pytest.raises(Rejected, match="line 3 is not valid JSON"):
            extract(b"{}\n\n{oops", "application/jsonl")

    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_csv_is_read_with_the_separator_of_its_first_line(self, separator):
        content = f'a{separator}b\n1{separator}"two\nlines"\n'.encode()
        assert extract(content, "text/csv").text == "a: 1\nb: two\nlines"

    def test_json_nested_without_end_is_refused(self):
        assert kind_of(b"[" * 100_000, "application/json") == "decode"
        assert kind_of(b'[{"a":' + b"[" * 600 + b"]" * 600 + b"}]", "application/json") == "decode"


class TestGzip:
    def test_compressed_documents_are_read_as_what_they_hold(self):
        assert extract(gzip.compress(b"# T\n") + gzip.compress(b"x"), "", name="R.md.gz") == Extracted(
            "# T\nx", {"title": "T"}
        )

    def test_a_cut_off_or_damaged_file_is_refused(self):
        whole = gzip.compress(b"hello " * 100)
        assert kind_of(whole[:-9]) == "corrupt"
        assert kind_of(whole[:12] + b"\xff\xff" + whole[14:]) == "corrupt"

    def test_a_bomb_is_refused_before_it_is_expanded(self):
        assert kind_of(gzip.compress(bytes(200 * 2**20))) == "bomb"


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.md", b"# x", "text/markdown"),
        ("a.TXT", b"x", "text/plain"),
        ("README", b"hello", "text/plain"),
        ("page", b"<!-- c -->\n<!DOCTYPE html><p>", "text/html"),
        ("paper", b"%PDF-1.7", "application/pdf"),
        ("paper.txt", b"%PDF-1.7", "application/pdf"),
        ("w.docx", b"PK\x03\x04", DOCX),
        ("x.zip", b"PK\x03\x04", "application/octet-stream"),
        ("x.bin", b"\x7fELF\0\0", "application/octet-stream"),
        ("u", b"\xff\xfeh\0", "text/plain"),
        ("changelog.gz", gzip.compress(b"hello " * 999, mtime=0)[:20], "text/plain"),
        ("d.csv.gz", gzip.compress(b"a,b", mtime=0), "text/csv"),
        ("d.gz", b"\x1f\x8b\x08\xff\xff\xff", "text/plain"),
    ],
)
def test_the_media_type_comes_from_the_first_bytes_and_the_name(name, head, expected):
    assert media_type_of(name, head) == expected


def test_a_format_without_a_reader_is_refused():
    assert kind_of(b"GIF89a", "image/gif") == "unsupported"


@given(
    st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [b"", b"%PDF-1.4\n", b"PK\x03\x04", b"\x1f\x8b\x08", b"\xff\xfe", b"<p>", b"a,b\n", b'{"a":']
    ),
    st.sampled_from(TYPES),
    st.text(max_size=8),
)
@example(b"\xed\xa0\x80&#xd800;&#0;", b"<p>", "text/html", "")
@example(b'"\\ud800"', b"", "application/json", "")
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_give_clean_text_or_a_refusal(content, prefix, media_type, name):
    try:
        found = extract(prefix + content, media_type, name=name)
    except Rejected:
        return
    assert "\0" not in found.text
    for value in [found.text, *found.metadata.values()]:
        str(value).encode()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_pdf_or_word_file_gives_clean_text_or_a_refusal(data):
    media_type, whole = data.draw(st.sampled_from([("application/pdf", pdf("one", "two")), (DOCX, word())]))
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        extract(bytes(damaged), media_type).text.encode()
    except Rejected:
        return
