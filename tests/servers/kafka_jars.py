"""Apache Kafka's jars, fetched once by Maven into `.parts/` and shared by all later runs."""

import shutil
from pathlib import Path

from tests.servers.runner import run_to_end
from tests.servers.session import locked

VERSION = "4.1.0"
_ROOT = Path(__file__).parents[2]
_JARS = _ROOT / ".parts" / f"kafka-{VERSION}"
_POM = Path(__file__).with_name("kafka_pom.xml")


def kafka_jars() -> Path:
    """The folder of Kafka's jars, filled if this is the first time.

    Raises:
        RuntimeError: Java is missing, or the jars are not there yet and Maven cannot fetch them.
    """
    if shutil.which("java") is None:
        raise RuntimeError(_missing("a Java runtime, 17 or later"))
    _JARS.parent.mkdir(exist_ok=True)
    with locked(_JARS.with_name("kafka.lock")):
        if not _JARS.exists():
            _fetch()
    return _JARS


def _fetch() -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise RuntimeError(_missing("Maven (`mvn`), which fetches the broker the first time"))
    partial = _JARS.with_name("kafka.partial")
    shutil.rmtree(partial, ignore_errors=True)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={partial}", f"-Dkafka.version={VERSION}"]
    run_to_end([maven, "-q", "-B", "--strict-checksums", "-f", str(_POM), *goal], timeout_s=900)
    partial.rename(_JARS)


def _missing(what: str) -> str:
    return f"the tests need a real Kafka: start a Docker engine, or install Java and Maven. Not found: {what}"
