"""`vector/qdrant` keeps a sink's promises on Qdrant's own engine, and has its own errors in words."""

from __future__ import annotations

import re
import socket
import time
from contextlib import closing

import httpx
import numpy as np
import pytest
from nvisy_vector import _qdrant_sweep
from nvisy_vector._qdrant_server import READ_TIMEOUT_S, connect, translated
from nvisy_vector.qdrant import DESCRIPTOR, QdrantParams, QdrantSink

from nvisy.errors import Fatal, Refused, Transient, Unreachable
from nvisy.testing.records import LANE, OWNER, make_set, vector_of, version
from nvisy.testing.sink_conformance import GenerationConformance, read, search, texts
from tests.servers.runner import Container, use_docker
from tests.servers.session import free_ports

from .qdrant_double import QdrantDouble

IMAGE = "qdrant/qdrant:v1.16.3"
API_KEY = "a-secret-key"


@pytest.fixture
def qdrant(tmp_path):
    double = QdrantDouble(tmp_path, API_KEY)
    yield double
    double.close()


@pytest.fixture(scope="session")
def container_url(tmp_path_factory):
    """A real server, where there is a Docker engine to run one, else None."""
    if not use_docker(IMAGE):
        yield None
        return
    port = free_ports(1)[0]
    env = {"QDRANT__SERVICE__HTTP_PORT": str(port), "QDRANT__SERVICE__API_KEY": API_KEY}
    container = Container(tmp_path_factory.mktemp("qdrant"), IMAGE, ports=[port], env=env)
    container.start()
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url)
        yield url
    finally:
        container.remove()


def wait_for(url, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return QdrantSink(QdrantParams(url=url, collection="docs", apiKey=API_KEY)).check()
        except Unreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


class TestConformance(GenerationConformance):
    """On a real server where Docker can run one, else on the double."""

    descriptor = DESCRIPTOR
    drivers = ("qdrant_client", "httpx", "grpc")
    secrets = (API_KEY,)
    many = 260

    @pytest.fixture
    def make_sink(self, container_url, qdrant, unique_name):
        params = QdrantParams(url=container_url or qdrant.url, collection=unique_name, apiKey=API_KEY)
        return lambda: QdrantSink(params)

    @pytest.fixture
    def make_generation(self, container_url, qdrant, unique_name):
        params = QdrantParams(url=container_url or qdrant.url, collection=unique_name, apiKey=API_KEY)
        return lambda number: QdrantSink(params, number)


def sink_of(qdrant, api_key=API_KEY, **params):
    return QdrantSink(QdrantParams(url=qdrant.url, collection="docs", apiKey=api_key, **params))


def filled(qdrant, **params):
    sink = sink_of(qdrant, **params)
    sink.prepare(OWNER)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set("a.md", ["one", "two"])])
    return sink


def test_applications_query_an_alias_under_the_name_they_gave(qdrant):
    filled(qdrant)
    found = qdrant.answer("POST", "/collections/docs/points/scroll", {"limit": 9})["points"]
    assert {point["payload"]["text"] for point in found} == {"one", "two"}


@pytest.mark.parametrize(
    ("distance", "score"),
    [
        ("cosine", lambda a, b: a @ b),
        ("l2", lambda a, b: -np.linalg.norm(a - b)),
        ("dot", lambda a, b: a @ b),
    ],
)
def test_a_score_is_higher_for_the_nearer_whatever_the_distance(qdrant, distance, score):
    hits = search(filled(qdrant, distance=distance), "one", 2)
    assert [hit.text for hit in hits] == ["one", "two"]
    expected = [score(vector_of(text), vector_of("one")) for text in ("one", "two")]
    assert [hit.score for hit in hits] == pytest.approx(expected, abs=1e-5)


class Stalls:
    """A client that lets something happen before its next write of records."""

    def __init__(self, client, meanwhile):
        self._client = client
        self._meanwhile = meanwhile

    def __getattr__(self, name):
        return getattr(self._client, name)

    def batch_update_points(self, *args, **kwargs):
        if self._meanwhile:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return self._client.batch_update_points(*args, **kwargs)


