"""Where nodes run.  A placement starts nodes and watches; it is not on the data's path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.errors import ConfigError

if TYPE_CHECKING:
    from qsynth.placement.contract import Placement
    from qsynth.placement.plan import Plan

__all__ = ["make_placement"]


def make_placement(plan: Plan) -> Placement:
    """Return the placement that a plan asks for.  Raises ConfigError where its extra is missing."""
    name = plan.placement.name
    try:
        if name == "slurm":
            from qsynth.placement.slurm import SlurmPlacement

            return SlurmPlacement(plan)
        if name == "ray":
            from qsynth.placement.ray import RayPlacement

            return RayPlacement(plan)
    except ImportError as error:
        raise ConfigError(f"placement={name}: {error}; pip install qsynth[{name}]") from None
    from qsynth.placement.processes import ProcessesPlacement

    return ProcessesPlacement(plan)
