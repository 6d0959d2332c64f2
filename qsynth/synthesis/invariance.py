"""Changes of an image that leave its label what it is, as a task declares them."""

from __future__ import annotations

import numpy as np

from qsynth.types import Floats32

STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # of the invariance `shift`, in pixels


def copies(images: Floats32, kind: str) -> list[Floats32]:
    """Return copies of (n, c, h, w) images under an invariance; the border repeats in shifts.

    kind: one of `qsynth.types.INVARIANCES`.
    """
    if kind == "flip_horizontal":
        return [np.ascontiguousarray(images[:, :, :, ::-1])]
    if kind == "flip_vertical":
        return [np.ascontiguousarray(images[:, :, ::-1, :])]
    height, width = images.shape[2:]
    rows, columns = np.arange(height), np.arange(width)
    return [
        np.ascontiguousarray(
            images[:, :, np.clip(rows + down, 0, height - 1)][
                :, :, :, np.clip(columns + right, 0, width - 1)
            ]
        )
        for down, right in STEPS
    ]
