"""The head's scores as a fixed offset of the network's logits: the network learns what they lack.

Source: stacking with cross-fitted predictions (Wolpert 1992); an offset as in generalized linear
models and in gradient boosting (Friedman 2001).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qsynth.encoder import Encoder
from qsynth.synthesis import OwnEvidence, Synthesis
from qsynth.types import Floats, Floats32, Ints


def rows_by_input(inputs: Floats32) -> dict[bytes, int]:
    """Return the row of each of one's own training inputs (n, *shape), by its bytes."""
    return {row.tobytes(): number for number, row in enumerate(inputs)}


class Offset:
    """Give what is added to the logits of training inputs (n, *shape): (n, C) scores and prior.

    All of them are the node's own samples, or changed copies of them, and get the scores of the
    head that has not seen their fold: the head itself knows them by heart, and a network that
    learned beside it would trust it too much.  A changed copy belongs to the fold of the sample
    whose features are nearest.
    """

    def __init__(
        self,
        synthesis: Synthesis,
        log_prior: Floats,
        encoder: Encoder,
        own: OwnEvidence,
        rows: dict[bytes, int],
    ) -> None:
        self.encoder, self.rows, self.heads = encoder, rows, synthesis.unseen
        self.log_prior = torch.from_numpy(log_prior).float()
        d = self.heads[0].dimensions
        self.features = own.features[:, :d]
        self.fold = np.zeros(len(own.labels), np.int64)
        self.fold[own.folds[1]] = 1
        self.scores = self._scores(self.features, self.fold)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return (n, C), on the device of the inputs, without gradient."""
        plain = inputs.detach().float().cpu().numpy()
        found = np.array([self.rows.get(row.tobytes(), -1) for row in plain])
        scores = self.scores[found]
        changed = found < 0
        if changed.any():
            features = self.encoder.encode(plain[changed], self.heads[0].dimensions)
            scores[changed] = self._scores(features, self.fold[nearest(features, self.features)])
        return (torch.from_numpy(scores) + self.log_prior).to(inputs.device)

    def _scores(self, features: Floats32, fold: Ints) -> Floats32:
        each = [head.scores(features) for head in self.heads]
        made: Floats32 = np.where(fold[:, None] == 0, *each).astype(np.float32)
        return made


def nearest(features: Floats32, own: Floats32) -> Ints:
    """Return for each row of (n, d) the row of (m, d) at the least Euclidean distance."""
    distances = (own**2).sum(axis=1) - 2.0 * features @ own.T
    found: Ints = distances.argmin(axis=1)
    return found
