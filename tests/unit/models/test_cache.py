import logging
import multiprocessing
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import apsw
import numpy as np
import pytest

from nvisy.models.cache import EmbeddingCache


def vectors(count: int, dimensions: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    rows = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return {f"{seed}-{number:032x}": row for number, row in enumerate(rows)}


def same(found, expected) -> bool:
    return found.keys() == expected.keys() and all(np.array_equal(found[key], expected[key]) for key in found)


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".nvisy" / "embeddings.db"


@pytest.fixture
def open_cache(path):
    opened = []

    def open_(model="m@1", dimensions=8, **params):
        opened.append(EmbeddingCache(path, model, dimensions, **params))
        return opened[-1]

    yield open_
    for cache in opened:
        cache.close()


def test_what_is_put_is_found_by_another_process_s_connection(open_cache):
    kept = vectors(2000)
    open_cache().put_many(kept)
    found = open_cache().get_many([*kept, "unknown"])
    assert same(found, kept)
    assert all(vector.dtype == np.float32 and not vector.flags.writeable for vector in found.values())


def test_another_revision_and_other_dimensions_find_nothing(open_cache):
    kept = vectors(3)
    open_cache().put_many(kept)
    assert open_cache("m@2").get_many(list(kept)) == {}
    assert open_cache("m@1", 16).get_many(list(kept)) == {}


def test_a_vector_with_a_changed_bit_is_not_found(open_cache, path):
    kept = vectors(2)
    cache = open_cache()
    cache.put_many(kept)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE vectors SET vector = zeroblob(36) WHERE number = 1")
    connection.close()
    assert len(cache.get_many(list(kept))) == 1


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"", b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_file_is_replaced_with_a_line_in_the_log(open_cache, path, content, caplog):
    path.parent.mkdir()
    path.write_bytes(content)
    kept = vectors(3)
    with caplog.at_level(logging.WARNING):
        open_cache().put_many(kept)
    assert same(open_cache().get_many(list(kept)), kept)
    assert ("damaged" in caplog.text) == bool(content)


def test_a_file_damaged_while_it_is_open_costs_its_content_alone(open_cache, path):
    cache = open_cache()
    cache.put_many(vectors(3000))
    cache.close()
    cache = open_cache()
    path.write_bytes(path.read_bytes()[:4096] + b"x" * 200_000)
    kept = vectors(5, seed=9)
    for _ in range(3):
        cache.get_many(list(vectors(3000)))
        cache.put_many(kept)
    assert same(open_cache().get_many(list(kept)), kept)


def test_a_later_format_is_replaced(open_cache, path):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    kept = vectors(1)
    open_cache().put_many(kept)
    assert same(open_cache().get_many(list(kept)), kept)


def test_a_place_that_cannot_be_written_is_a_line_in_the_log(tmp_path, caplog):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "embeddings.db", tmp_path):
        cache = EmbeddingCache(path, "m@1", 8)
        cache.put_many(vectors(1))
        assert cache.get_many(list(vectors(1))) == {}
        cache.close()
    assert caplog.text.count("cannot be used") == 2


def test_the_oldest_make_room_when_the_file_is_full(open_cache, path):
    cache = open_cache(dimensions=256, max_bytes=1_000_000)
    for seed in range(20):
        cache.put_many(vectors(100, 256, seed))
    cache.close()
    assert path.stat().st_size < 1_400_000
    cache = open_cache(dimensions=256)
    assert len(cache.get_many(list(vectors(100, 256, 19)))) == 100
    assert cache.get_many(list(vectors(100, 256, 0))) == {}


def _fill(path, seed, together):
    cache = EmbeddingCache(path, "m@1", 8)
    together.wait(60)
    for number in range(100):
        cache.put_many(vectors(5, seed=1000 * seed + number))
    cache.close()


def test_two_processes_that_fill_the_file_at_once_lose_nothing(open_cache, path):
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    other = context.Process(target=_fill, args=(path, 1, together))
    other.start()
    _fill(path, 2, together)
    other.join(60)
    assert other.exitcode == 0
    expected = {}
    for seed in (*range(1000, 1100), *range(2000, 2100)):
        expected |= vectors(5, seed=seed)
    assert same(open_cache().get_many(list(expected)), expected)


def test_many_that_open_a_new_file_at_once_and_fill_it_lose_nothing(open_cache, path, caplog):
    together = threading.Barrier(8)

    def fill(seed):
        together.wait(60)
        cache = EmbeddingCache(path, "m@1", 8)
        cache.put_many(vectors(20, seed=seed))
        cache.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(fill, range(8)))
    assert caplog.text == ""
    expected = {}
    for seed in range(8):
        expected |= vectors(20, seed=seed)
    assert same(open_cache().get_many(list(expected)), expected)


@pytest.fixture
def locked(path):
    """Keeps the file locked while it is entered, by the same SQLite: another one would share the process's locks."""

    @contextmanager
    def lock():
        with closing(apsw.Connection(str(path))) as connection:
            connection.execute("BEGIN IMMEDIATE; DELETE FROM vectors")
            yield
            connection.execute("COMMIT")

    return lock


def test_vectors_that_find_the_file_locked_wait_until_it_is_free(open_cache, locked):
    cache = open_cache()
    kept = vectors(3)
    waiting = threading.Thread(target=cache.put_many, args=(kept,))
    with locked():
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(60)
    assert same(cache.get_many(list(kept)), kept)


def test_vectors_that_find_the_file_locked_for_too_long_are_not_kept_and_later_ones_are(
    open_cache, locked, caplog
):
    cache = open_cache(locked_s=0.02)
    with locked():
        cache.put_many(vectors(3))
    assert "stays locked" in caplog.text
    kept = vectors(3, seed=1)
    cache.put_many(kept)
    assert same(cache.get_many([*vectors(3), *kept]), kept)


def test_a_file_that_stays_locked_while_it_is_opened_is_done_without(open_cache, locked, caplog):
    open_cache()
    with locked():
        cache = open_cache(locked_s=0.02)
    cache.put_many(vectors(1))
    assert cache.get_many(list(vectors(1))) == {}
    assert "cannot be used" in caplog.text
