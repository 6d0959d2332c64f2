"""Lightning loggers of a node: what it trains, in its own folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger

from qsynth.errors import ConfigError, nearest_spelling
from qsynth.schema import load_target

TENSORBOARD = "pytorch_lightning.loggers.TensorBoardLogger"


def make_logger(name: str, folder: Path) -> Logger | bool:
    """Return the logger that `trainer.logger` names, which writes below a node's folder."""
    if name == "none":
        return False
    if name == "csv":
        return CSVLogger(str(folder), name="logs", version="")
    logger: Logger = _kind(name)(save_dir=str(folder))
    return logger


def check_logger(name: str) -> None:
    """Raise ConfigError where `trainer.logger` names none that can be had here."""
    if name in ("none", "csv"):
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            _kind(name)(save_dir=folder)
        except ImportError as error:
            first = str(error).splitlines()[0]
            raise ConfigError(
                f"trainer.logger={name}: {first}; pip install 'qsynth[tensorboard]'"
            ) from None
        except TypeError as error:
            raise ConfigError(f"trainer.logger={name}: {error}") from None


def _kind(name: str) -> Any:
    if "." not in name and name != "tensorboard":
        known = ("none", "csv", "tensorboard")
        raise ConfigError(
            f"trainer.logger={name}: must be none, csv, tensorboard or package.Class"
            f"{nearest_spelling(name, known)}"
        )
    made = load_target("trainer.logger", TENSORBOARD if name == "tensorboard" else name)
    if not (isinstance(made, type) and issubclass(made, Logger)):
        raise ConfigError(f"trainer.logger={name}: must be none, csv, tensorboard or a Logger")
    return made
