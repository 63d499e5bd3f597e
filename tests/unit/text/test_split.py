"""`split`: what its spans cover, where they are cut, and how few an edit moves."""

import base64
import random
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nvisy.text.split import Span, split

SIZE = 400
WORDS = "the of and to in is that for it as was with be by on not he his but at are this".split()  # noqa: SIM905

texts = st.text(
    alphabet=st.one_of(st.sampled_from("ab .,\n#-!\t。\uff0c漢\u2028\ud800"), st.characters()), max_size=400
) | st.lists(
    st.sampled_from(["word ", "A sentence. ", "\n\n", "\n", "# Title\n", "x" * 50]), max_size=60
).map("".join)


def sentence(rng):
    return " ".join(rng.choices(WORDS, k=rng.randint(4, 24))).capitalize() + "."


def one_line(rng):
    return " ".join(sentence(rng) for _ in range(800))[:50_000]


def prose(rng):
    return "\n\n".join(" ".join(sentence(rng) for _ in range(rng.randint(1, 7))) for _ in range(200))[:50_000]


def hard_wrapped(rng):
    words = prose(rng).split(" ")
    return "".join(word + ("\n" if at % 12 == 11 else " ") for at, word in enumerate(words))


def markdown(rng):
    blocks = ["# A document"]
    for at in range(220):
        if at % 9 == 8:
            blocks.append("## " + " ".join(rng.choices(WORDS, k=4)))
        elif at % 5 == 4:
            blocks.append("\n".join("- " + sentence(rng) for _ in range(rng.randint(2, 7))))
        else:
            blocks.append(" ".join(sentence(rng) for _ in range(rng.randint(1, 6))))
    return "\n\n".join(blocks)[:50_000]


def no_punctuation(rng):
    return " ".join(rng.choices(WORDS, k=15_000))[:50_000]


def chinese(rng):
    return "".join(chr(rng.randint(0x4E00, 0x6000)) for _ in range(50_000))


def blob(rng):
    return base64.b64encode(rng.randbytes(37_500)).decode()


DOCUMENTS = [one_line, prose, hard_wrapped, markdown, no_punctuation, chinese, blob]
INSERTED = ["x" * 33, "Some inserted words, 33 of them. ", "# A heading of just 33 letters.\n\n", "\n" * 33]


def chunks(text, size=SIZE, overlap=0):
    return Counter(text[start:end] for start, end in split(text, size, overlap))


def moved(old, new):
    """How many chunk texts are only in one of two versions, counted in the version that has more of them."""
    before, after = chunks(old), chunks(new)
    return max((after - before).total(), (before - after).total())


@given(texts, st.integers(1, 90))
@example("a" * 300, 7)
@example("Same sentence. " * 40, 50)
def test_spans_fit_are_in_order_and_hold_every_visible_character_once(text, size):
    spans = split(text, size)
    assert all(0 < end - start <= size for start, end in spans)
    assert all(left.end <= right.start for left, right in pairwise(spans))
    assert "".join("".join(text[a:b].split()) for a, b in spans) == "".join(text.split())
    assert all(text[a:b] == text[a:b].strip() for a, b in spans)


@given(texts, st.integers(2, 90), st.data())
def test_overlap_stays_within_the_size_and_repeats_only_the_previous_chunk(text, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    spans, bare = split(text, size, overlap), split(text, size - overlap)
    assert [span.end for span in spans] == [span.end for span in bare]
    assert all(0 < end - start <= size for start, end in spans)
    for before, span, alone in zip(bare, spans[1:], bare[1:], strict=False):
        assert max(before.start, alone.start - overlap) <= span.start <= alone.start
        assert not text[span.start].isspace()


def test_overlap_starts_at_a_word():
    text = one_line(random.Random(0))
    for start, _ in split(text, 400, 60)[1:]:
        assert text[start - 1] == " "


@pytest.mark.parametrize("blank", ["", " ", "\n\n\t ", "\u2003\n"])
def test_blank_text_has_no_spans(blank):
    assert split(blank, 10) == []


def test_short_text_is_one_trimmed_span():
    assert split("  hello world \n", 40) == [Span(2, 13)]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-1, 0), (10, 10), (10, -1)])
