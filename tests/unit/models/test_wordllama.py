import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from nvisy.models import wordllama
from nvisy.models.wordllama import DESCRIPTOR, WordllamaParams

PASSAGES = [
    "When a document cannot be processed, its change is kept in the dead-letter topic with the error.",
    "The graph is cut into stages at its topics, and every stage is one process.",
    "A sink replaces the records of a document as a whole: new ones in, older ones out.",
    "Set NVISY_LOG to kafka://host:port to use a broker in place of the embedded log.",
    "Chunks are cut where the text itself says so, so that an edit at the top moves few of them.",
    "The connector is a distribution of its own and is found by its entry point.",
    "Passwords are never stored or printed; they come from variables when a run starts.",
    "Postgres holds the vectors in a table with an HNSW index, built after the first load.",
]
QUESTIONS = {
    "Where do files with errors end up?": 0,
    "How is a pipeline divided into processes?": 1,
    "Which setting connects it to a message broker?": 3,
    "Are credentials written to a file?": 6,
    "Which database stores embeddings?": 7,
}


@pytest.fixture(scope="module")
def model():
    model = DESCRIPTOR.open(WordllamaParams())
    yield model
    model.close()


def test_a_question_in_other_words_finds_its_passage(model):
    scores = model.embed(list(QUESTIONS)).vectors @ model.embed(PASSAGES).vectors.T
    best = dict(zip(QUESTIONS, scores.argmax(axis=1).tolist(), strict=True))
    assert best == QUESTIONS


@pytest.mark.parametrize("dimensions", [64, 128, 256])
def test_vectors_are_unit_float32_of_the_dimensions_asked_for(dimensions):
    params = WordllamaParams(dimensions=dimensions)
    model = DESCRIPTOR.open(params)
    texts = ["", " ", "🙂", "\ud800", "\x00", "中文", *PASSAGES]
    vectors = model.embed(texts).vectors
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), dimensions)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert DESCRIPTOR.facts(params) == (model.revision, model.dimensions)


def test_a_batch_gives_the_bits_of_its_texts_one_by_one(model):
    texts = [*PASSAGES, "short", " ".join(PASSAGES)]
    alone = np.concatenate([model.embed([text]).vectors for text in texts])
    np.testing.assert_array_equal(model.embed(texts).vectors, alone)


def test_a_long_text_is_the_mean_of_all_its_tokens(model, monkeypatch):
    text = " ".join(PASSAGES * 20)
    whole = model.embed([text]).vectors
    monkeypatch.setattr(wordllama, "_TOKENS_AT_ONCE", 100)
    np.testing.assert_allclose(model.embed([text]).vectors, whole, atol=1e-6)


def test_other_dimensions_are_refused():
    with pytest.raises(ValidationError):
        WordllamaParams(dimensions=100)


def test_it_loads_without_network_log_lines_or_warnings_and_only_when_opened():
    code = """
import logging, socket, sys
def refuse(*_): raise AssertionError("the network was asked for")
socket.socket.connect = socket.getaddrinfo = refuse
from nvisy.models.wordllama import DESCRIPTOR, WordllamaParams
assert DESCRIPTOR.facts(WordllamaParams()) == ("l2-supercat-1", 256)
assert not {"tokenizers", "safetensors", "wordllama"} & sys.modules.keys()
DESCRIPTOR.open(WordllamaParams()).embed(["a text"] * 300)
assert not {"wordllama", "requests"} & sys.modules.keys()
assert not logging.root.handlers
import subprocess
subprocess.run([sys.executable, "-c", ""], check=True)
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
