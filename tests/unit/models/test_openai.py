"""`openai/NAME` against a server of this machine that fails as it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from nvisy.catalog import Catalog, NotInstalled
from nvisy.errors import Fatal, Rejected, Transient
from nvisy.models.http import address_fault
from nvisy.models.openai import DESCRIPTOR, OpenAIModel, OpenAIParams, _duration_s, _retry_after_s
from nvisy.testing.model_server import ModelServer

KEY = "sk-canary-4711"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(api_key=KEY) as running:
        yield running


@pytest.fixture
def opened(server: ModelServer) -> Iterator[Callable[..., OpenAIModel]]:
    """Opens the model `small` at the server, with other parameters as keyword arguments."""
    with ExitStack() as stack:

        def open_model(**params) -> OpenAIModel:
            written = {"model": "small", "baseUrl": server.url, "apiKey": KEY, "dimensions": 8, **params}
            model = DESCRIPTOR.open(OpenAIParams.model_validate(written))
            assert isinstance(model, OpenAIModel)
            stack.callback(model.close)
            return model

        yield open_model


def test_vectors_come_back_in_the_order_of_the_texts_with_what_they_cost(server, opened):
    embedded = opened().embed(["one", "two", "three"])
    assert np.array_equal(embedded.vectors, [server.vector(text) for text in ("one", "two", "three")])
    assert embedded.vectors.dtype == np.float32
    assert embedded.tokens == 4
    (call,) = server.calls
    assert call.fields == {"model": "small", "encoding_format": "base64"}


def test_a_server_that_ignores_base64_is_understood(server, opened):
    server.base64 = False
    assert np.allclose(opened().embed(["one"]).vectors, [server.vector("one")])


def test_a_server_that_refuses_the_field_is_asked_without_it_from_then_on(server, opened):
    server.next("no_base64")
    model = opened()
    for text in ("one", "two"):
        assert np.allclose(model.embed([text]).vectors, [server.vector(text)])
    assert [call.fields.get("encoding_format") for call in server.calls] == ["base64", None, None]


def test_a_length_is_asked_for_only_where_the_servers_own_is_another(server, opened):
    model = opened(dimensions=4)
    assert model.embed(["one"]).vectors.shape == (1, 4)
    assert model.embed(["two"]).vectors.shape == (1, 4)
    assert [call.fields.get("dimensions") for call in server.calls] == [None, 4, 4]


def test_a_server_that_cannot_shorten_ends_the_run_with_the_length_it_has(server, opened):
    server.shortens = False
    with pytest.raises(Fatal, match='give the embed node "dimensions": 8'):
        opened(dimensions=4).embed(["one"])


@pytest.mark.parametrize(
    "fault", ["error", "unavailable", "dropped", "garbage", "cut", "miscounted", "misnumbered"]
)
def test_what_may_pass_is_transient(server, opened, fault):
    server.next(fault)
    model = opened()
    with pytest.raises(Transient):
        model.embed(["one", "two"])
    assert model.embed(["one"]).vectors.shape == (1, 8)


def test_vectors_of_another_length_end_the_run(server, opened):
    server.next("dimensions")
    with pytest.raises(Fatal, match="vectors of 7 numbers"):
        opened().embed(["one"])


def test_numbers_that_are_not_finite_are_passed_on_for_the_action_to_refuse(server, opened):
    server.next("nan")
    assert np.isnan(opened().embed(["one"]).vectors).any()


def test_a_call_has_a_deadline(server, opened):
    server.next("stalled")
    with pytest.raises(Transient, match=r"did not answer within 0\.2 s"):
        opened(timeoutMs=200).embed(["one"])
    assert server.in_flight == 1, "it is still waiting: the deadline was the client's"


def test_a_server_that_is_not_there_is_transient(opened):
    model = opened(baseUrl="http://127.0.0.1:9/v1")
    with pytest.raises(Transient, match=r"127\.0\.0\.1:9 cannot be reached"):
        model.embed(["one"])


def test_too_many_calls_is_transient_with_the_wait_the_server_asks_for(server, opened):
    server.retry_after = "7"
    server.next("rate_limited")
    with pytest.raises(Transient) as caught:
        opened().embed(["one"])
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "nonsense"}, 1.0),
        ({"retry-after": "-3"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2s"}, 62.0),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "1m"}, 1.0),
        ({}, 1.0),
    ],
)
def test_the_wait_is_read_from_whichever_header_names_it(headers, seconds):
    assert _retry_after_s(headers, 1.0) == pytest.approx(seconds)


def test_a_wait_may_be_a_date():
    assert _retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 1.0) == 0


def test_durations_are_read_as_the_api_writes_them():
    assert (_duration_s("6m0s"), _duration_s("20ms"), _duration_s("")) == (360.0, 0.02, 0.0)


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("quota", "quota of this key is used up"),
        ("unauthorized", "see the connection's apiKey"),
        ("missing", "it has no model small"),
        ("redirect", "it redirects, which is not followed"),
    ],
)
def test_what_no_waiting_helps_ends_the_run_and_says_what_to_do(server, opened, fault, advice):
    server.next(fault)
    with pytest.raises(Fatal, match=advice):
        opened().embed(["one"])


def test_a_text_that_the_server_refuses_is_rejected_with_what_it_said(server, opened):
    server.rejects = lambda text: "bad" in text
    with pytest.raises(Rejected, match=r"answered 400 \(invalid_request_error\): an input is invalid"):
        opened().embed(["good", "bad"])


def test_a_server_that_refuses_every_text_ends_the_run_and_blames_no_text(server, opened):
    model = opened()
    server.rejects = lambda _: True
    with pytest.raises(Rejected):
        model.embed(["first"])
    with pytest.raises(Fatal, match="refuses every text"):
        model.embed(["second"])


def test_bad_texts_in_a_row_are_rejected_while_others_pass(server, opened):
    model = opened()
    server.rejects = lambda text: "bad" in text
    for _ in range(3):
        with pytest.raises(Rejected):
            model.embed(["bad"])


def test_what_a_server_repeats_of_a_document_or_key_is_left_out(server, opened):
    text = "the patient's name is Ada Lovelace and she is well"
    model = opened()
    for message in (f"cannot embed: {text}", f"key {KEY} is not for this"):
        assert model._quotable(message, [text]) == ""
    assert model._quotable("too long", [text]) == ": too long"


def test_the_key_is_in_no_message_and_no_repr(server, opened):
    params = OpenAIParams.model_validate({"model": "x", "apiKey": KEY})
    model = opened()
    said = [repr(params), repr(model), repr(vars(model)["_endpoint"])]
    server.next("unauthorized")
    with pytest.raises(Fatal) as caught:
        model.embed(["one"])
    assert KEY not in "".join([*said, str(caught.value)])


@pytest.mark.parametrize(
    ("url", "secret", "fault"),
    [
        ("https://api.example.com/v1", True, ""),
        ("http://localhost:11434/v1", True, ""),
        ("http://[::1]:8080/v1", True, ""),
        ("http://tei.internal/v1", False, ""),
        ("http://tei.internal/v1", True, "in the clear"),
        ("http://127.0.0.1.example.com/v1", True, "in the clear"),
        ("https://user:word@example.com/v1", False, "user name or password"),
        ("ftp://example.com", False, "not an address"),
        ("https://example.com:x/v1", False, "not an address"),
    ],
)
def test_a_key_never_travels_in_the_clear(url, secret, fault):
    assert fault in address_fault(url, secret=secret)
    assert bool(fault) == bool(address_fault(url, secret=secret))


def facts(**params):
    catalog = Catalog.of([DESCRIPTOR])
    return catalog.facts(f"openai/{params.pop('name')}", {"apiKey": KEY, **params})


def test_lengths_of_known_models_need_not_be_given():
    assert facts(name="text-embedding-3-small") == ("openai/text-embedding-3-small@1", 1536)
    assert facts(name="BAAI/bge-m3", baseUrl="http://localhost:8000/v1")[1] == 1024
    assert facts(name="mine", dimensions=12, revision="2024-05") == ("openai/mine@2024-05", 12)


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"name": "mine"}, 'is not known; give the embed node "dimensions"'),
        ({"name": "text-embedding-3-small", "dimensions": 4000}, "has vectors of 1536 numbers"),
        ({"name": "text-embedding-ada-002", "dimensions": 100}, "cannot shorten"),
        ({"name": "text-embedding-3-small", "apiKey": None}, "there is no key for it"),
        ({"name": "text-embedding-3-small", "baseUrl": "http://example.com"}, "in the clear"),
    ],
)
def test_what_is_wrong_with_a_model_is_said_when_the_graph_is_checked(params, fault):
    with pytest.raises(NotInstalled, match=fault):
        facts(**params)


def test_a_closed_model_may_be_closed_again(server, opened):
    model = opened()
    model.close()
    model.close()


def test_the_double_spoils_the_vectors_it_is_told_to_and_drifts_as_far_as_it_is_told(server, opened):
    server.spoils = lambda text: text == "bad"
    server.drift = 1e-3
    first, again = (opened().embed(["good", "bad"]).vectors for _ in range(2))
    assert np.isnan(first).any(axis=1).tolist() == [False, True]
    assert 0 < np.abs(first[0] - again[0]).max() < 1e-3
