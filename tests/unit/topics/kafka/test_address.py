import pytest

from nvisy.errors import UsageError
from nvisy.topics.kafka.address import parse_address

_SASL = {
    "NVISY_KAFKA_SASL_MECHANISM": "PLAIN",
    "NVISY_KAFKA_SASL_USERNAME": "ann",
    "NVISY_KAFKA_SASL_PASSWORD": "s3cret",
}


def test_several_brokers_without_sign_in():
    address = parse_address("kafka://one:9092,two:9093/", {})
    assert address.url == "kafka://one:9092,two:9093"
    assert address.settings == {"bootstrap.servers": "one:9092,two:9093", "security.protocol": "PLAINTEXT"}


@pytest.mark.parametrize(
    ("url", "environ", "protocol"),
    [
        ("kafka://h:1", {}, "PLAINTEXT"),
        ("kafka+ssl://h:1", {}, "SSL"),
        ("kafka://h:1", _SASL, "SASL_PLAINTEXT"),
        ("kafka+ssl://[::1]:9092", _SASL, "SASL_SSL"),
    ],
)
def test_the_protocol_follows_from_the_scheme_and_the_sign_in(url, environ, protocol):
    assert parse_address(url, environ).settings["security.protocol"] == protocol


@pytest.mark.parametrize(
    "url",
    [
        "kafka://",
        "kafka://host",
        "kafka://host:port",
        "kafka://a:1,b",
        "kafka://a:1/x",
        "kafka://ann:s3cret@h:1",
    ],
)
def test_what_is_no_address_is_a_usage_error_that_shows_no_password(url):
    with pytest.raises(UsageError) as caught:
        parse_address(url, {})
    assert "s3cret" not in str(caught.value)


def test_a_password_is_not_shown_with_the_address():
    assert "s3cret" not in repr(parse_address("kafka://h:1", _SASL))


@pytest.mark.parametrize("missing", ["NVISY_KAFKA_SASL_USERNAME", "NVISY_KAFKA_SASL_PASSWORD"])
def test_half_a_sign_in_is_a_usage_error_that_names_what_is_missing(missing):
    environ = {name: value for name, value in _SASL.items() if name != missing}
    with pytest.raises(UsageError, match=missing):
        parse_address("kafka://h:1", environ)


def test_files_that_are_not_there_are_named(tmp_path):
    environ = {"NVISY_KAFKA_SSL_CA_LOCATION": str(tmp_path / "ca.pem")}
    with pytest.raises(UsageError, match=r"ca\.pem"):
        parse_address("kafka+ssl://h:1", environ)
    environ = _SASL | {"NVISY_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password")}
    del environ["NVISY_KAFKA_SASL_PASSWORD"]
    with pytest.raises(UsageError, match="PASSWORD_FILE"):
        parse_address("kafka://h:1", environ)
