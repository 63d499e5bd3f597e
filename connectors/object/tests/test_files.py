"""What a folder may hold, and what may happen to it while it is read."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from nvisy_object import files as files_module
from nvisy_object._content import read_version
from nvisy_object._walk import compile_glob
from nvisy_object.files import FilesParams, FilesSource
from pydantic import ValidationError

from nvisy.connector.source import Item, Unreadable
from nvisy.errors import Rejected, Unreachable
from nvisy.testing.source_conformance import Listed

from .targets import refuse


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "docs"
    path.mkdir()
    return path


def listing(path: Path, **params: object) -> dict[str, Item | Unreadable]:
    return {entry.key: entry for entry in FilesSource(FilesParams(path=path, **params)).scan()}


def test_an_empty_folder_has_no_documents(folder):
    (folder / "empty").mkdir()
    assert listing(folder) == {}


def test_an_empty_file_is_a_document(folder):
    (folder / "empty.md").touch()
    assert listing(folder)["empty.md"].load().content == b""


def test_bytes_that_are_no_text_come_as_they_are(folder):
    (folder / "image.png").write_bytes(bytes(range(256)))
    assert listing(folder)["image.png"].load().content == bytes(range(256))


def test_a_file_larger_than_is_kept_comes_whole(folder):
    content = os.urandom(3 << 20)
    (folder / "large").write_bytes(content)
    assert listing(folder)["large"].load().content == content


def test_a_path_to_a_file_lists_that_file(folder):
    (folder / "one.md").write_text("one")
    (folder / "two.md").write_text("two")
    assert list(listing(folder / "one.md")) == ["one.md"]


def test_a_missing_path_is_unreachable_and_says_what_to_do(folder):
    with pytest.raises(Unreachable, match=r'there is no file or folder .*correct "path", or mount it'):
        FilesSource(FilesParams(path=folder / "none")).check()


def test_a_path_that_is_neither_file_nor_folder_is_refused(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(Unreachable, match="neither a file nor a folder"):
        FilesSource(FilesParams(path=folder / "pipe")).check()


def test_a_root_that_may_not_be_listed_is_unreachable(folder, monkeypatch):
    refuse(monkeypatch, {str(folder)})
    with pytest.raises(Unreachable, match="Permission denied"):
        FilesSource(FilesParams(path=folder)).check()


def test_a_root_that_goes_away_during_a_pass_fails_the_pass(folder):
    for name in "abc":
        (folder / name).write_text(name)
    entries = FilesSource(FilesParams(path=folder)).scan()
    next(entries)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(Unreachable):
        list(entries)


def test_a_root_on_another_device_than_before_fails_the_pass(folder):
    source = FilesSource(FilesParams(path=folder))
    source.check()
    source._device += 1
    with pytest.raises(Unreachable, match="another device"):
        list(source.scan())


def test_an_unreadable_file_is_named_and_the_others_come(folder, monkeypatch):
    (folder / "secret.md").write_text("s")
    (folder / "open.md").write_text("o")
    refuse(monkeypatch, {str(folder / "secret.md")})
    found = listing(folder)
    assert isinstance(found["open.md"], Item)
    assert "Permission denied; make it readable and run again" in str(found["secret.md"].error)
    assert found["secret.md"].error.retryable


def test_an_unreadable_folder_is_a_prefix(folder, monkeypatch):
    (folder / "sub").mkdir()
    (folder / "sub" / "a.md").write_text("a")
    (folder / "b.md").write_text("b")
    refuse(monkeypatch, {str(folder / "sub")})
    found = listing(folder)
    assert set(found) == {"b.md", "sub/"}
    assert found["sub/"].error.kind == "unreadable"


def test_a_gigabyte_is_refused_without_being_read(folder, monkeypatch):
    with (folder / "huge").open("wb") as file:
        file.truncate(1 << 30)
    monkeypatch.setattr(files_module, "read_version", lambda _: pytest.fail("it was read"))
    failed = listing(folder)["huge"]
    assert failed.error.kind == "too_large"
    assert '"maxBytes"' in str(failed.error)


def test_links_are_not_followed(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    (folder / "real").write_text("r")
    for name, goal in {"loop": folder, "out": outside, "file": outside / "secret", "gone": "none"}.items():
        (folder / name).symlink_to(goal)
    assert list(listing(folder)) == ["real"]


def test_a_root_that_is_a_link_is_followed(folder, tmp_path):
    (folder / "a").write_text("a")
    (tmp_path / "link").symlink_to(folder)
    assert list(listing(tmp_path / "link")) == ["a"]


def test_a_link_that_takes_a_files_place_is_not_followed(folder, tmp_path):
    (tmp_path / "secret").write_text("x" * 100_000)
    (folder / "a").write_text("a" * 100_000)
    item = listing(folder)["a"]
    (folder / "a").unlink()
    (folder / "a").symlink_to(tmp_path / "secret")
    with pytest.raises(Rejected):
        item.load()


def test_pipes_and_sockets_are_left_out(folder):
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)  # the path of a socket may have a hundred bytes only
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        assert listing(folder) == {}


def test_a_pipe_that_takes_a_files_place_does_not_block(folder):
    (folder / "a").write_text("a")
    (folder / "a").unlink()
    os.mkfifo(folder / "a")
    with pytest.raises(OSError, match="no regular file"):
        read_version(folder / "a")


def test_names_that_are_no_text_are_escaped(folder):
    with open(os.fsencode(folder) + b"/caf\xe9.md", "wb") as file:  # noqa: PTH123 - pathlib takes no bytes
        file.write(b"x")
    found = listing(folder)
    assert list(found) == ["caf\\xe9.md"]
    assert found["caf\\xe9.md"].load().content == b"x"
    assert found["caf\\xe9.md"].uri.endswith("/caf%E9.md")


def test_an_error_about_a_name_that_is_no_text_can_be_written_down(folder, monkeypatch):
    path = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.md")
    Path(path).write_bytes(b"x")
    refuse(monkeypatch, {path})
    assert b"caf\\xe9.md" in str(listing(folder)["caf\\xe9.md"].error).encode()


def test_a_file_that_is_written_to_while_it_is_hashed_is_read_again(folder, monkeypatch):
    path = folder / "a"
    path.write_text("before")
    real, calls = files_module.read_version.__globals__["signature_of"], []

    def signature_of(found):
        calls.append(found)
        if len(calls) == 1:
            path.write_text("after")
        return real(found)

    monkeypatch.setitem(files_module.read_version.__globals__, "signature_of", signature_of)
    assert read_version(path).content == b"after"


def test_a_file_that_never_rests_is_refused(folder, monkeypatch):
    path = folder / "a"
    path.write_text("x")
    moments = iter(range(100))
    monkeypatch.setitem(
        files_module.read_version.__globals__, "signature_of", lambda _: (next(moments), 0, 0, 0)
    )
    with pytest.raises(Rejected, match="changed while it was read") as caught:
        read_version(path)
    assert caught.value.retryable


@pytest.mark.parametrize("size", [10, 200_000])
def test_what_is_appended_after_listing_belongs_to_the_next_pass(folder, size):
    (folder / "log").write_bytes(b"x" * size)
    item = listing(folder)["log"]
    with (folder / "log").open("ab") as file:
        file.write(b"y" * 100)
    assert item.load().content == b"x" * size


def test_what_is_rewritten_after_listing_is_refused(folder):
    (folder / "a").write_bytes(b"x" * 200_000)
    item = listing(folder)["a"]
    (folder / "a").write_bytes(b"y" * 200_000)
    with pytest.raises(Rejected, match="the next pass reads it again"):
        item.load()


def test_a_file_that_vanishes_after_listing_is_refused(folder):
    (folder / "a").write_bytes(b"x" * 200_000)
    item = listing(folder)["a"]
    (folder / "a").unlink()
    with pytest.raises(Rejected, match="No such file"):
        item.load()


def test_a_file_that_vanishes_between_name_and_content_is_not_listed(folder, monkeypatch):
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")
    real = files_module.read_version

    def read(path):
        if path.name == "a":
            path.unlink()
        return real(path)

    monkeypatch.setattr(files_module, "read_version", read)
    assert list(listing(folder)) == ["b"]


def test_a_touched_file_is_the_same(folder):
    path = folder / "a"
    path.write_text("a")
    before = listing(folder)["a"].fingerprint
    os.utime(path, (1, 1))
    assert listing(folder)["a"].fingerprint == before


def test_a_change_that_leaves_size_and_times_alone_is_seen_by_the_next_process(folder):
    path = folder / "a"
    path.write_text("aaa")
    found = path.stat()
    before = listing(folder)["a"].fingerprint
    path.write_text("bbb")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert listing(folder)["a"].fingerprint != before


def test_a_resting_file_is_hashed_once_by_one_process(folder, monkeypatch):
    (folder / "a").write_text("a")
    monkeypatch.setattr(files_module, "SETTLED_AFTER_NS", 0)
    source = FilesSource(FilesParams(path=folder))
    first = next(source.scan())
    list(source.scan())
    monkeypatch.setattr(files_module, "read_version", lambda _: pytest.fail("it was read again"))
    again = next(source.scan())
    assert again.fingerprint == first.fingerprint
    assert again.load().content == b"a"


def test_a_file_of_the_future_does_not_keep_the_listing_busy(folder, monkeypatch):
    (folder / "a").write_text("a")
    os.utime(folder / "a", (4e9, 4e9))
    source = FilesSource(FilesParams(path=folder, poll_s=0.01))
    monkeypatch.setattr(files_module, "SETTLED_AFTER_NS", 0)
    list(source.scan())
    assert not source.wait(0.1)


def test_a_folder_a_thousand_deep_is_listed(folder):
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("a", os.O_CREAT, dir_fd=here))
    os.close(here)
    try:
        assert list(listing(folder)) == ["d/" * 1000 + "a"]
    finally:
        subprocess.run(["rm", "-r", folder / "d"], check=True)  # deeper than Python removes


def test_hidden_files_only_if_the_pattern_names_them(folder):
    (folder / ".git").mkdir()
    for name in ("a", ".hidden", ".git/config"):
        (folder / name).touch()
    assert list(listing(folder)) == ["a"]
    assert list(listing(folder, glob=".git/*")) == [".git/config"]


@pytest.mark.parametrize(
    ("glob", "matching", "other"),
    [
        ("**/*", ["a", "b/c", "b/c/d"], []),
        ("*", ["a", "ü"], ["b/c"]),
        ("**/*.md", ["a.md", "b/c.md"], ["a.mdx", "a.txt"]),
        ("b/**", ["b/c", "b/c/d"], ["a", "bb/c"]),
        ("b/**/d", ["b/d", "b/c/d"], ["d", "b/cd"]),
        ("?.md", ["a.md"], ["aa.md", "/.md"]),
        ("[a-c].md", ["b.md"], ["d.md", "-.md"]),
        ("[!a-c].md", ["d.md"], ["a.md", "/.md"]),
        ("a+b(c).md", ["a+b(c).md"], ["aab(c).md"]),
        ("[", ["["], ["a"]),
        ("a\nb*", ["a\nbc"], ["a"]),
    ],
)
def test_what_a_pattern_matches(glob, matching, other):
    pattern = compile_glob(glob)
    assert [name for name in [*matching, *other] if pattern.fullmatch(name)] == matching


@pytest.mark.parametrize("glob", ["[z-a]", "[!]"])
def test_a_pattern_that_means_nothing_is_refused(glob):
    with pytest.raises(ValidationError, match="means nothing"):
        FilesParams(path="docs", glob=glob)


def test_a_field_of_a_record_without_a_format_is_refused():
    with pytest.raises(ValidationError, match='say "format" too'):
        FilesParams(path="docs", key="sku")


def test_a_mended_file_is_listed_as_before(folder, monkeypatch):
    (folder / "a").write_text("a")
    refused = {str(folder / "a")}
    refuse(monkeypatch, refused)
    source, listed = FilesSource(FilesParams(path=folder)), Listed()
    assert set(listed.follow(source).failed) == {"a"}
    refused.clear()
    assert listed.follow(source).read == ["a"]
