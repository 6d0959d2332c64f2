"""The head's scores as a fixed offset of the network's logits: the network learns what they lack.

Source: stacking with cross-fitted predictions (Wolpert 1992); an offset as in generalized linear
models and in gradient boosting (Friedman 2001).
"""

from __future__ import annotations

import torch
from torch import Tensor

from qsynth.encoder import Encoder
from qsynth.synthesis.analytic_head import Synthesis
from qsynth.types import Floats, Floats32


def rows_by_input(inputs: Floats32) -> dict[bytes, int]:
    """Return the row of each of one's own training inputs (n, *shape), by its bytes."""
    return {row.tobytes(): number for number, row in enumerate(inputs)}


class Offset:
    """Give what is added to the logits of training inputs (n, *shape): (n, C) scores and prior.

    One's own training samples, as they are, get the scores of the head that has not seen their
    fold: the head knows the others by heart, and a network that learned beside it would trust it
    too much.  Everything else gets the scores of the head itself.
    """

    def __init__(
        self, synthesis: Synthesis, log_prior: Floats, encoder: Encoder, rows: dict[bytes, int]
    ) -> None:
        self.head, self.encoder, self.rows = synthesis.head, encoder, rows
        self.log_prior = torch.from_numpy(log_prior).float()
        self.unseen = torch.from_numpy(synthesis.unseen_scores).float()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return (n, C), on the device of the inputs, without gradient."""
        plain = inputs.detach().float().cpu().numpy()
        found = [self.rows.get(row.tobytes(), -1) for row in plain]
        index = torch.tensor(found)
        offsets = torch.empty(len(plain), len(self.log_prior))
        own = index >= 0
        offsets[own] = self.unseen[index[own]]
        if not bool(own.all()):
            rest = plain[~own.numpy()]
            scores = self.head.scores(self.encoder.encode(rest, self.head.dimensions))
            offsets[~own] = torch.from_numpy(scores).float()
        return (offsets + self.log_prior).to(inputs.device)
