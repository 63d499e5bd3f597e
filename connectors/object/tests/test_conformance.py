"""`object/files` keeps a source's promises: with files as documents, and with the records of JSON Lines and CSV."""

from __future__ import annotations

import pytest
from nvisy_object.files import DESCRIPTOR

from nvisy.testing.source_conformance import NAMES, ListingConformance

from .targets import CsvFolder, Folder, RecordsFolder


class TestFiles(ListingConformance):
    descriptor = DESCRIPTOR
    names = (*NAMES, "back\\slash", "line\nbreak", "a#b", "-", "~", "*")

    @pytest.fixture
    def target(self, tmp_path, monkeypatch):
        return Folder(tmp_path / "docs", monkeypatch)


class TestJsonLines(ListingConformance):
    descriptor = DESCRIPTOR
    names = (*NAMES, "a#b", "line\nbreak", " ")

    @pytest.fixture
    def target(self, tmp_path, monkeypatch):
        return RecordsFolder(tmp_path / "docs", monkeypatch)


class TestCsv(ListingConformance):
    descriptor = DESCRIPTOR
    names = (*NAMES, "a#b", "line\nbreak", " ", "a;b,c")

    @pytest.fixture
    def target(self, tmp_path, monkeypatch):
        return CsvFolder(tmp_path / "docs", monkeypatch)
