"""Networks on features: a data set whose inputs are what a frozen encoder makes of them.

Nodes then share no images but numbers of a pre-trained backbone, each made once, and everything
else (packets, heads, teaching, checks) is as with any table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from qsynth.data import DataSet
from qsynth.encoder import Encoder
from qsynth.encoder.config import EncoderOptions
from qsynth.partition import Share
from qsynth.types import Floats32, Task, config_digest

SPAN = 8.0  # units within which features lie, but for rare ones


@dataclass(frozen=True)
class Backbone:
    """What features are made by: a frozen encoder, its config, and the task of its inputs.

    It stands inside the predictors that a run leaves.
    """

    encoder: Encoder
    config: EncoderOptions
    task: Task


@dataclass(frozen=True)
class FeaturedData(DataSet):
    """A data set whose inputs are features, with what makes them."""

    backbone: Backbone | None = None


class FeatureRows:
    """Act as the (n, d) features of (n, *shape) inputs; each row is made when it is first taken."""

    def __init__(self, encoder: Encoder, inputs: Floats32) -> None:
        self.encoder, self.inputs = encoder, inputs
        self.made = np.zeros((len(inputs), encoder.dimensions), np.float32)
        self.there = np.zeros(len(inputs), bool)
        self.shape, self.dtype, self.ndim = self.made.shape, self.made.dtype, 2

    def __len__(self) -> int:
        """Return n."""
        return len(self.inputs)

    def __getitem__(self, rows: Any) -> Floats32:
        """Return the features of some rows, as an array of them would."""
        wanted = np.unique(np.atleast_1d(np.arange(len(self))[rows]))
        missing = wanted[~self.there[wanted]]
        if len(missing):
            self.made[missing] = self.encoder.encode_kept(self.inputs[missing])
            self.there[missing] = True
        taken: Floats32 = self.made[rows]
        return taken

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return all rows."""
        return np.array(self[:], dtype=dtype)


def featured_task(task: Task, encoder: Encoder) -> Task:
    """Return the task of an encoder's features: nodes with another encoder have another task."""
    return replace(
        task,
        layout="vector",
        shape=(encoder.dimensions,),
        units=f"features {encoder.digest.hex()}",
        low=-SPAN,
        high=SPAN,
        location=(0.0,),
        scale=(1.0,),
        invariances=(),
    )


def on_features(data: DataSet, backbone: Backbone) -> FeaturedData:
    """Return the data with features for inputs, made as they are needed."""
    encoder = backbone.encoder

    def rows(inputs: Floats32) -> Floats32:
        return cast(Floats32, FeatureRows(encoder, inputs))

    return FeaturedData(
        featured_task(data.task, encoder),
        rows(data.train_x),
        data.train_y,
        rows(data.test_x),
        data.test_y,
        data.train_node,
        data.test_node,
        None if data.further_x is None else rows(data.further_x),
        data.further_node,
        config_digest([data.digest().hex(), encoder.digest.hex()]),
        data.notes,
        data.test_rows,
        data.site_names,
        data.train_batch,
        data.test_batch,
        backbone,
    )


def make_rows(data: DataSet, shares: Sequence[Share]) -> None:
    """Make the features that nodes train on and are measured on, so that workers share them."""
    parts = [
        part
        for share in (each for share in shares for each in (share, share.later) if each)
        for part in (share.train, share.validation, share.audit)
    ]
    data.train_x[np.unique(np.concatenate(parts))]
    more = np.unique(np.concatenate([share.unlabelled for share in shares]))
    if len(more):
        (data.train_x if data.further_x is None else data.further_x)[more]
    sites = {share.site for share in shares}
    if data.test_node is None or None in sites:
        data.test_x[:]
    else:
        data.test_x[np.isin(data.test_node, sorted(site for site in sites if site is not None))]
