"""A loop that trains a bundled network as a stock Lightning Trainer does, bit for bit.

What a Trainer adds to each step for modules that may do anything, such as hooks, loggers and
devices, costs several times what a step of a small network does; bundled networks use none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from qsynth.errors import StateError
from qsynth.model.classifier import Classifier
from qsynth.training.checkpoint import load_checkpoint
from qsynth.training.loader import ResumableLoader

Hook = Callable[..., Any]


class Loop:
    """Stand for a Trainer: to callbacks, and to who has it fit a network.

    callbacks: Lightning's, of which those hooks are called that nodes need: setup, on_train_start,
    on_before_optimizer_step, on_train_batch_end and on_train_end.  gradient_clip_norm: None for
    no clipping.  global_step: optimizer steps done.
    """

    def __init__(
        self, max_steps: int, gradient_clip_norm: float | None, callbacks: Sequence[pl.Callback]
    ) -> None:
        self.max_steps, self.clip, self.callbacks = max_steps, gradient_clip_norm, list(callbacks)
        self.global_step = 0
        self._network: Classifier | None = None
        self._loader: ResumableLoader | None = None
        self._optimizer: Optimizer | None = None
        self._schedule: LRScheduler | None = None

    def fit(
        self, network: Classifier, loader: ResumableLoader, ckpt_path: Path | None = None
    ) -> None:
        """Train until max_steps; go on from a checkpoint, a Trainer's too.

        A fit that had ended calls no hook.  Raises StateError where it cannot go on.
        """
        self._network, self._loader = network.train(), loader
        self._optimizer, self._schedule = network.make_optimizer(self.max_steps)
        for hook in self._hooks("setup"):
            hook(self, network, "fit")
        if ckpt_path is not None:
            self._restore(ckpt_path)
        if self.global_step >= self.max_steps:
            return
        for hook in self._hooks("on_train_start"):
            hook(self, network)
        self._steps(network, loader, self._optimizer, self._schedule)
        for hook in self._hooks("on_train_end"):
            hook(self, network)

    @property
    def optimizers(self) -> list[Optimizer]:
        """Return the one optimizer, as a Trainer does."""
        return [] if self._optimizer is None else [self._optimizer]

    def _steps(
        self,
        network: Classifier,
        loader: ResumableLoader,
        optimizer: Optimizer,
        schedule: LRScheduler | None,
    ) -> None:
        before, after = self._hooks("on_before_optimizer_step"), self._hooks("on_train_batch_end")
        parameters = list(network.parameters())
        for index, batch in enumerate(chain.from_iterable(repeat(loader))):
            loss = network.training_step(batch, index)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            for hook in before:
                hook(self, network, optimizer)
            if self.clip is not None:
                clip_grad_norm_(parameters, self.clip)
            optimizer.step()
            if schedule is not None:
                schedule.step()
            self.global_step += 1
            for hook in after:
                hook(self, network, None, batch, index)
            if self.global_step >= self.max_steps:
                return

    def _hooks(self, name: str) -> list[Hook]:
        """Return the hooks of a name that do something."""
        default = getattr(pl.Callback, name)
        return [getattr(c, name) for c in self.callbacks if getattr(type(c), name) is not default]

    def save_checkpoint(self, path: Path) -> None:
        """Write a checkpoint of the fit as it is now."""
        assert self._network is not None
        assert self._optimizer is not None
        assert self._loader is not None
        schedules = [] if self._schedule is None else [self._schedule.state_dict()]
        saved = {
            "state_dict": self._network.state_dict(),
            "optimizer_states": [self._optimizer.state_dict()],
            "lr_schedulers": schedules,
            "global_step": self.global_step,
            "callbacks": {c.state_key: state for c in self.callbacks if (state := c.state_dict())},
            "loader": self._loader.state_dict(),
        }
        torch.save(saved, path)

    def _restore(self, path: Path) -> None:
        assert self._network is not None
        assert self._optimizer is not None
        assert self._loader is not None
        saved = load_checkpoint(path)
        try:
            self._network.load_state_dict(saved["state_dict"])
            self._optimizer.load_state_dict(saved["optimizer_states"][0])
            if self._schedule is not None:
                self._schedule.load_state_dict(saved["lr_schedulers"][0])
            self.global_step = saved["global_step"]
            for callback in self.callbacks:
                if callback.state_key in saved["callbacks"]:
                    callback.load_state_dict(saved["callbacks"][callback.state_key])
            loader = _loader_of(saved)
            if loader is not None:
                self._loader.load_state_dict(loader)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise StateError(
                f"{path}: not a checkpoint of such a fit ({type(error).__name__}: {error}); move "
                "it away to train anew"
            ) from None


def of_a_loop(path: Path) -> bool:
    """Return whether a checkpoint was written by a loop: no Trainer can go on from it."""
    return "loader" in load_checkpoint(path)


def _loader_of(saved: dict[str, Any]) -> dict[str, Any] | None:
    if "loader" in saved:
        found: dict[str, Any] = saved["loader"]
        return found
    # Lightning keeps none at an epoch's end.
    kept = saved["loops"]["fit_loop"]["state_dict"].get("combined_loader", [])
    return kept[0] if kept else None
