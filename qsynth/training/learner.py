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
from qsynth.model.outputs import fitted
from qsynth.pipeline.teach import Lesson, Teaching, build_teachings
from qsynth.training.callback import Callback

# Called at the start of a fit (0) and at the end of every period: what teaches in the next.
Exchange = Callable[[int, nn.Module], Lesson | None]


class TrainerLearner(Callback):
    """Drive an exchange from a Trainer, and add the teaching's gradient to the network's own.

    period_steps: optimizer steps between two exchanges.  exchange: what a period's end does.
    """

    def __init__(self, period_steps: int, exchange: Exchange, seed: int) -> None:
        self.period_steps, self.exchange, self.seed = period_steps, exchange, seed
        self.begin()

    def begin(self) -> None:
        """Be as before the first fit."""
        self.period = 0
        self.last_step = 0
        self.ended = False  # whether only the last exchange is left
        self.teaching: Teaching | None = None
        self._generator = torch.Generator().manual_seed(self.seed)
        self._hook: RemovableHandle | None = None
        self._offsets = 0
        self._teaches = False
        self._batches = 0
        self._steps: dict[int, int] = {}  # of each optimizer, where there are several

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exchange before the first step: what a node's data say needs no training.

        A fit that goes on exchanges again, as after the last period that was saved.
        """
        self._exchange(pl_module)

    def _exchange(self, network: nn.Module) -> None:
        (self.teaching,) = build_teachings([self.exchange(self.period, network)])
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
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """End a period after `period_steps` optimizer steps."""
        step = self._steps_done(trainer, pl_module)
        # With several optimizers a batch is several steps: a multiple may be passed over.
        same = step // self.period_steps == self.last_step // self.period_steps
        if same or step >= trainer.max_steps > 0:
            return
        self.last_step = step
        self._check_offsets()
        self.period += 1
        self._exchange(pl_module)

    def _steps_done(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> int:
        """Return the optimizer steps so far; batches, where a module steps behind Lightning's back.

        A module that steps its optimizers itself, not by `self.optimizers()`, leaves the Trainer's
        count at 0.
        """
        self._batches += 1
        if trainer.global_step == 0 and not pl_module.automatic_optimization:
            return self._batches
        return trainer.global_step

    def remove(self) -> None:
        """Take the hook from the network, if there is one."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave the network as it was."""
        self.remove()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exchange once more: the last period may be shorter."""
        self.remove()
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

    def _step_of(self, trainer: pl.Trainer, optimizer: Any) -> int:
        """Return how many steps an optimizer has done in this fit."""
        if len(trainer.optimizers) < 2:
            return trainer.global_step
        done = self._steps.get(id(optimizer), 0)
        self._steps[id(optimizer)] = done + 1
        return done

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        """Add the teaching loss's gradient to what this optimizer is about to step.

        Gradient clipping runs after it.
        """
        teaching, step = self.teaching, self._step_of(trainer, optimizer)
        if teaching is None or not teaching.weight or step % teaching.every_steps:
            return
        # Of these alone: with several optimizers the others have a call of their own.
        taught = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        if not taught:
            return
        size = min(teaching.batch_size, len(teaching.inputs))
        rows = torch.randint(len(teaching.inputs), (size,), generator=self._generator)
        inputs = fitted(pl_module, teaching.inputs[rows])
        self._teaches = True
        logits = pl_module(inputs)
        self._teaches = False
        if not logits.requires_grad:
            return
        logits = logits.float()
        if teaching.offsets is not None:
            logits = logits + teaching.offsets[rows].to(pl_module.device)
        targets = teaching.targets[rows].to(pl_module.device)
        # Cross-entropy against probabilities is distillation at temperature 1 (Hinton 2015).
        loss = task_loss(teaching.kind)(logits, targets)
        lesson = loss * (teaching.weight * teaching.every_steps)
        if torch.isfinite(lesson):  # a network that fails on some inputs is not lost by them
            torch.autograd.backward(lesson, inputs=taught)
