"""The reader process: what breaks it costs one document, and it outlives neither its work nor its parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from nvisy.errors import Rejected
from nvisy.text.extract.reader import Reader


@pytest.fixture
def reader():
    reader = Reader(deadline_s=20)
    yield reader
    reader.close()


def process_of(reader):
    return reader._process


def test_one_process_reads_many_documents(reader):
    reader.read("html", b"<p>one", charset="")
    first = process_of(reader).pid
    assert reader.read("html", b"<p>two", charset="").text == "two"
    assert process_of(reader).pid == first


def test_a_process_that_died_between_documents_is_replaced(reader):
    reader.read("html", b"<p>one", charset="")
    os.kill(process_of(reader).pid, signal.SIGKILL)
    assert reader.read("html", b"<p>two", charset="").text == "two"


def test_a_document_that_takes_too_long_is_refused_and_the_next_is_read():
    reader = Reader(deadline_s=3)
    try:
        reader.read("html", b"<p>warm", charset="")
        with pytest.raises(Rejected) as refusal:
            reader.read("html", b"<div>" * 500_000, charset="")
        assert (refusal.value.kind, refusal.value.retryable) == ("timeout", True)
        assert reader.read("html", b"<p>next", charset="").text == "next"
    finally:
        reader.close()


def test_a_document_that_exhausts_the_memory_is_refused_and_the_next_is_read():
    reader = Reader(memory_bytes=200 * 2**20)
    try:
        with pytest.raises(Rejected) as refusal:
            reader.read("html", b"<p>x" * 2_000_000, charset="")
        assert refusal.value.kind in {"crash", "too_large"}
        assert reader.read("html", b"<p>next", charset="").text == "next"
    finally:
        reader.close()


def test_a_document_that_crashes_the_parser_is_refused(reader):
    with pytest.raises(Rejected) as refusal:
        reader.read("no such format", b"")
    assert refusal.value.kind == "crash"
    assert reader.read("html", b"<p>next", charset="").text == "next"


def test_the_process_ends_with_its_parent():
    code = (
        "import time; from nvisy.text.extract.reader import SHARED; SHARED.read('html', b'<p>x', charset='');"
        "print(SHARED._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:  # noqa: PTH110
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{child}") or "Z" in open(f"/proc/{child}/stat").read()  # noqa: PTH110, PTH123, SIM115
