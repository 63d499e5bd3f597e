"""The schema files: no drift, and no version that readers or data would be left behind by."""

import re
import shutil
from pathlib import Path

import orjson
import pytest

from nvisy.codec.files import drifted, incompatible, schemas, write_schemas

FOLDER = Path(__file__).parents[3] / "schemas" / "avro"


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(FOLDER, tmp_path / "avro"))


def edit(path, change):
    schema = orjson.loads(path.read_bytes())
    change({field["name"]: field for field in schema["fields"]}, schema)
    path.write_bytes(orjson.dumps(schema))


def test_the_files_are_what_the_code_says():
    assert drifted(FOLDER) == [], "run write_schemas: the schemas have changed"


def test_todays_code_reads_every_earlier_version_and_earlier_readers_read_todays_data():
    assert incompatible(FOLDER) == []


def test_drift_is_noticed_in_every_form(copy):
    (copy / "chunk.avsc").unlink()
    (copy / "document.avsc").write_bytes(b"{}")
    (copy / "stray.avsc").write_bytes(b"{}")
    (copy / "history" / "embedding.v1.avsc").unlink()
    assert drifted(copy) == ["chunk.avsc", "document.avsc", "history/embedding.avsc", "stray.avsc"]


def test_writing_mends_drift_and_keeps_what_changed_as_a_version(copy):
    edit(
        copy / "history" / "chunk.v1.avsc", lambda fields, schema: schema["fields"].remove(fields["ordinal"])
    )
    (copy / "chunk.avsc").unlink()
    assert write_schemas(copy) == ["history/chunk.v2.avsc", "chunk.avsc"]
    assert drifted(copy) == []
    assert write_schemas(copy) == []


def test_a_new_sentence_in_a_schema_is_no_new_version(copy):
    edit(copy / "history" / "chunk.v1.avsc", lambda fields, _: fields["text"].update(doc="Other words."))
    assert write_schemas(copy) == []


def remove_field(name):
    return lambda fields, schema: schema["fields"].remove(fields[name])


@pytest.mark.parametrize(
    ("earlier", "said"),
    [
        (remove_field("text"), r"data of version 1 cannot be read.*Chunk\.text: has no default"),
        (
            lambda fields, _: fields["ordinal"].update(type="string"),
            r"Chunk\.ordinal: was string and is long",
        ),
        (
            lambda _, schema: schema["fields"].append({"name": "gone", "type": "string"}),
            r"readers of version 1 cannot read it.*Chunk\.gone",
        ),
    ],
    ids=["a removed default", "a changed type", "a removed field"],
)
def test_a_change_that_breaks_an_earlier_version_is_caught(copy, earlier, said):
    edit(copy / "history" / "chunk.v1.avsc", earlier)
    assert any(re.search(said, fault) for fault in incompatible(copy))


def test_every_primitive_and_the_change_have_a_file():
    assert len(schemas()) == 10
    assert isinstance(schemas()["change.avsc"], list)
