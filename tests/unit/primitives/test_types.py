"""The registry of primitives."""

import pytest

from nvisy.errors import UsageError
from nvisy.primitives import BUILTIN, Document, Primitive, PrimitiveTypes


class Invoice(Primitive):
    total: float = 0.0


def test_the_nine_are_there_and_a_users_own_beside_them():
    types = PrimitiveTypes([Invoice])
    assert list(types) == sorted([*(cls.type for cls in BUILTIN), "Invoice"])
    assert types["Invoice"] is Invoice
    assert len(PrimitiveTypes()) == 9


def test_the_same_class_twice_is_once():
    assert len(PrimitiveTypes([Invoice, Invoice, Document])) == 10


def test_two_classes_of_one_name_are_refused():
    other = type("Document", (Primitive,), {"__module__": "elsewhere"})
    with pytest.raises(UsageError, match=r"elsewhere\.Document and nvisy\.primitives\.document\.Document"):
        PrimitiveTypes([other])


@pytest.mark.parametrize("name", ["Change", "Provenance", "two words", "naïve-ü", ""])
def test_a_name_that_cannot_be_one_is_refused(name):
    cls = type("Odd", (Primitive,), {"type": name, "__module__": __name__})
    with pytest.raises(UsageError, match="cannot be named"):
        PrimitiveTypes([cls])


def test_what_is_no_primitive_is_refused():
    with pytest.raises(UsageError, match="derive it from"):
        PrimitiveTypes([dict])
