"""The options of the group `distill`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qsynth.schema import option, setting

MOST_TTL_S = 90 * 86400.0  # what receivers let a packet hold at most
MOST_BYTES = 32_768  # of a packet
Dimensions = int | Literal["auto", "fit"]


@option("distill")
@dataclass(frozen=True)
class Published:
    """What every rule has."""

    min_support: int = setting(5, "samples a class needs before anything is sent of it", low=1)
    max_bytes: int = setting(8192, "of a packet with its signature", low=512, high=MOST_BYTES)
    ttl_s: float = setting(86400.0, "seconds until a packet expires", low=1.0, high=MOST_TTL_S)


@option("distill")
@dataclass(frozen=True)
class Analytic(Published):
    """Send the sufficient statistics of a linear-Gaussian classifier over encoder features."""

    name: str = setting("analytic", "the option's name", choices=("analytic",))
    d: Dimensions = setting(
        "auto",
        "features in a packet; auto: half the samples; fit: as many as max_bytes holds",
        low=4,
    )
    coding: str = setting(
        "low_rank",
        "of the within-class scatter: factors and a diagonal, a diagonal, or nothing "
        "but 4-bit class means",
        choices=("low_rank", "diagonal", "means"),
    )
    rank: int = setting(16, "low-rank factors of the within-class scatter", low=0, high=256)
    input_rank: int | None = setting(
        None, "the same for inputs themselves (teach.inputs=generated); null or 0: not sent", low=0
    )


@option("distill")
@dataclass(frozen=True)
class ModelRule(Published):
    """What rules have that send answers of the network, and class means to be routed by."""

    route_d: int = setting(20, "features of the class means that route a packet", low=4, high=64)


@option("distill")
@dataclass(frozen=True)
class ClassLogits(ModelRule):
    """Send the network's mean logits for each class: model knowledge in 512 bytes."""

    name: str = setting("class_logits", "the option's name", choices=("class_logits",))


@option("distill")
@dataclass(frozen=True)
class ReferenceLogits(ModelRule):
    """Send the network's answers to a public set of inputs that everybody has."""

    name: str = setting("reference_logits", "the option's name", choices=("reference_logits",))
    samples: int = setting(
        256,
        "inputs of the public set, taken from training data that no node holds",
        low=8,
        high=4096,
    )
    file: str | None = setting(None, "a .npy of inputs (n, ...) to be the public set instead")


@option("distill")
@dataclass(frozen=True)
class Mosaic(Published):
    """Send averaged images of the author's data: several samples of a class in each."""

    name: str = setting("mosaic", "the option's name", choices=("mosaic",))
    route_d: int = setting(20, "features of the class means that route a packet", low=4, high=64)
    images: int = setting(100, "in a packet, as fine as max_bytes lets them be", low=1, high=1024)
    mixed: int = setting(4, "samples of a class in each image", low=1)


OPTIONS: dict[str, type] = {
    "analytic": Analytic,
    "class_logits": ClassLogits,
    "reference_logits": ReferenceLogits,
    "mosaic": Mosaic,
}
