import re
from pathlib import Path

from nvisy.graph import codes


def test_every_code_that_is_given_is_explained_and_every_explained_one_is_given():
    folder = Path(codes.__file__).parent
    sources = [*folder.glob("*.py"), *(folder.parent / "plan").glob("*.py")]
    text = "".join(path.read_text() for path in sources if path.name != "codes.py")
    given = set(re.findall(r'"(NV\d{4})"', text))
    assert given <= set(codes.CODES)
    assert set(codes.CODES) - given <= {"NV1521", "NV1522", "NV1523"}  # given by the plan


def test_every_code_has_a_title_and_a_paragraph():
    for code, page in codes.CODES.items():
        assert re.fullmatch(r"NV1\d{3}", code)
        assert page.title
        assert page.text.endswith(".")
