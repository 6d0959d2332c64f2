"""Answers of a predictor to new inputs, a row each, and how good they are where that is known."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
import torch

from qsynth.evaluation.metrics import calibration_error, right_answers
from qsynth.evaluation.target_metrics import target_measures
from qsynth.inference.new_data import ROWS, NewData
from qsynth.pipeline.predictor import Predictor
from qsynth.types import LABELS, Floats, Task

DIGITS = 6  # of a probability
PREFIX = "p:"  # of a column that holds the probability of a label


@dataclass(frozen=True)
class Answered:
    """What became of new data.

    count: inputs.  known: those whose answer the data tell.  measures: of these, by name.
    """

    count: int
    known: int
    measures: dict[str, float]


def header(task: Task, first: str = "row") -> list[str]:
    """Return the columns of a file of predictions.  first: what an input is called by."""
    if task.classified:
        return [first, "prediction", "probability", *(PREFIX + name for name in task.labels)]
    if task.kind == LABELS:
        return [first, *(f"{p}{name}" for name in task.labels for p in ("", PREFIX))]
    return [first, *(f"{name}{e}" for name in task.labels for e in ("", " low", " high"))]


def predict(
    predictor: Predictor,
    data: NewData,
    out: TextIO | None = None,
    prior: str = "own",
    titled: bool = True,
) -> Answered:
    """Write the answers to all inputs, a few at a time; return how good they are.

    out: a text file for CSV; None: nothing is written.  prior: label shares to answer under.
    titled: whether the names of the columns are written first.
    """
    task, scores = predictor.task, []
    writer = None if out is None else csv.writer(out, lineterminator="\n")
    for start, answers in answers_of(predictor, data, prior):
        if writer is not None:
            if titled and start == 0:  # not before the first inputs have been found to be well
                writer.writerow(header(task))
            for at, row in enumerate(cells(predictor, answers), start):
                writer.writerow([data.names(at), *map(_written, row)])
        if data.truth is not None:
            scores.append(answers)
    if data.truth is None:
        return Answered(data.count, 0, {})
    return measured(task, np.concatenate(scores), data.truth)


def answers_of(
    predictor: Predictor, data: NewData, prior: str = "own"
) -> Iterator[tuple[int, Floats]]:
    """Return answers to some inputs after the other, with the place of the first of them.

    (m, C) log-probabilities of classes, (m, K) probabilities of labels, or values.
    """
    for start in range(0, data.count, ROWS):
        inputs = data.inputs(start, min(start + ROWS, data.count))
        with torch.no_grad():
            yield start, predictor(torch.from_numpy(inputs), prior=prior).double().numpy()


def cells(predictor: Predictor, answers: Floats) -> Iterator[Sequence[str | int | float | None]]:
    """Return the cells of each answer, as `header` names them; None where nothing is known."""
    task = predictor.task
    if task.classified:
        for row in np.exp(answers).round(DIGITS):
            best = int(row.argmax())
            yield [task.labels[best], float(row[best]), *map(float, row)]
    elif task.kind == LABELS:
        for row in answers:
            yield [cell for p in row for cell in (int(p > 0.5), round(float(p), DIGITS))]
    else:
        width = predictor.half_width_in_units()
        for row in answers:
            spans = zip(row, row - width, row + width, strict=True)
            yield [float(c) if np.isfinite(c) else None for span in spans for c in span]


def _written(cell: str | int | float | None) -> str:
    if cell is None:
        return ""
    return f"{cell:.9g}" if isinstance(cell, float) else str(cell)


def measured(task: Task, answers: Floats, truth: Any) -> Answered:
    """Return how good (n, C) or (n, K) answers are, by the rows whose truth is known."""
    if task.classified:
        known = truth >= 0
        rows = int(known.sum())
        if not rows:
            return Answered(len(answers), 0, {})
        told, labels, even = answers[known], truth[known], np.ones(rows)
        right = right_answers(told, labels)
        measures = {
            "accuracy": float(right.mean()),
            "calibration_error": calibration_error(told, labels, even),
        }
        return Answered(len(answers), rows, measures)
    known = np.isfinite(truth).all(axis=1)
    rows = int(known.sum())
    if rows < 2:
        return Answered(len(answers), rows, {})
    if task.kind == LABELS:
        made = target_measures(task.kind, answers[known], truth[known])
        return Answered(len(answers), rows, {"balanced_accuracy": made["own"]})
    scale = np.array(task.target_scale or (1.0,))
    place = np.array(task.target_location or (0.0,))
    told = (answers[known] - place) / scale
    made = target_measures(task.kind, told, ((truth[known] - place) / scale).astype(np.float32))
    error = float(np.abs(answers[known] - truth[known]).mean())
    return Answered(len(answers), rows, {"variance_explained": made["own"], "mean_error": error})
