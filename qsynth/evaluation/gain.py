"""How much one predictor is better than another on the same test samples, and how sure that is.

A node's figure is a sum over its test samples: what each contributes to own accuracy, to balanced
accuracy, or to the variance explained.  Differences of two such sums are paired, sample by sample.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from qsynth.evaluation.metrics import right_answers
from qsynth.evaluation.target_metrics import known_answers
from qsynth.types import VALUES, Floats, Floats32, Ints

Z = 1.959963984540054  # of a 95 % interval
FEW = 400  # test samples below which a node's figure is shown with its interval


def class_parts(scores: Floats, labels: Ints, weights: Floats) -> Floats32:
    """Return (n,) what each test sample adds to the accuracy.

    scores: (n, C).  weights: (n,) of the samples.
    """
    parts: Floats = right_answers(scores, labels) * weights / weights.sum()
    return parts.astype(np.float32)


def target_parts(kind: str, answers: Floats, targets: Floats32) -> Floats32:
    """Return (n,) what each test sample adds to balanced accuracy, or to the variance explained.

    answers: (n, K) probabilities of labels, or values.
    """
    answers, known = known_answers(kind, answers)
    parts = []
    for k, column in enumerate(targets.T.astype(np.float64)):
        if kind == VALUES:
            spread = max(float(column.var()), 1e-12)
            errors = np.square(answers[:, k] - column)
            parts.append((1.0 - errors / spread) / len(column))
            continue
        holds = column > 0.5
        if 0 < holds.sum() < len(holds):
            right = ((answers[:, k] > 0.5) == holds) & known[:, k]
            parts.append(0.5 * right / np.where(holds, holds.sum(), (~holds).sum()))
    made: Floats = np.mean(parts, axis=0) if parts else np.zeros(len(targets))
    return made.astype(np.float32)


def packed(parts: Floats32) -> str:
    """Return contributions as text for a file."""
    return base64.b64encode(zlib.compress(parts.tobytes())).decode("ascii")


def unpacked(text: str) -> Floats32:
    """Return what `packed` has made text of."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.float32)


def difference(parts: Floats) -> tuple[float, float, float]:
    """Return the sum of paired contributions, and its 95 % interval.

    parts: (n,) differences of what each sample adds.  Half a sample is added to those that gained
    and to those that lost, so that few samples that all agree are not taken for certainty
    (Agresti & Min 2005, section 2.2).
    """
    count = len(parts)
    if not count:
        return 0.0, -1.0, 1.0
    each = np.asarray(parts, np.float64) * count  # of a sample alone
    unit = max(float(np.abs(each).max()), 1e-12)
    unit = 1.0 if unit <= 1.0 else unit  # where samples weigh more than one each
    total = count + 2.0
    middle = float(each.sum()) / total
    square = float(np.square(each).sum()) + unit**2
    spread = Z * math.sqrt(max(square - float(each.sum()) ** 2 / total, 0.0)) / total
    return float(each.mean()), middle - spread, middle + spread


def gains(
    mesh: Mapping[str, Floats32], base: Mapping[str, Floats32], rows: Mapping[str, Ints], count: int
) -> dict[str, Any]:
    """Return how much better nodes answer than by a baseline: all of them, and each.

    mesh, base: contributions by node.  rows: which of `count` test samples these are; a sample
    that many nodes answer counts once, with the mean over all nodes.
    """
    whole = np.zeros(count)
    used = np.zeros(count, bool)
    each = {}
    for name, parts in mesh.items():
        apart = np.asarray(parts, np.float64) - np.asarray(base[name], np.float64)
        whole[rows[name]] += apart / len(mesh)
        used[rows[name]] = True
        gain, low, high = difference(apart)
        each[name] = {"gain": gain, "low": low, "high": high, "samples": len(apart)}
    mean, low, high = difference(whole[used])
    better = sum(entry["gain"] > 0.0 for entry in each.values())
    told = {"mean": mean, "low": low, "high": high, "samples": int(used.sum())}
    return told | {"better": better, "nodes": each}
