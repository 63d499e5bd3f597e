"""The registry in a folder."""

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from nvisy.codec.file_registry import FileRegistry
from nvisy.errors import CodecError, Unreachable

SCHEMA = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}'
WIDER = (
    '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}, '
    '{"name": "b", "type": "long", "default": 0}]}'
)
OTHER = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}'


@pytest.fixture
def registry(tmp_path):
    return FileRegistry(tmp_path / "schemas")


def test_a_schema_keeps_its_number_whatever_its_subject_or_spelling(registry, tmp_path):
    first = registry.register("a-value", SCHEMA)
    assert registry.register("b-value", SCHEMA.replace(" ", "")) == first
    assert FileRegistry(tmp_path / "schemas").register("c-value", SCHEMA) == first
    assert '"name":"R"' in FileRegistry(tmp_path / "schemas").schema(first)


def test_another_schema_gets_another_number(registry):
    first, second = registry.register("a-value", SCHEMA), registry.register("a-value", WIDER)
    assert first != second
    assert registry.register("a-value", SCHEMA) == first


def test_a_folder_that_was_lost_gives_the_same_numbers_again_in_any_order(registry, tmp_path):
    numbers = {
        schema: registry.register(f"{place}-value", schema) for place, schema in enumerate((SCHEMA, OTHER))
    }
    elsewhere = FileRegistry(tmp_path / "another host")
    assert {schema: elsewhere.register("x", schema) for schema in (OTHER,)} == {OTHER: numbers[OTHER]}
    assert elsewhere.register("y", SCHEMA) == numbers[SCHEMA]


def test_a_schema_that_cannot_read_what_its_subject_holds_is_refused(registry):
    registry.register("a-value", SCHEMA)
    registry.register("a-value", WIDER)
    with pytest.raises(
        CodecError, match=r"a-value holds records of schema \d+ .* R\.a: was long and is string"
    ):
        registry.register("a-value", OTHER)
    registry.register("b-value", OTHER)


def test_an_unknown_number_and_a_guid_are_refused(registry):
    for ref in (77, uuid4()):
        with pytest.raises(CodecError):
            registry.schema(ref)


def test_a_folder_that_cannot_be_written_is_an_answer_that_does_not_come(tmp_path):
    (tmp_path / "schemas").write_text("a file where the folder should be")
    with pytest.raises(Unreachable, match="schemas"):
        FileRegistry(tmp_path / "schemas").register("a-value", SCHEMA)


def test_processes_that_register_at_once_never_share_a_number_unless_they_share_the_schema(tmp_path):
    program = (
        "import sys; from pathlib import Path; from nvisy.codec.file_registry import FileRegistry\n"
        "registry = FileRegistry(Path(sys.argv[1]))\n"
        "for n in range(8):\n"
        "    name = f'Shared{n}' if n % 2 else f'Own{n}of{sys.argv[2]}'\n"
        '    schema = \'{"type": "record", "name": "%s", "fields": []}\' % name\n'
        "    print(name, registry.register(f'{name}-value', schema))\n"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", program, str(tmp_path / "s")]
    workers = [
        subprocess.Popen([*command, str(index)], stdout=subprocess.PIPE, text=True, cwd=root)
        for index in range(3)
    ]
    lines = [line.split() for worker in workers for line in worker.communicate(timeout=60)[0].splitlines()]
    assert len(lines) == 24
    numbers = {}
    for name, number in lines:
        assert numbers.setdefault(name, number) == number
    assert len(set(numbers.values())) == len(numbers) == 16


def test_a_damaged_file_is_named(registry, tmp_path):
    number = registry.register("a-value", SCHEMA)
    (damaged,) = (tmp_path / "schemas").rglob(f"{number}.avsc")
    damaged.write_bytes(b"\x00 no schema")
    with pytest.raises(Unreachable, match=f"{number}.avsc is damaged"):
        FileRegistry(tmp_path / "schemas").register("a-value", SCHEMA)