def test_failure_07_a_zombie_that_wakes_up_in_its_batch_loses_nothing(qdrant):
    """Version 6 holds X, 7 drops it, 8 has it again: a zombie that was about to write 7 must not delete it."""
    sink = sink_of(qdrant)
    sink.prepare(OWNER)
    versions = {
        6: make_set("a.md", ["X", "Y"], offset=6),
        7: make_set("a.md", ["Y"], offset=7),
        8: make_set("a.md", ["X", "Y"], offset=8, shift=5),
    }
    with closing(sink.open(1)) as zombie:
        zombie.apply([versions[6]])

        def take_over():
            with closing(sink.open(2)) as owner:
                owner.apply([versions[7]])
                owner.apply([versions[8]])

        zombie._client = Stalls(zombie._client, take_over)
        zombie.apply([versions[7]])
        with pytest.raises(Refused, match="newer run"):
            zombie.apply([versions[7]])
    assert [(hit.text, hit.span.start, hit.lineage["version"]) for hit in read(sink)] == [
        ("X", 5, versions[8].version),
        ("Y", 7, versions[8].version),
    ]
    with closing(sink.open(2)) as owner:
        assert owner.apply([versions[7]])[0].superseded


def test_what_a_zombie_leaves_behind_is_taken_away_by_its_successor(qdrant, monkeypatch):
    """It was about to write version 7 when its successor wrote 7 and 8: what only 7 had comes back, and goes."""
    monkeypatch.setattr("nvisy_vector._qdrant_leftovers.EVERY_S", 0.05)
    sink = sink_of(qdrant)
    sink.prepare(OWNER)
    with closing(sink.open(1)) as zombie:
        zombie.apply([make_set("a.md", ["X"], offset=6), make_set("b.md", ["B"], offset=6)])
        owners = []

        def take_over():
            owners.append(sink.open(2))
            owners[0].apply([make_set("a.md", ["X", "Z"], offset=7)])
            owners[0].apply([make_set("a.md", ["X", "Y"], offset=8)])

        zombie._client = Stalls(zombie._client, take_over)
        zombie.apply([make_set("a.md", ["X", "Z"], offset=7)])
    with closing(owners[0]):
        deadline = time.monotonic() + 30
        while texts(sink) != {"B", "X", "Y"}:
            assert time.monotonic() < deadline, texts(sink)
            time.sleep(0.01)


def test_looking_for_leftovers_spares_what_is_being_written(qdrant):
    """Records of a version whose head is not written yet are newer than the head."""
    sink = filled(qdrant)
    with closing(sink.open(2)) as writer:
        writer.apply([make_set("a.md", ["one", "two"], offset=7)])
        send, meanwhile = writer._send, []

        def send_slowly(collection, operations):
            send(collection, operations)
            if not meanwhile:
                meanwhile.append(collection)
                writer._leftovers.clear()

        writer._send = send_slowly
        writer.apply([make_set("a.md", ["one", "three"], offset=8)])
    assert texts(sink) == {"one", "three"}


def test_a_collection_that_nobody_wrote_before_has_no_leftovers(qdrant):
    sink = sink_of(qdrant)
    sink.prepare(OWNER)
    with closing(sink.open(1)) as writer:
        assert writer._leftovers is None


def test_a_kept_record_carries_the_newest_version(qdrant):
    """Otherwise a writer between the two versions could delete it."""
    sink = filled(qdrant)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set("a.md", ["one", "two"], offset=5)])
        assert {hit.lineage["version"] for hit in read(sink)} == {version(5)}
        writer.apply([make_set("a.md", ["one"], offset=6)])
    assert {hit.lineage["version"] for hit in read(sink)} == {version(6)}


def test_a_batch_that_failed_in_the_middle_is_completed_by_a_repeat(qdrant):
    sink = filled(qdrant)
    with closing(sink.open(1)) as writer:
        batch = [make_set("a.md", ["one", "three"], offset=2), make_set("b.md", ["four"], offset=3)]
        records_written = writer._send

        def send(collection, operations):
            records_written(collection, operations)
            qdrant.fail_next = 500

        writer._send = send
        with pytest.raises(Transient):
            writer.apply(batch)
        writer._send, qdrant.fail_next = records_written, 0
        writer.apply(batch)
    assert texts(sink) == {"one", "three", "four"}


class Dies(Exception):  # noqa: N818 - the end of a process, not an error
    """A process ends here."""


