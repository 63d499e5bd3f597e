"""Changes and versions: their keys and their order."""

from nvisy.primitives import Change, Chunk, Provenance, Version


def test_a_changes_key_names_source_and_document():
    assert Change(Provenance("files", "a/b c.md")).message_key == b"files/a/b c.md"


def test_other_items_leave_the_rest_as_it_was():
    change = Change(Provenance("s", "k"), fingerprint=b"f", graph="g", trace="t")
    items = (Chunk(text="x"),)
    assert change.with_items(items) == Change(
        change.origin, items=items, fingerprint=b"f", graph="g", trace="t"
    )


def test_versions_compare_by_incarnation_first_and_so_do_their_numbers():
    versions = [Version(0, 5), Version(1, 0), Version(1, 2**36 - 1), Version(2**17 - 1, 3)]
    assert sorted(versions) == versions
    numbers = [version.number for version in versions]
    assert sorted(numbers) == numbers
    assert all(number < 2**53 for number in numbers)
    assert [Version.of(number) for number in numbers] == versions
