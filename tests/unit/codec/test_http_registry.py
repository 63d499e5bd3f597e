"""The registry over HTTP, against a double that speaks Confluent's REST API."""

import base64
from uuid import UUID

import pytest

from nvisy.codec import Codec
from nvisy.codec.http_registry import HttpRegistry
from nvisy.errors import CodecError, Unreachable, UsageError
from nvisy.primitives import Change
from tests.unit.codec.registry_double import registry_double
from tests.unit.codec.samples import EVERY, ORIGIN

SCHEMA = '{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}'


@pytest.fixture
def served():
    with registry_double() as (double, url):
        registry = HttpRegistry(url)
        yield double, registry
        registry.close()


def test_a_schema_is_registered_once_and_under_the_strictest_rule(served):
    double, registry = served
    assert [registry.register("docs.text-value", SCHEMA) for _ in range(3)] == [1, 1, 1]
    assert double.calls == [
        ("PUT", "/config/docs.text-value"),
        ("POST", "/subjects/docs.text-value/versions"),
    ]
    assert double.config == {"docs.text-value": "BACKWARD_TRANSITIVE"}


def test_a_schema_is_asked_for_once(served):
    double, registry = served
    double.schemas[5] = SCHEMA
    assert [registry.schema(5) for _ in range(3)] == [SCHEMA] * 3
    assert double.calls == [("GET", "/schemas/ids/5")]


def test_a_guid_is_looked_up(served):
    double, registry = served
    guid = UUID(int=7)
    double.replies[f"/schemas/guids/{guid}"] = (200, {"schema": SCHEMA}, {})
    assert registry.schema(guid) == SCHEMA


def test_an_unknown_id_is_refused_and_not_asked_for_with_every_record(served):
    double, registry = served
    for _ in range(3):
        with pytest.raises(CodecError, match="schema 99 is not in the registry"):
            registry.schema(99)
    assert len(double.calls) == 1


def test_rules_that_others_manage_are_left_to_them(served):
    double, registry = served
    double.replies["PUT", "/config/t-value"] = (403, {"message": "no"}, {})
    assert registry.register("t-value", SCHEMA) == 1


def test_a_locked_registry_that_knows_the_schema_is_enough(served):
    double, registry = served
    double.answer("POST", "/subjects/t-value/versions", {"schema": SCHEMA})
    double.replies["POST", "/subjects/t-value/versions"] = (403, {"message": "read only"}, {})
    assert registry.register("t-value", SCHEMA) == 1


def test_an_incompatible_schema_is_refused_in_the_registrys_words(served):
    double, registry = served
    double.replies["/subjects/t-value/versions"] = (
        409,
        {"error_code": 409, "message": "READER_FIELD_MISSING"},
        {},
    )
    with pytest.raises(CodecError, match="READER_FIELD_MISSING"):
        registry.register("t-value", SCHEMA)


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_registry_that_will_not_answer_is_unreachable(served, status):
    double, registry = served
    double.replies["/schemas/ids/1"] = (status, {"message": "not now"}, {})
    with pytest.raises(Unreachable, match=f"HTTP {status} not now"):
        registry.schema(1)


def test_nobody_listening_is_unreachable():
    with registry_double() as (_, url):
        pass
    registry = HttpRegistry(url)
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:\d+ does not answer"):
        registry.schema(1)
    registry.close()


def test_a_redirect_to_another_host_is_refused(served):
    double, registry = served
    double.replies["/schemas/ids/1"] = (302, {}, {"Location": "http://169.254.169.254/latest/meta-data"})
    with pytest.raises(Unreachable, match=r"redirects to 169\.254\.169\.254"):
        registry.schema(1)


def test_a_redirect_within_the_host_is_followed_and_a_circle_is_not(served):
    double, registry = served
    double.schemas[5] = SCHEMA
    double.replies["/schemas/ids/1"] = (307, {}, {"Location": "/schemas/ids/5"})
    double.replies["/schemas/ids/2"] = (307, {}, {"Location": "/schemas/ids/2"})
    assert registry.schema(1) == SCHEMA
    with pytest.raises(Unreachable, match="in circles"):
        registry.schema(2)


@pytest.mark.parametrize(
    "answer",
    [
        {"schema": '{"type":"object"}', "schemaType": "JSON"},
        {"schema": SCHEMA, "references": [{"name": "x"}]},
        {"schema": 5},
        {},
        b"<html>",
        b"[]",
        b'{"schema": "' + b"x" * (3 << 20) + b'"}',
    ],
)
def test_what_is_no_avro_schema_is_refused(served, answer):
    double, registry = served
    double.replies["/schemas/ids/1"] = (200, answer, {})
    with pytest.raises(CodecError):
        registry.schema(1)


def test_credentials_go_along_and_never_into_a_message():
    with registry_double() as (double, url):
        registry = HttpRegistry(url.replace("//", "//ann:s3cret@"))
        assert registry.url == url
        double.schemas[5] = SCHEMA
        registry.schema(5)
        assert double.authorizations == ["Basic " + base64.b64encode(b"ann:s3cret").decode()]
        double.replies["/schemas/ids/1"] = (401, {"message": "who are you"}, {})
        with pytest.raises(Unreachable, match="NVISY_REGISTRY_PASSWORD") as caught:
            registry.schema(1)
        assert "s3cret" not in str(caught.value)
        registry.close()


@pytest.mark.parametrize("url", ["http://registry.example:8081", "http://10.0.0.1:8081"])
def test_a_password_does_not_travel_in_the_clear(url):
    with pytest.raises(UsageError, match="in the clear") as caught:
        HttpRegistry(url, user="ann", password="s3cret")
    assert "s3cret" not in str(caught.value)
    HttpRegistry(url.replace("http:", "https:"), user="ann", password="s3cret").close()


@pytest.mark.parametrize("url", ["registry:8081", "ftp://host", "http://", "file:///etc/passwd"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(UsageError):
        HttpRegistry(url)


def test_a_codec_on_it_reads_what_another_wrote(served):
    double, registry = served
    change = Change(ORIGIN, items=tuple(item.replaced(provenance=ORIGIN) for item in EVERY))
    value = Codec(registry).encode_change(change, "t")
    other = HttpRegistry(registry.url)
    assert Codec(other).decode_change(value, topic="t", partition=0, offset=0) == change
    assert len(double.calls) == 3
    other.close()
