"""`local/wordllama`: meaning, from weights that come with the installation and need no network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nvisy.connector.descriptor import ModelDescriptor, Params
from nvisy.connector.model import Embedded
from nvisy.errors import Fatal

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME = "local/wordllama"
REVISION = "l2-supercat-1"

_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_TOKENS_AT_ONCE = 1 << 14


class WordllamaParams(Params):
    """Parameters of `local/wordllama`."""

    dimensions: Literal[64, 128, 256] = Field(256, description="Length of the vectors: 64, 128 or 256.")


class WordllamaModel:
    """Static word vectors, averaged over the tokens of a text: fast on one core, and knows which words are related.

    The weights are WordLlama's, trained so that the first 64 or 128 numbers of a vector serve alone. A text's
    vector depends on no other text, so batches of any size give the same bits.
    """

    name = NAME
    revision = REVISION
    max_batch = 256
    max_in_flight = 1
    cached = True

    def __init__(self, weights: NDArray[np.float32], tokenizer: Tokenizer) -> None:
        """Weights of shape (tokens, dimensions), and what turns a text into tokens."""
        self.dimensions = weights.shape[1]
        self._weights = weights
        self._tokenizer = tokenizer

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Unit vectors for `texts`. One without a known token, the empty text, gets the same vector as any other."""
        sums = np.zeros((len(texts), self.dimensions), np.float32)
        encoded = self._tokenizer.encode_batch_fast(
            [_encodable(text) for text in texts], add_special_tokens=False
        )
        for index, tokens in enumerate(encoded):
            ids = tokens.ids
            for start in range(0, len(ids), _TOKENS_AT_ONCE):
                sums[index] += self._weights[ids[start : start + _TOKENS_AT_ONCE]].sum(axis=0)
        lengths = np.linalg.norm(sums, axis=1)
        nothing = lengths == 0
        sums[nothing, 0] = lengths[nothing] = 1
        return Embedded(sums / lengths[:, None])

    def close(self) -> None:
        """The weights go with the model."""


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _open(params: WordllamaParams) -> WordllamaModel:
    from safetensors.numpy import load_file  # noqa: PLC0415 - drivers are imported when they are opened
    from tokenizers import Tokenizer  # noqa: PLC0415

    # The package itself is not imported: that would set up logging for the whole process and load an HTTP client.
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise Fatal(f"{NAME} needs the package `wordllama`: pip install wordllama==0.4.0.post1")
    folder = Path(spec.origin).parent
    try:
        weights = load_file(folder / _WEIGHTS)["embedding.weight"][:, : params.dimensions]
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    except Exception as error:  # the tokenizer's errors have no class of their own
        raise Fatal(
            f"{NAME} cannot read its weights in {folder} ({error}); reinstall wordllama==0.4.0.post1"
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return WordllamaModel(np.ascontiguousarray(weights, np.float32), tokenizer)


DESCRIPTOR = ModelDescriptor(
    name=NAME,
    summary="Semantic, small and fast: WordLlama's averaged word vectors, with its weights installed.",
    params=WordllamaParams,
    facts=lambda params: (REVISION, params.dimensions),
    open=_open,
)