@pytest.mark.parametrize("leaving", [["one", "two"], ["one"], ["two", "three"]])
@pytest.mark.parametrize("torn", [["zero", "one", "two"], ["one", "new"], []])
def test_a_version_that_was_torn_leaves_nothing_when_the_next_one_comes_in_its_place(qdrant, torn, leaving):
    """Its records were sent and its head was not; then it is read again together with a newer one, and skipped."""
    sink = filled(qdrant)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set("a.md", ["one", "two"], offset=5)])
        send = writer._send

        def send_records_only(collection, operations):
            if collection.endswith("__heads"):
                raise Dies
            send(collection, operations)

        writer._send = send_records_only
        with pytest.raises(Dies):
            writer.apply([make_set("a.md", torn, offset=6)])
    newest = make_set("a.md", leaving, offset=7)
    with closing(sink.open(1)) as writer:
        writer.apply([newest])
    assert held_of(sink, "a.md") == placed(newest)


def test_a_zombie_between_a_look_at_the_heads_and_the_records_changes_nothing(qdrant):
    sink = filled(qdrant)
    newest = make_set("a.md", ["one", "two"], offset=7)
    with closing(sink.open(1)) as zombie:
        zombie.apply([make_set("a.md", ["one", "two"], offset=5)])
        with closing(sink.open(2)) as owner:
            zombie._check_fence = lambda: None  # it had looked before
            woken = make_set("a.md", ["zero", "one", "two"], offset=6)
            owner._client = Stalls(owner._client, lambda: zombie.apply([woken]))
            owner.apply([newest])
    assert held_of(sink, "a.md") == placed(newest)


def held_of(sink, key):
    return sorted((hit.text, hit.span, hit.lineage["version"]) for hit in read(sink) if hit.key == key)


def placed(record_set):
    return sorted((record.text, record.span, record_set.version) for record in record_set.records)


@pytest.mark.parametrize(
    ("status", "error"), [(500, Transient), (429, Transient), (403, Fatal), (404, Fatal)]
)
def test_what_the_server_answers_is_told_apart(qdrant, status, error):
    with closing(filled(qdrant).open(1)) as writer:
        qdrant.fail_next = status
        with pytest.raises(error):
            writer.apply([make_set("b.md", ["three"])])


def test_what_only_the_server_refuses_is_narrowed_to_its_set(qdrant):
    sink = filled(qdrant)
    with closing(sink.open(1)) as writer:
        send = writer._send

        def refuse(collection, operations):
            if "forbidden" in str(operations):
                qdrant.fail_next = 400
            send(collection, operations)

        writer._send = refuse
        outcomes = writer.apply(
            [make_set(f"{n}.md", ["forbidden" if n == 5 else f"text {n}"]) for n in range(9)]
        )
    assert [outcome.fault is None for outcome in outcomes] == [n != 5 for n in range(9)]


def test_a_wrong_key_is_fatal_and_not_shown(qdrant):
    with pytest.raises(Fatal, match="apiKey") as failed:
        sink_of(qdrant, api_key="wrong-key").check()
    assert "wrong-key" not in str(failed.value)


def test_a_server_that_is_not_there_is_unreachable_at_once(qdrant):
    url = qdrant.url
    qdrant.close()
    started = time.monotonic()
    with pytest.raises(Unreachable, match=re.escape(url.removeprefix("http://"))):
        QdrantSink(QdrantParams(url=url, collection="docs")).check()
    assert time.monotonic() - started < 5


def test_a_server_that_does_not_answer_is_unreachable_long_before_a_read_would_be_given_up():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            QdrantSink(
                QdrantParams(url=f"http://127.0.0.1:{deaf.getsockname()[1]}", collection="docs")
            ).check()
        assert time.monotonic() - started < READ_TIMEOUT_S / 2


def test_an_older_server_is_refused(qdrant):
    qdrant.version = "1.15.5"
    with pytest.raises(Fatal, match=r"1\.15\.5.*1\.16"):
        sink_of(qdrant).check()


def test_a_dropped_collection_gives_a_new_one(qdrant):
    first = sink_of(qdrant).prepare(OWNER)
    filled(qdrant)
    qdrant.answer("DELETE", "/collections/docs__1", {})
    assert sink_of(qdrant).prepare(OWNER) != first
    assert read(sink_of(qdrant)) == []


def test_a_prepare_that_was_cut_off_is_completed(qdrant):
    sink_of(qdrant).prepare(OWNER)
    qdrant.answer("DELETE", "/collections/docs__1", {})
    qdrant.aliases.clear()
    sink_of(qdrant).prepare(OWNER)
    assert qdrant.aliases == {"docs": "docs__1"}


