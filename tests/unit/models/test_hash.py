import hashlib
import random
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from nvisy.models.hash import DESCRIPTOR, HashModel, HashParams

SENTENCES = ["The cat sat on the mat.", "Offsets are committed once per batch.", "größe ИДЁТ 中文 naïve", "a"]
RARE = ["zanzibarite", "floccinaucity", "borborygmus", "xanthophobia", "quizzaciously", "wolframiteous"]


def prose(count: int, words_each: int, seed: int) -> list[str]:
    """Chunks over a vocabulary whose words come as often as those of a language do."""
    rng = random.Random(seed)
    syllables = [a + b for a in "bcdfghklmnprstv" for b in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.choice([1, 1, 2, 2, 3, 3, 4]))) for _ in range(2000)]
    weights = [1 / (rank + 2) for rank in range(len(words))]
    return [" ".join(rng.choices(words, weights, k=words_each)) for _ in range(count)]


def digest(texts: list[str]) -> str:
    return hashlib.sha256(HashModel().embed(texts).vectors.tobytes()).hexdigest()


def test_an_exact_rare_word_in_15000_chunks_is_among_the_first_50():
    chunks = prose(15_000, 50, seed=1)
    places = random.Random(2).sample(range(len(chunks)), len(RARE))
    for word, place in zip(RARE, places, strict=True):
        chunks[place] = f"{chunks[place][:120]} {word} {chunks[place][120:]}"
    model = HashModel()
    vectors = np.concatenate([model.embed(chunks[at : at + 1024]).vectors for at in range(0, 15_000, 1024)])
    scores = vectors @ model.embed(RARE).vectors.T
    ranks = [int((scores[:, i] > scores[place, i]).sum()) + 1 for i, place in enumerate(places)]
    assert max(ranks) <= 50, dict(zip(RARE, ranks, strict=True))


def test_vectors_are_unit_float32_of_the_dimensions_asked_for():
    for dimensions in (8, 256, 1000, 4096):
        vectors = HashModel(dimensions).embed(SENTENCES).vectors
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(SENTENCES), dimensions)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("dimensions", [8, 256])
def test_no_text_has_a_zero_vector(dimensions):
    texts = [
        "",
        " ",
        "\n\t",
        "...!?",
        "🙂",
        "🙂🙃",
        "\ud800",
        "a",
        "ab",
        "--",
        "\x00",
        *map(chr, range(33, 2000)),
    ]
    for start in range(0, len(texts), 1000):
        vectors = HashModel(dimensions).embed(texts[start : start + 1000]).vectors
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_the_bits_are_these_ones():
    assert digest(SENTENCES)[:12] == "a0bb5fec54da"


def test_another_process_gives_the_same_bits():
    code = (
        "import hashlib; from nvisy.models.hash import HashModel;"
        f"print(hashlib.sha256(HashModel().embed({SENTENCES!r}).vectors.tobytes()).hexdigest())"
    )
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        )
        assert run.stdout.strip() == digest(SENTENCES)


def test_a_batch_gives_the_bits_of_its_texts_one_by_one():
    texts = prose(200, 60, seed=3)
    whole = HashModel().embed(texts).vectors
    model = HashModel()
    np.testing.assert_array_equal(whole, np.concatenate([model.embed([text]).vectors for text in texts]))


def test_what_it_has_forgotten_comes_out_the_same_again(monkeypatch):
    texts = prose(50, 60, seed=4)
    expected = HashModel().embed(texts).vectors
    monkeypatch.setattr("nvisy.models.hash._KEPT_WORDS", 10)
    model = HashModel()
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([model.embed([t]).vectors for t in texts]), expected)


def test_case_and_punctuation_do_not_matter_and_a_shared_stem_does():
    model = HashModel()
    vectors = model.embed(
        ["Commit the OFFSET", "commit, the... offset!", "committing offsets", "blue whale"]
    ).vectors
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[3] + 0.2


def test_a_huge_text_of_one_word_is_embedded():
    assert HashModel().embed(["x" * 1_000_000]).vectors.shape == (1, 256)


def test_no_texts_give_no_vectors():
    assert HashModel(16).embed([]).vectors.shape == (0, 16)


def test_dimensions_outside_8_to_4096_are_refused():
    for dimensions in (7, 4097, 0, -1):
        with pytest.raises(ValidationError):
            HashParams(dimensions=dimensions)


def test_the_descriptor_knows_the_facts_and_opens_the_model():
    params = HashParams(dimensions=64)
    model = DESCRIPTOR.open(params)
    assert DESCRIPTOR.facts(params) == (model.revision, model.dimensions) == ("1", 64)
    assert model.name == DESCRIPTOR.name == "local/hash"
    model.close()
    model.close()


def test_a_batch_too_large_for_one_pass_gives_the_same_bits(monkeypatch):
    texts = prose(50, 60, seed=5)
    whole = HashModel().embed(texts).vectors
    monkeypatch.setattr("nvisy.models.hash._WORDS_AT_ONCE", 100)
    np.testing.assert_array_equal(HashModel().embed(texts).vectors, whole)
