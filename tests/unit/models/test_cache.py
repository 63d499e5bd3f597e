import logging
import multiprocessing
import sqlite3

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


def _fill(path, seed):
    cache = EmbeddingCache(path, "m@1", 8)
    for number in range(10):
        cache.put_many(vectors(50, seed=seed * 100 + number))
    cache.close()


def test_several_processes_may_share_the_file(open_cache, path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(path, seed)) for seed in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    expected = vectors(50, seed=209) | vectors(50, seed=109)
    found = open_cache().get_many(list(expected))
    assert len(found) >= 50, "a writer that met a locked file may have kept nothing, but not both of them"
    assert same(found, {key: expected[key] for key in found})
