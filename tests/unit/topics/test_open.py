import subprocess
import sys

import pytest

from nvisy.errors import UsageError
from nvisy.topics.embedded import EmbeddedLog
from nvisy.topics.open import open_log


@pytest.mark.parametrize("url", [None, ""])
def test_without_an_address_the_log_is_embedded(tmp_path, url):
    log = open_log(url, root=tmp_path / "log", environ={})
    assert isinstance(log, EmbeddedLog)
    assert log.url == f"embedded:{tmp_path / 'log'}"


def test_an_address_of_no_known_kind_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="kafka://host:port"):
        open_log("redis://localhost", root=tmp_path, environ={})


def test_the_embedded_log_does_not_load_the_kafka_client():
    script = "import sys, nvisy.topics.open; print('confluent_kafka' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
