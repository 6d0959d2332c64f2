"""The data option `module`: the user's own LightningDataModule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl

from qsynth.data.arrays import from_arrays
from qsynth.data.config import DataModule
from qsynth.data.dataset import DataSet
from qsynth.errors import ConfigError, DataError
from qsynth.schema import load_target


def load(config: DataModule) -> DataSet:
    """Return all (x, y) batches of a data module's train loader, and of its test loader."""
    made = load_target("data.target", config.target)
    if not (isinstance(made, type) and issubclass(made, pl.LightningDataModule)):
        raise ConfigError(f"data.target={config.target}: must be a LightningDataModule")
    try:
        module = made(**config.arguments)
    except TypeError as error:
        raise ConfigError(f"data.arguments: {error}") from None
    module.prepare_data()
    module.setup("fit")
    arrays = _collect(module.train_dataloader(), config.target, "")
    if type(module).test_dataloader is not pl.LightningDataModule.test_dataloader:
        module.setup("test")
        arrays |= _collect(module.test_dataloader(), config.target, "_test")
    return from_arrays(arrays, config, config.target)


def _collect(loader: Any, source: str, suffix: str) -> dict[str, Any]:
    inputs, labels = [], []
    for batch in loader:
        if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
            raise DataError(f"{source}: batches must be pairs (x, y)")
        inputs.append(np.asarray(batch[0]))
        labels.append(np.asarray(batch[1]))
    if not inputs:
        raise DataError(f"{source}: a loader without batches")
    return {f"x{suffix}": np.concatenate(inputs), f"y{suffix}": np.concatenate(labels)}
