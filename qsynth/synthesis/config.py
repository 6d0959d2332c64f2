"""The options of the group `synthesis`, with the nested settings of teaching."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qsynth.errors import ConfigError
from qsynth.schema import option, setting


@option("synthesis.teach")
@dataclass(frozen=True)
class LessonOptions:
    """How a network is taught, whoever the teacher is."""

    weight: float = setting(3.0, "of the teaching loss beside the network's own", low=0.0)
    batch_size: int = setting(64, "teaching inputs a step", low=1)
    pool_size: int = setting(512, "teaching inputs made anew each period", low=1)
    every_steps: int = setting(1, "optimizer steps between two teaching steps", low=1)


@option("synthesis.teach")
@dataclass(frozen=True)
class Teach(LessonOptions):
    """How the synthesized head teaches the node's own network."""

    inputs: str = setting(
        "own_mix",
        "which inputs the head labels",
        choices=("own_mix", "unlabelled", "generated", "none"),
    )
    prior: str = setting(
        "own",
        "label shares that the head's answers follow, and so the network's",
        choices=("own", "uniform"),
    )


@option("synthesis.teach")
@dataclass(frozen=True)
class TargetLessonOptions(LessonOptions):
    """How a map to labels or values teaches the node's own network."""

    inputs: str = setting(
        "own_mix", "which inputs it labels", choices=("own_mix", "unlabelled", "none")
    )


@option("synthesis")
@dataclass(frozen=True)
class Headed:
    """What every rule has: a head, of own evidence at least, beside the network."""

    d: int | None = setting(
        None, "features of the head; null: as many as the own packet has", low=4
    )
    head_weight: float | None = setting(
        None,
        "of the head in the predictor; null: by validation, or .5 below 50 samples",
        low=0.0,
        high=1.0,
    )


@option("synthesis")
@dataclass(frozen=True)
class Gated(Headed):
    """What rules have that ask of each packet whether it helps."""

    gate: str = setting("greedy", "which admitted packets count", choices=("greedy", "none"))
    gate_s: float | None = setting(
        10.0,
        "CPU seconds that the gate goes on asking; packets that it has not come to do not "
        "count; null: any",
        low=0.01,
    )


@option("synthesis")
@dataclass(frozen=True)
class AnalyticHead(Gated):
    """Merge statistics into a linear-Gaussian head, and multiply it with the network."""

    name: str = setting("analytic_head", "the option's name", choices=("analytic_head",))
    most: int | None = setting(
        None,
        "authors that count at most, those first with whose packet own samples are likeliest "
        "(packet loss); null: as many as the gate lets in",
        low=1,
    )
    merge: str = setting(
        "auto",
        "what of a packet counts: all classes, or those that mean the same here",
        choices=("whole", "classwise", "auto"),
    )
    objective: str = setting(
        "own",
        "whose likelihood the gate, the head and its weight are chosen by: samples as they "
        "come, or every class alike, where some are rare",
        choices=("own", "balanced"),
    )
    support_cap: float | None = setting(
        16.0, "times one's own samples that a packet counts as at most; null: as it claims", low=0.1
    )
    network: str = setting(
        "apart",
        "how the network learns: apart from the head, and taught by it; what the head's "
        "scores lack, untaught (boost); or that and taught (hybrid)",
        choices=("apart", "boost", "hybrid"),
    )
    teach: Teach = field(default_factory=Teach, metadata={"doc": "teaching the network"})


@option("synthesis")
@dataclass(frozen=True)
class ClassKd(Headed):
    """Teach the network what its peers' networks answer to each class (distill=class_logits)."""

    name: str = setting("class_kd", "the option's name", choices=("class_kd",))
    teach: LessonOptions = field(
        default_factory=LessonOptions, metadata={"doc": "teaching the network"}
    )


@option("synthesis")
@dataclass(frozen=True)
class ReferenceKd(Headed):
    """Teach the network what its peers' networks answer to a public set (reference_logits)."""

    name: str = setting("reference_kd", "the option's name", choices=("reference_kd",))
    teach: LessonOptions = field(
        default_factory=LessonOptions, metadata={"doc": "teaching the network"}
    )


@option("synthesis.teach")
@dataclass(frozen=True)
class ReplayLessonOptions(LessonOptions):
    """How a network is taught by received images."""

    labels: str = setting(
        "hard",
        "of received images: their own, or the answers of the head that they make",
        choices=("hard", "head"),
    )
    noise: float = setting(0.05, "added to them, as a share of the input range", low=0.0)


@option("synthesis")
@dataclass(frozen=True)
class Replay(Gated):
    """Train the network on its peers' averaged images (distill=mosaic), and the head too."""

    name: str = setting("replay", "the option's name", choices=("replay",))
    teach: ReplayLessonOptions = field(
        default_factory=ReplayLessonOptions, metadata={"doc": "teaching the network"}
    )


@option("synthesis")
@dataclass(frozen=True)
class Ridge(Gated):
    """For labels and values: merge joint statistics into a linear map, beside the network."""

    name: str = setting("ridge", "the option's name", choices=("ridge",))
    teach: TargetLessonOptions = field(
        default_factory=TargetLessonOptions, metadata={"doc": "teaching the network"}
    )


OPTIONS: dict[str, type] = {
    "analytic_head": AnalyticHead,
    "class_kd": ClassKd,
    "reference_kd": ReferenceKd,
    "replay": Replay,
    "ridge": Ridge,
}

# The rule of distillation whose packets each rule of synthesis learns from.
NEEDS: dict[str, str] = {
    "class_kd": "class_logits",
    "reference_kd": "reference_logits",
    "replay": "mosaic",
    "ridge": "analytic",
}


def check_rules(distill: Any, synthesis: Any) -> None:
    """Raise ConfigError where a rule of synthesis learns nothing from the packets of another."""
    needed = NEEDS.get(synthesis.name, distill.name)
    if distill.name != needed:
        raise ConfigError(
            f"synthesis.name={synthesis.name}: learns from packets of distill={needed}, "
            f"not {distill.name}"
        )
