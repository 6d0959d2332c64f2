"""A node's training on disk: model, optimizer and place in the fit, put in place at once."""

from __future__ import annotations

import os
import pickle
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from qsynth.errors import QsynthError, StateError, UntrustedError
from qsynth.identity.seal import seal, sealed

NEVER = threading.Event()  # is never set


class StoppedError(QsynthError):
    """Say that a node was asked to end."""


def put_in_place(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside itself, seal it, and put it in place at once.  Raises StateError."""
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        handle = os.open(part, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
        seal(path, part)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError on a full disk
        raise StateError(f"{path}: cannot be written ({error})") from None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds, on the CPU.

    What this user has written here may hold any object, as a Trainer's checkpoints do; of others
    plain values and arrays are read alone.  Raises UntrustedError where there is more in it, and
    whatever torch raises where it is none.
    """
    own = sealed(path)
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=not own)
    except pickle.UnpicklingError as error:
        if own or not zipfile.is_zipfile(path):
            raise
        said = " ".join(str(error).split())
        named = said.partition("Unsupported global: GLOBAL ")[2].partition(" ")[0]
        raise UntrustedError(
            f"{path}: holds code ({named or 'a pickle of objects'}) and has no seal of yours; "
            "move it away to train anew"
        ) from None
    return saved


def no_checkpoint(path: Path, error: Exception) -> StateError:
    """Return what to say of a file that a network cannot go on from."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return StateError(
        f"{path}: not a checkpoint of this network ({reason}); move it away to train anew"
    )


class Checkpoints(pl.Callback):
    """Save a checkpoint of Lightning's every so many seconds, and at the end.

    path: of the newest one; it is replaced, never written over.  stop: once it is set, the next
    step saves, and raises StoppedError.
    """

    def __init__(self, path: Path, every_s: float, stop: threading.Event) -> None:
        self.path, self.every_s, self.stop = path, every_s, stop
        self._before: Path | None = None
        self._next = time.monotonic() + every_s

    def of(self, network: pl.LightningModule) -> Path | None:
        """Return the path of the checkpoint, None where there is none.

        Raises StateError where it is not that of such a network.
        """
        if not self.path.exists():
            return None
        try:
            network.load_state_dict(load_checkpoint(self.path)["state_dict"])
        except UntrustedError:
            raise
        except Exception as error:  # unpickling may raise anything
            raise no_checkpoint(self.path, error) from None
        return self.path

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save where it is due."""
        if self._before is not None:
            before, self._before = self._before, None
            self._save(trainer, before)
        if self.stop.is_set():
            self._save(trainer)
            raise StoppedError("asked to end")
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.every_s
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what has been trained."""
        self._save(trainer)

    def save_before(self, path: Path) -> None:
        """Save, at the end of this step, what has been trained so far to another path."""
        self._before = path

    def _save(self, trainer: pl.Trainer, path: Path | None = None) -> None:
        put_in_place(path or self.path, trainer.save_checkpoint)
