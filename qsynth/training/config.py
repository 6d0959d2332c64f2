"""The options of the group `trainer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qsynth.schema import option, setting

MOST_SEED = 2**31 - 1  # of a run, and of a node that a script makes


@option("trainer")
@dataclass(frozen=True)
class Trainer:
    """Lightning's Trainer for each node."""

    name: str = setting("steps", "the option's name", choices=("steps",))
    max_steps: int = setting(600, "optimizer steps of a node", low=1)
    period_steps: int = setting(50, "optimizer steps between two exchanges", low=1)
    checkpoint_s: float = setting(
        30.0, "seconds of training that may be lost when a node or run is killed", low=1.0
    )
    gradient_clip_norm: float | None = setting(None, "largest norm of a gradient", low=0.0)
    curve_points: int = setting(
        8, "periods of a run whose predictors are kept and measured for its report; 0: none", low=0
    )
    logger: str = setting(
        "none",
        "none, csv, tensorboard, or package.Class of a Lightning logger (save_dir=); in "
        "each node's folder",
    )
    accelerator: str = setting(
        "cpu",
        "where networks train, as Lightning calls it; auto: on the best there is. Other "
        "than cpu needs placement=processes, slurm or ray",
        choices=("cpu", "auto", "gpu", "cuda", "mps"),
    )
    arguments: dict[str, Any] = setting({}, "further keyword arguments of Lightning's Trainer")

    @property
    def periods(self) -> int:
        """Return how many periods a fit has; the last may be shorter."""
        return -(-self.max_steps // self.period_steps)


OPTIONS: dict[str, type] = {"steps": Trainer}
