"""Class statistics of a subset of the classes: rows for those alone that a packet tells of.

With a hundred classes a node has samples of few, and a packet need not carry rows of zeros for
the rest.  Counts stay whole, so a receiver knows which classes the rows are of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from qsynth.packet import Payload
from qsynth.types import Ints

# The arrays of a payload that have a row for each class.
ROWS = ("means", "mean_scales", "mean_codes", "mean_steps", "input_means", "input_mean_scales")


def narrow(payload: Payload) -> Payload:
    """Return a payload without the rows of classes that it counts nothing of."""
    told = payload["counts"] > 0
    return {key: array[told] if key in ROWS else array for key, array in payload.items()}


def widen(payload: Mapping[str, npt.NDArray[Any]]) -> Payload:
    """Return a payload with a row for every class, zeros where nothing is told.

    Arrays with any other number of rows are left as they are, for the decoder to refuse.
    """
    counts = payload.get("counts")
    if counts is None or counts.ndim != 1:
        return dict(payload)
    told = np.flatnonzero(counts)
    wide = dict(payload)
    for key in ROWS:
        array = payload.get(key)
        if array is None or not array.ndim or not len(told) == len(array) < len(counts):
            continue
        wide[key] = np.zeros((len(counts), *array.shape[1:]), array.dtype)
        wide[key][told] = array
    return wide


def most_told(counts: Ints, least: int, most: int) -> Ints:
    """Return the classes that a packet tells of: `most` at most, those with most samples.

    counts: (C,) samples of each class.  least: samples that a class needs.
    """
    order = np.argsort(-counts, kind="stable")[:most]
    return np.sort(order[counts[order] >= least])
