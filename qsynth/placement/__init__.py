"""Where nodes run.  A placement starts nodes and watches; it is not on the data's path."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from qsynth.placement.config import DRAWN, SOCKETS, PlacementOptions

if TYPE_CHECKING:
    from qsynth.mesh.transport import MeshOptions
    from qsynth.placement.base import Placement
    from qsynth.training.plan import RunPlan

__all__ = ["check_placement", "make_placement"]


def check_placement(placement: PlacementOptions, mesh: MeshOptions, nodes: int) -> None:
    """Raise ConfigError where what a placement needs is missing here; nothing is written."""
    if placement.simulated:
        return
    placement.check_here()
    mesh.check_run(f"{tempfile.gettempdir()}/{SOCKETS}{'x' * DRAWN}", nodes)


def make_placement(plan: RunPlan) -> Placement:
    """Return the placement that a plan asks for.  Raises ConfigError where its extra is missing."""
    made: Placement = plan.placement.placing()(plan)
    return made
