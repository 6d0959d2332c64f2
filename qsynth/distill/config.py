"""The options of the group `distill`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qsynth.schema import setting

Dimensions = int | Literal["auto", "fit"]


@dataclass(frozen=True)
class Analytic:
    """Send the sufficient statistics of a linear-Gaussian classifier over encoder features."""

    name: str = setting("analytic", "the option's name", choices=("analytic",))
    d: Dimensions = setting(
        "auto",
        "features in a packet; auto: half the samples; fit: as many as max_bytes holds",
        low=4,
    )
    coding: str = setting(
        "low_rank", "of the within-class scatter: factors and a diagonal, a diagonal, or nothing "
        "but 4-bit class means", choices=("low_rank", "diagonal", "means"),
    )  # fmt: skip
    rank: int = setting(16, "low-rank factors of the within-class scatter", low=0, high=256)
    input_rank: int | None = setting(
        None, "the same for inputs themselves (teach.inputs=generated); null: not sent", low=0
    )
    min_support: int = setting(5, "samples a class needs before anything is sent of it", low=1)
    max_bytes: int = setting(8192, "of a packet with its signature", low=512, high=32768)
    ttl_s: float = setting(86400.0, "seconds until a packet expires", low=1.0, high=4e9)


OPTIONS: dict[str, type] = {"analytic": Analytic}
