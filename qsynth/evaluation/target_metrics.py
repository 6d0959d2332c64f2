"""Measures of tasks of labels and values."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau

from qsynth.evaluation.metrics import BINS, auroc
from qsynth.types import LABELS, Floats, Floats32

Flags: TypeAlias = npt.NDArray[np.bool_]


def known_answers(kind: str, answers: Floats) -> tuple[Floats, Flags]:
    """Return (n, K) answers, with a neutral one where there is no number, and where there is one.

    Such an answer counts as a wrong label, or as the task's target location.
    """
    known = np.isfinite(answers)
    return np.where(known, answers, 0.5 if kind == LABELS else 0.0), known


def target_measures(kind: str, answers: Floats, targets: Floats32) -> dict[str, float]:
    """Return `own`, `balanced`, `auroc` and `ece` of (n, K) answers, means over the targets.

    labels: answers are probabilities; own is balanced accuracy, and so is balanced; a label that
    all test samples have alike counts nowhere.
    values: own and balanced are the share of variance explained; auroc is the share of pairs in
    the right order (the concordance index, Harrell 1982); ece is the mean answer's distance from
    the mean target in standard deviations.
    """
    answers, known = known_answers(kind, answers)
    columns = range(targets.shape[1])
    if kind == LABELS:
        told = [k for k in columns if 0.0 < targets[:, k].mean() < 1.0]
        made = [_of_label(answers[:, k], targets[:, k] > 0.5, known[:, k]) for k in told]
    else:
        made = [_of_value(answers[:, k], targets[:, k].astype(np.float64)) for k in columns]
    own, area, error = (float(np.mean([m[i] for m in made])) if made else 0.0 for i in range(3))
    return {"own": own, "balanced": own, "auroc": area, "ece": error}


def _of_label(answers: Floats, holds: Flags, known: Flags) -> tuple[float, float, float]:
    right = ((answers > 0.5) == holds) & known
    logs = np.log(np.clip(np.stack([1.0 - answers, answers], axis=1), 1e-12, 1.0))
    area = auroc(logs, holds.astype(np.int64), np.ones(len(holds)))
    bins = np.minimum((answers * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, answers - holds, BINS)
    balanced = (right[holds].mean() + right[~holds].mean()) / 2
    return float(balanced), area, float(np.abs(gaps).sum() / len(holds))


def _of_value(answers: Floats, values: Floats) -> tuple[float, float, float]:
    spread = max(float(values.var()), 1e-12)
    explained = 1.0 - float(np.square(answers - values).mean()) / spread
    constant = np.ptp(answers) < 1e-12 or np.ptp(values) < 1e-12
    order = 0.0 if constant else float(kendalltau(answers, values).statistic)
    return explained, (order + 1.0) / 2.0, abs(float((answers - values).mean())) / np.sqrt(spread)