def test_impossible_sizes_are_refused(size, overlap):
    with pytest.raises(ValueError, match="characters"):
        split("text", size, overlap)


@pytest.mark.parametrize("inserted", INSERTED)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_33_characters_at_the_top_move_at_most_two_chunks(document, inserted):
    for seed in range(4):
        text = document(random.Random(seed))
        assert moved(text, inserted + text) <= 2


@given(st.sampled_from(DOCUMENTS), st.integers(0, 10**6), st.sampled_from(INSERTED))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_33_characters_at_the_top_of_any_document_move_at_most_two_chunks(document, seed, inserted):
    text = document(random.Random(seed))
    assert moved(text, inserted + text) <= 2


@pytest.mark.parametrize(
    "inserted", [" more words without any full stop", "Some inserted words, 33 of them. "]
)
@pytest.mark.parametrize("document", [one_line, prose, hard_wrapped, markdown, no_punctuation])
def test_33_characters_in_the_middle_move_two_chunks_or_rarely_three(document, inserted):
    counts = []
    for seed in range(25):
        rng = random.Random(seed)
        text = document(rng)
        at = rng.randrange(len(text))
        counts.append(moved(text, text[:at] + inserted + text[at:]))
    assert sum(count <= 2 for count in counts) >= 20
    assert max(counts) <= 5


@pytest.mark.parametrize("document", [one_line, prose, hard_wrapped, markdown])
def test_a_deleted_sentence_moves_two_chunks_or_rarely_three(document):
    counts = []
    for seed in range(25):
        rng = random.Random(seed)
        text = document(rng)
        start = text.index(".", rng.randrange(len(text) - 2000)) + 2
        end = text.index(".", start) + 2
        counts.append(moved(text, text[:start] + text[end:]))
    assert sum(count <= 2 for count in counts) >= 21
    assert max(counts) <= 5


def test_most_chunks_are_between_a_third_of_the_size_and_the_size():
    lengths = sorted(end - start for start, end in split(prose(random.Random(3)), SIZE))
    assert 0.45 * SIZE <= lengths[len(lengths) // 2] <= SIZE
    assert lengths[len(lengths) // 10] >= 0.25 * SIZE


def test_prose_is_cut_between_sentences():
    text = one_line(random.Random(4))
    assert all(text[start:end].endswith(".") for start, end in split(text, SIZE)[:-1])


def test_a_word_is_not_cut_while_spaces_will_do():
    text = no_punctuation(random.Random(5))
    assert {word for start, end in split(text, SIZE) for word in text[start:end].split()} <= {
        *WORDS,
        text.split()[-1],
    }


def test_a_heading_stays_with_its_section():
    text = markdown(random.Random(6))
    for start, end in split(text, SIZE):
        assert not text[start:end].splitlines()[-1].startswith("#")


def test_a_repeated_sentence_makes_equal_chunks():
    assert len(chunks("The same sentence over and over. " * 1500)) <= 3


def test_another_process_cuts_at_the_same_places():
    text = markdown(random.Random(7)) + chinese(random.Random(7))[:5000]
    code = (
        "import sys; from nvisy.text.split import split; print(split(sys.stdin.buffer.read().decode(), 300))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=text.encode(),
        capture_output=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert done.stdout.decode().strip() == str(split(text, 300))


@pytest.mark.parametrize("unit", ["a", "\n", " ", ".", ". ", ".\n", "# ", "\n\n", "1", '."', "漢", "ab"])
def test_hostile_text_takes_time_linear_in_its_length(unit):
    def seconds(repeats):
        started = time.process_time()
        split(unit * repeats, SIZE)
        return time.process_time() - started

    assert seconds(400_000) < 12 * seconds(100_000) + 0.5
