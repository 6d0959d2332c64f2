"""What lies are made of: changed payloads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qsynth.distill.subset import narrow, widen
from qsynth.packet import Payload

# The arrays of a payload with a row for each class.
ROWS = ("counts", "means", "mean_scales", "mean_codes", "mean_steps")
COLUMNS = {"means": 1, "mean_codes": 2}  # features in one column

NO_VARIANCE = -1e5  # the logarithm of a variance of nothing


def turned(
    payload: Payload, first: int = 0, classes: npt.NDArray[np.bool_] | None = None
) -> Payload:
    """Return a payload with its class statistics under the next label that has any.

    first: features that stay as they are.  classes: (C,) that are turned; None: all.
    """
    rows = len(payload["means"] if "means" in payload else payload["mean_codes"])
    payload = widen(payload)
    told = payload["counts"] > 0
    narrowed = rows < len(told)
    turning = np.flatnonzero(told if classes is None else told & classes)
    order = np.arange(len(told))
    order[turning] = np.roll(turning, 1)
    made = dict(payload)
    if first == 0:
        for key in ROWS:
            if key in made and len(made[key]) == len(told):
                made[key] = made[key][order]
        return narrow(made) if narrowed else made
    for key, wide in COLUMNS.items():
        if key in made and len(made[key]) == len(told):
            made[key] = made[key].copy()
            made[key][:, first // wide :] = payload[key][order, first // wide :]
    return narrow(made) if narrowed else made


def emptied(payload: Payload) -> Payload:
    """Return a payload whose scatter is nothing, in numbers that are taken."""
    if "factor_scales" not in payload:
        return payload  # of means alone: it has none
    # A variance is coded as a logarithm: this one is 0 in double precision.
    nothing = np.full(2, NO_VARIANCE, np.float32)
    return dict(payload) | {
        "factor_scales": np.zeros_like(payload["factor_scales"]),
        "diagonal_bounds": nothing,
    }


def rescattered(payload: Payload, victim: Payload) -> Payload:
    """Return a payload with a victim's scatter, for as many samples as it claims itself."""
    if "factors" not in payload or victim["factors"].shape != payload["factors"].shape:
        return payload
    share = float(payload["counts"].sum()) / max(float(victim["counts"].sum()), 1.0)
    return dict(payload) | {
        "factors": victim["factors"],
        "diagonal": victim["diagonal"],
        "factor_scales": (victim["factor_scales"] * np.sqrt(share)).astype(np.float32),
        "diagonal_bounds": (victim["diagonal_bounds"] + np.log(share)).astype(np.float32),
    }
