"""What a node has: which samples, in which of three parts, and how it sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qsynth.types import Floats32, Ints


@dataclass(frozen=True)
class Share:
    """Say which samples a node has, and how it sees them.

    train, validation, audit: sorted indices, disjoint.  group: the true group, for
    measurements alone.  quarter_turns: of every image.  label_map: (C,) what each label is
    called in this group.  site: the value of the data's `node` array.  honest: whether the node
    names its labels as the others do.  unlabelled: indices of samples whose labels nobody uses,
    or of the data's further inputs.
    later: what the node has from `drift_period` on; None: the same.  ends: how many of the training
    samples are there after each batch, where they come in several: `train` is then in that order.
    """

    train: Ints
    validation: Ints
    audit: Ints
    group: int | None
    quarter_turns: int
    label_map: Ints
    site: int | None = None
    honest: bool = True
    unlabelled: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    later: Share | None = None
    ends: tuple[int, ...] = ()

    def inputs(self, inputs: Floats32) -> Floats32:
        """Return (n, ...) inputs as this node sees them."""
        if self.quarter_turns % 4 == 0:
            return inputs
        return np.ascontiguousarray(np.rot90(inputs, self.quarter_turns, axes=(2, 3)))

    def labels(self, labels: Any) -> Any:
        """Return (n,) labels as this node names them; (n, K) targets as they are."""
        if labels.ndim == 2:
            return labels
        named: Ints = self.label_map[labels]
        return named