@pytest.mark.parametrize("name", ["docs", "docs__1"])
def test_a_collection_that_is_not_ours_is_not_touched(qdrant, name):
    qdrant.answer("PUT", f"/collections/{name}", {"vectors": {"size": 8, "distance": "Cosine"}})
    with pytest.raises(Refused, match="cannot be made"):
        sink_of(qdrant).prepare(OWNER)
    assert list(qdrant.collections) == [name]


def test_a_users_collection_of_other_dimensions_is_fatal(qdrant):
    qdrant.answer("PUT", "/collections/docs", {"vectors": {"size": 3, "distance": "Cosine"}})
    with pytest.raises(Fatal, match=r"3 dimensions.*8"):
        sink_of(qdrant, create=False).prepare(OWNER)


def test_a_users_collection_keeps_what_the_user_put_there(qdrant):
    qdrant.answer("PUT", "/collections/docs", {"vectors": {"size": 8, "distance": "Cosine"}})
    mine = {"id": 1, "vector": [1.0] * 8, "payload": {"mine": True}}
    qdrant.answer("PUT", "/collections/docs/points", {"points": [mine]})
    sink = filled(qdrant, create=False)
    assert texts(sink) == {"one", "two"}
    with closing(sink.open(1)) as writer:
        writer.apply([make_set("a.md", offset=2)])
    assert qdrant.answer("POST", "/collections/docs/points", {"ids": [1]})[0]["payload"] == {"mine": True}


def test_a_users_collection_has_to_be_there(qdrant):
    with pytest.raises(Refused, match="no such collection"):
        sink_of(qdrant, create=False).prepare(OWNER)


def test_a_key_that_a_sweep_was_cut_off_at_is_written_whole(qdrant):
    """Its records are gone and its head is not: the head must not say that there is nothing to write."""
    sink = filled(qdrant)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set("b.md", ["three"])])
        send, calls = writer._send, iter(["forget", "records"])

        def cut_off(collection, operations):
            next(calls)
            send(collection, operations)

        writer._send = cut_off
        with pytest.raises(StopIteration):
            writer.sweep(LANE, version(2))
        writer._send = send
        assert read(sink) == []
        assert writer.head(LANE, "a.md") == version(1)
        assert writer.apply([make_set("a.md", ["one", "two"], offset=2)])[0].written == 2
        assert writer.sweep(LANE, version(2)) == 0
        assert writer.head(LANE, "b.md") is None
    assert texts(sink) == {"one", "two"}


def test_a_sweep_takes_records_that_lost_their_head(qdrant):
    sink = filled(qdrant)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set("b.md", ["newer"], offset=9)])
        heads = [{"delete": {"filter": {"must": [{"key": "lane", "match": {"value": LANE}}]}}}]
        qdrant.answer("POST", "/collections/docs__1__heads/points/batch", {"operations": heads})
        assert set(writer.lanes()) == {LANE}
        assert writer.sweep(LANE, version(9)) == 2
    assert texts(sink) == {"newer"}


def test_a_takeover_in_the_middle_of_a_sweep_ends_it(qdrant, monkeypatch):
    monkeypatch.setattr(_qdrant_sweep, "POINTS_AT_ONCE", 2)
    sink = filled(qdrant)
    with closing(sink.open(1)) as old:
        old.apply([make_set(f"{n}.md", [f"{n}"]) for n in range(9)])
        send = old._send

        def taken_over(collection, operations):
            send(collection, operations)
            if collection == "docs__1":
                with closing(sink.open(2)) as owner:
                    owner.apply([make_set(f"{n}.md", [f"{n}"], offset=5) for n in range(9)])

        old._send = taken_over
        with pytest.raises(Refused, match="newer run"):
            old.sweep(LANE, version(5))
    assert {str(n) for n in range(9)} <= texts(sink)


@pytest.mark.parametrize(
    ("status", "header", "asked_s"),
    [(429, "7", 7), (429, "Wed, 21 Oct 2099 07:28:00 GMT", None), (429, None, None), (503, "7", 7)],
)
def test_the_time_that_the_server_asks_for_is_handed_on(status, header, asked_s):
    headers = {} if header is None else {"retry-after": header}
    server = httpx.MockTransport(lambda _request: httpx.Response(status, headers=headers, json={}))
    client = connect("http://127.0.0.1:6333", None, 1)
    client.http.client._client = httpx.Client(transport=server, base_url="http://127.0.0.1:6333")
    with pytest.raises(Transient) as failed, translated("a server", "a collection"), closing(client):
        client.collection_exists("docs")
    assert failed.value.retry_after_s == asked_s
