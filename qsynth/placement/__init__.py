"""Where nodes run.  A placement starts nodes and watches; it is not on the data's path."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

from qsynth.errors import ConfigError
from qsynth.mesh.address import check_ipc
from qsynth.placement.config import DRAWN, SOCKETS

if TYPE_CHECKING:
    from qsynth.placement.base import Placement
    from qsynth.training.plan import RunPlan

__all__ = ["check_placement", "make_placement"]


def check_placement(plan: RunPlan) -> None:
    """Raise ConfigError where what a placement needs is missing here; nothing is written."""
    name = plan.placement.name
    if name == "simulate":
        return
    _kind(name)
    if plan.mesh.name == "ipc":
        check_ipc(f"{tempfile.gettempdir()}/{SOCKETS}{'x' * DRAWN}/{len(plan.nodes)}")
    if name == "slurm" and shutil.which("sbatch") is None:
        raise ConfigError(
            "placement=slurm: there is no sbatch here; run it on a login node, or use "
            "placement=processes"
        )


def make_placement(plan: RunPlan) -> Placement:
    """Return the placement that a plan asks for.  Raises ConfigError where its extra is missing."""
    made: Placement = _kind(plan.placement.name)(plan)
    return made


def _kind(name: str) -> Callable[[RunPlan], Placement]:
    try:
        if name == "slurm":
            from qsynth.placement.slurm import SlurmPlacement

            return SlurmPlacement
        if name == "ray":
            from qsynth.placement.ray import RayPlacement

            return RayPlacement
    except ImportError as error:
        raise ConfigError(f"placement={name}: {error}; pip install 'qsynth[{name}]'") from None
    from qsynth.placement.processes import ProcessesPlacement

    return ProcessesPlacement
