"""The learner on a stock Lightning Trainer: one callback, one long fit.

The contract of a learner: learn for a period, give a snapshot, take a teaching.  Training never
waits: at the end of a period it hands over what it has and takes what has arrived by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from qsynth.errors import ConfigError
from qsynth.model.classifier import task_loss
from qsynth.synthesis.teach import Lesson, Teaching, made

# Called at the start of a fit (0) and at the end of every period: what teaches in the next.
Exchange = Callable[[int, nn.Module], Lesson | None]


class TrainerLearner(pl.Callback):
    """Drive an exchange from a Trainer, and add the teaching's gradient to the network's own.

    period_steps: optimizer steps between two exchanges.  exchange: what a period's end does.
    """

    def __init__(self, period_steps: int, exchange: Exchange, seed: int) -> None:
        self.period_steps, self.exchange = period_steps, exchange
        self.period = 0
        self.last_step = 0
        self.ended = False  # whether only the last exchange is left
        self.teaching: Teaching | None = None
        self._generator = torch.Generator().manual_seed(seed)
        self._hook: RemovableHandle | None = None
        self._offsets = 0
        self._teaches = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exchange before the first step: what a node's data say needs no training.

        A fit that goes on exchanges again, as after the last period that was saved.
        """
        self._exchange(pl_module)

    def _exchange(self, network: nn.Module) -> None:
        (self.teaching,) = made([self.exchange(self.period, network)])
        offset = None if self.teaching is None else self.teaching.offset
        if offset is not None and self._hook is None:
            self._hook = network.register_forward_hook(self._with_offset, with_kwargs=True)

    def state_dict(self) -> dict[str, Any]:
        """Return what a fit that goes on needs; the teaching is made again."""
        draws = self._generator.get_state()
        return {"period": self.period, "last_step": self.last_step, "draws": draws}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.period, self.last_step = state_dict["period"], state_dict["last_step"]
        self._generator.set_state(state_dict["draws"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """End a period after `period_steps` optimizer steps."""
        step = trainer.global_step
        if step == self.last_step or step % self.period_steps or step >= trainer.max_steps > 0:
            return
        self.last_step = step
        self._check_offsets()
        self.period += 1
        self._exchange(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exchange once more: the last period may be shorter."""
        if self._hook is not None:
            self._hook.remove()
        if trainer.global_step > self.last_step:
            self._check_offsets()
        self.period += 1
        self.ended = True
        self.exchange(self.period, pl_module)
        self.teaching = None

    def _with_offset(
        self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], logits: Tensor
    ) -> Tensor:
        """Add the offset to the logits of a training step; the network itself is what it was."""
        teaching = self.teaching
        if teaching is None or teaching.offset is None or not module.training or self._teaches:
            return logits
        self._offsets += 1
        return logits + teaching.offset(inputs[0] if inputs else next(iter(named.values())))

    def _check_offsets(self) -> None:
        """Raise ConfigError where a period's steps have gone past the offset."""
        if self.teaching is not None and self.teaching.offset is not None and not self._offsets:
            raise ConfigError(
                "synthesis.network: boost and hybrid need a module whose training_step gets its "
                "logits by self(x); use synthesis.network=apart"
            )
        self._offsets = 0

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        """Add the gradient of the teaching loss; gradient clipping runs after it."""
        teaching = self.teaching
        if teaching is None or not teaching.weight or trainer.global_step % teaching.every_steps:
            return
        size = min(teaching.batch_size, len(teaching.inputs))
        rows = torch.randint(len(teaching.inputs), (size,), generator=self._generator)
        inputs = teaching.inputs[rows].to(pl_module.device)
        self._teaches = True
        logits = pl_module(inputs)
        self._teaches = False
        if teaching.offsets is not None:
            logits = logits + teaching.offsets[rows].to(pl_module.device)
        targets = teaching.targets[rows].to(pl_module.device)
        # Cross-entropy against probabilities is distillation at temperature 1 (Hinton 2015).
        loss = task_loss(teaching.kind)(logits, targets)
        (loss * (teaching.weight * teaching.every_steps)).backward()
