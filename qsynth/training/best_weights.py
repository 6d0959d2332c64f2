"""The best weights of a fit, as its Trainer's ModelCheckpoint or EarlyStopping counts them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qsynth.errors import ConfigError

Weights = dict[str, torch.Tensor]


class BestWeights:
    """Know the best weights so far: those of a ModelCheckpoint's file, or a copy of one's own.

    A ModelCheckpoint with a monitored metric writes them itself.  EarlyStopping keeps nothing, so
    the weights are copied whenever its metric improves.
    """

    def __init__(self, trainer: Any) -> None:
        watching = [c for c in trainer.callbacks if getattr(c, "monitor", None)]
        self._checkpoint = next((c for c in watching if hasattr(c, "best_model_path")), None)
        self._stopping = next((c for c in watching if hasattr(c, "stopped_epoch")), None)
        self._best: float | None = None
        self._kept: Weights | None = None

    def watch(self, trainer: Any, network: nn.Module) -> None:
        """Copy the weights where the metric of an EarlyStopping has improved."""
        if self._checkpoint is not None or self._stopping is None:
            return
        value = trainer.callback_metrics.get(self._stopping.monitor)
        if value is None or not bool(torch.isfinite(torch.as_tensor(value))):
            return
        now = float(value) * (-1.0 if self._stopping.mode == "max" else 1.0)
        if self._best is None or now < self._best:
            self._best = now
            self._kept = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}

    def of(self) -> Weights | None:
        """Return the best weights; None where nothing says which are the best."""
        path = getattr(self._checkpoint, "best_model_path", "")
        if path and Path(path).is_file():
            # The Trainer of this very fit has written it.
            saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
            weights: Weights = saved["state_dict"]
            return weights
        return self._kept


def copied(network: nn.Module) -> nn.Module:
    """Return a copy of a network on the CPU, whose training goes on without it.

    Raises ConfigError where the user's module cannot be copied.
    """
    try:
        return copy.deepcopy(network).cpu().eval()
    except Exception as error:  # whatever a module of the user's own holds
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(
            f"{type(network).__name__}: cannot be copied ({first}), and a predictor keeps a copy"
        ) from None
