"""Where nodes run.  A placement starts nodes and watches; it is not on the data's path."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from qsynth.placement.config import DRAWN, SOCKETS

if TYPE_CHECKING:
    from qsynth.placement.base import Placement
    from qsynth.training.plan import RunPlan

__all__ = ["check_placement", "make_placement"]


def check_placement(plan: RunPlan) -> None:
    """Raise ConfigError where what a placement needs is missing here; nothing is written."""
    if plan.placement.simulated:
        return
    plan.placement.check_here()
    folder = f"{tempfile.gettempdir()}/{SOCKETS}{'x' * DRAWN}"
    plan.mesh.check_run(folder, len(plan.nodes))


def make_placement(plan: RunPlan) -> Placement:
    """Return the placement that a plan asks for.  Raises ConfigError where its extra is missing."""
    made: Placement = plan.placement.placing()(plan)
    return made
