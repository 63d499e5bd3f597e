"""Which registry a process uses."""

import pytest

from nvisy.codec import open_registry
from nvisy.codec.file_registry import FileRegistry
from nvisy.codec.http_registry import HttpRegistry
from nvisy.errors import UsageError
from tests.unit.codec.registry_double import registry_double

SCHEMA = '{"type":"record","name":"R","fields":[]}'


def test_without_a_url_it_is_a_folder_of_the_project(tmp_path):
    registry = open_registry({}, tmp_path)
    assert isinstance(registry, FileRegistry)
    assert registry.url == str(tmp_path / "schemas")


def test_with_a_url_it_is_that_one_and_the_password_may_come_from_a_file(tmp_path):
    (tmp_path / "secret").write_text("s3cret\n")
    with registry_double() as (double, url):
        for password in (
            {"NVISY_REGISTRY_PASSWORD": "s3cret"},
            {"NVISY_REGISTRY_PASSWORD_FILE": str(tmp_path / "secret")},
        ):
            registry = open_registry(
                {"NVISY_REGISTRY_URL": url, "NVISY_REGISTRY_USER": "ann", **password}, tmp_path
            )
            assert isinstance(registry, HttpRegistry)
            registry.register("t-value", SCHEMA)
            registry.close()
        assert len(set(double.authorizations)) == 1
        assert double.authorizations[0].startswith("Basic ")


def test_a_password_file_that_cannot_be_read_is_said(tmp_path):
    settings = {
        "NVISY_REGISTRY_URL": "http://localhost:1",
        "NVISY_REGISTRY_PASSWORD_FILE": str(tmp_path / "missing"),
    }
    with pytest.raises(UsageError, match=r"NVISY_REGISTRY_PASSWORD_FILE=.*No such file"):
        open_registry(settings, tmp_path)
