"""Text: a real sentence encoder, a network of words, and sentences that ship with SciPy.

pip install 'qsynth[text]'
python scipy_sentences.py sentences.npz
qsynth compare +recipe=text data.path=sentences.npz

The task: which part of SciPy does a sentence of its documentation speak of?  Run it in this
folder: the recipe names `scipy_sentences.sentence_encoder` and `scipy_sentences.WordNetwork`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import wordllama
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

PARTS = (
    "signal",
    "stats",
    "optimize",
    "sparse",
    "linalg",
    "interpolate",
    "ndimage",
    "spatial",
    "special",
    "integrate",
)
LENGTH = 48  # tokens of a sentence; 0 is none
VOCABULARY = 32000
SHORTEST, LONGEST = 40, 300  # letters of a sentence


class SentenceEncoder(nn.Module):
    """Give the mean embedding (n, 256) of the tokens (n, LENGTH) of WordLlama's l2_supercat.

    The weights ship inside the package `wordllama` (MIT): nothing is downloaded.
    """

    def __init__(self) -> None:
        super().__init__()
        (file,) = _package().rglob("l2_supercat_256.safetensors")
        self.embedding = nn.Embedding.from_pretrained(load_file(file)["embedding.weight"].float())

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (n, 256)."""
        index = tokens.round().long().clamp(0, VOCABULARY - 1)
        there = (index > 0).float().unsqueeze(-1)
        return (self.embedding(index) * there).sum(1) / there.sum(1).clamp_min(1.0)


def sentence_encoder() -> nn.Module:
    """Return the encoder that every node has."""
    return SentenceEncoder()


class WordNetwork(pl.LightningModule):
    """A small network of a node's own: embeddings of hashed tokens, learned from scratch."""

    def __init__(self, width: int = 64, words: int = 4096, classes: int = len(PARTS)) -> None:
        super().__init__()
        self.words = words
        self.embedding = nn.EmbeddingBag(words, width, mode="mean", padding_idx=0)
        self.layers = nn.Sequential(nn.ReLU(), nn.Linear(width, classes))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (n, classes)."""
        index = tokens.round().long()
        hashed = torch.where(index > 0, 1 + index % (self.words - 1), index)
        logits: Tensor = self.layers(self.embedding(hashed))
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the cross-entropy of a batch."""
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def sentences() -> Iterator[tuple[str, int]]:
    """Give sentences of SciPy's documentation, each once, with the number of their part."""
    seen = set()
    for label, part in enumerate(PARTS):
        module = importlib.import_module(f"scipy.{part}")
        for name in dir(module):
            found = getattr(module, name)
            if not getattr(found, "__module__", "").startswith(f"scipy.{part}"):
                continue
            told = re.split(
                r"\n\s*(Examples|References|See Also)\s*\n", inspect.getdoc(found) or ""
            )
            for paragraph in re.split(r"\n\s*\n", told[0]):
                line = " ".join(paragraph.split())
                for sentence in re.split(r"(?<=[.])\s+(?=[A-Z])", line):
                    plain = re.sub(rf"\b(scipy|{part})\b", "", sentence, flags=re.IGNORECASE)
                    if SHORTEST <= len(plain) <= LONGEST and plain not in seen:
                        seen.add(plain)
                        yield plain, label


def main() -> int:
    """Write x (n, LENGTH) of tokens and y (n,)."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python scipy_sentences.py FILE.npz\n")
        return 2
    (file,) = _package().rglob("l2_supercat_tokenizer_config.json")
    tokenizer = Tokenizer.from_file(str(file))
    texts, labels = zip(*sentences(), strict=True)
    tokens = np.zeros((len(texts), LENGTH), np.int64)
    for row, text in enumerate(texts):
        ids = tokenizer.encode(text, add_special_tokens=False).ids[:LENGTH]
        tokens[row, : len(ids)] = ids
    np.savez(sys.argv[1], x=tokens, y=np.array(labels))
    sys.stdout.write(f"{len(texts)} sentences of {len(PARTS)} parts in {sys.argv[1]}\n")
    return 0


def _package() -> Path:
    return Path(wordllama.__file__).parent


if __name__ == "__main__":
    sys.exit(main())
