"""Measure what a plan can only guess: a user's own networks, and a step of each."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

from qsynth.training.fit import fit, no_exchange, quietly, single_threaded
from qsynth.training.plan import RunPlan

STEPS = (1, 5, 55)  # fits: one to warm up, two whose difference is what steps alone take


def measured(plan: RunPlan) -> list[dict[str, Any]]:
    """Return parameters and seconds of a training step of each node group's network."""
    single_threaded()
    rows = []
    groups = {node.group: node for node in plan.nodes}
    for group, node in groups.items():
        took, parameters = [], 0
        for steps in STEPS:
            trainer = replace(plan.trainer, max_steps=steps, period_steps=steps, logger="none")
            began = time.perf_counter()
            network = quietly(partial(fit, replace(plan, trainer=trainer), node, no_exchange))
            took.append(time.perf_counter() - began)
            parameters = sum(p.numel() for p in network.parameters())
        step = max(took[2] - took[1], 0.0) / (STEPS[2] - STEPS[1])
        rows.append({"group": group, "parameters": parameters, "step_s": step})
    return rows
