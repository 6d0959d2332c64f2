"""Predictors in the middle of a run, kept for its report: what a node was worth when."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from torch import nn

from qsynth.model.base import described
from qsynth.pipeline.participant import Participant
from qsynth.pipeline.teach import Lesson
from qsynth.training.config import Trainer
from qsynth.training.export import save_predictor
from qsynth.training.learner import Exchange
from qsynth.training.plan import NodePlan, RunPlan

FOLDER = "points"  # of a node's folder


def shown_periods(trainer: Trainer) -> list[int]:
    """Return the periods that a report shows before the last, evenly spaced from the first on."""
    spaced = np.linspace(0, trainer.periods, trainer.curve_points, endpoint=False)
    return sorted({int(period) for period in spaced})


def keeping(plan: RunPlan, node: NodePlan, participant: Participant) -> Exchange:
    """Return a participant's exchange that keeps the predictors of the shown periods."""
    shown = set(shown_periods(plan.trainer))
    folder = plan.node_folder(node) / FOLDER
    model = described(node.model)

    def exchange(period: int, network: nn.Module) -> Lesson | None:
        teaching = participant.exchange(period, network)
        if period in shown:
            folder.mkdir(exist_ok=True)
            predictor = participant.predictor(network)
            encoder = asdict(plan.encoder_config)
            save_predictor(predictor, folder / f"{period}.pt", encoder, model, plan.backbone)
        return teaching

    return exchange
