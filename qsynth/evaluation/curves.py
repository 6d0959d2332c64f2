"""Accuracy over time: of the predictors that nodes had in the middle of a run."""

from __future__ import annotations

import shutil
import time

import torch
from torch import nn

from qsynth.errors import DataError
from qsynth.evaluation.curve_file import MEASURES, NAME, Curves, Point, read_curves
from qsynth.evaluation.evaluate import Evaluator
from qsynth.files import write_json
from qsynth.host.artifacts import read_predictor
from qsynth.pipeline.participant import Participant
from qsynth.pipeline.predictor import Predictor
from qsynth.pipeline.teach import Lesson
from qsynth.training.curve_points import FOLDER, shown_periods
from qsynth.training.plan import NodePlan, RunPlan

ROWS = 1000  # test samples that a point is measured on, at most


class Curve:
    """Measure a node of a lonely arm as its training goes on, outside of the arm's CPU seconds."""

    def __init__(
        self, plan: RunPlan, node: NodePlan, evaluator: Evaluator, participant: Participant
    ) -> None:
        self.plan, self.node, self.participant = plan, node, participant
        self.evaluator = evaluator.sampled(ROWS)
        self.shown = set(shown_periods(plan.trainer))
        self.points: list[Point] = []
        self.cpu_s = 0.0

    def exchange(self, period: int, network: nn.Module) -> Lesson | None:
        """Do the participant's exchange; then measure, where the period is shown."""
        teaching = self.participant.exchange(period, network)
        if period in self.shown:
            began = time.process_time()
            predictor = self.participant.predictor(network)
            self.points.append(point(self.plan, self.node, self.evaluator, period, predictor))
            self.cpu_s += time.process_time() - began
        return teaching

    def ended(self, predictor: Predictor) -> list[Point]:
        """Return all points, the predictor in the end as the last of them."""
        if not self.shown:
            return []
        end = self.plan.trainer.periods
        return [*self.points, point(self.plan, self.node, self.evaluator, end, predictor)]


def point(
    plan: RunPlan, node: NodePlan, evaluator: Evaluator, period: int, predictor: Predictor
) -> Point:
    """Return a period's measures of a predictor, on the node's data as they were then."""
    score = evaluator.score(plan.at(node, period), predictor.network, predictor)
    values = [getattr(score, measure) for measure in MEASURES]
    return [float(period), *(None if v is None else round(float(v), 4) for v in values)]


def write_curves(
    plan: RunPlan, nodes: list[NodePlan], evaluator: Evaluator, alone: Curves, ended: bool
) -> None:
    """Write `curves.json`; once the run has ended, the predictors on the way are let go.

    nodes: that have finished.  alone: the curves of the arm of that name.
    """
    curves, whole = read_curves(plan.folder)
    mesh = curves["mesh"]
    if not whole:
        few = evaluator.sampled(ROWS)
        mesh = {node.name: _points(plan, node, few) for node in nodes}
    write_json(
        plan.folder / NAME, {"mesh": mesh, "alone": alone or curves["alone"], "whole": ended}
    )
    if ended:
        for node in plan.nodes:
            shutil.rmtree(plan.node_folder(node) / FOLDER, ignore_errors=True)


def _points(plan: RunPlan, node: NodePlan, evaluator: Evaluator) -> list[Point]:
    folder = plan.node_folder(node)
    found = {int(path.stem): path for path in (folder / FOLDER).glob("*.pt")}
    if not found:
        return []
    found[plan.trainer.periods] = folder / "predictor.pt"
    made = []
    for period, path in sorted(found.items()):
        try:
            predictor = read_predictor(plan, node, path)
        except DataError:
            continue  # torn by a kill: the curve does without
        with torch.no_grad():
            made.append(point(plan, node, evaluator, period, predictor))
    return made
