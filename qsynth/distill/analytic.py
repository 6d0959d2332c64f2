"""The rule `analytic`: class counts, class means and within-class scatter, in 8-bit numbers.

It says what the author's *data* say, whatever its model: a node that never trained sends the
same.  Low-rank factors and an exact diagonal stand for the scatter.  Every packet carries such
statistics, so what all rules share stands here, too (`DistillRule`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from qsynth.distill.coding import Shapes, bytes_of, code_statistics, statistics_shapes
from qsynth.distill.means import code_means, mean_shapes
from qsynth.distill.subset import ROWS, most_told, narrow
from qsynth.errors import ConfigError
from qsynth.packet import Payload, Statistics, class_statistics, packet_bytes
from qsynth.schema import name_of, option, setting
from qsynth.types import Floats, Floats32, Ints, Task

MIN_AUTO, MAX_AUTO = 8, 256
MOST_TTL_S = 90 * 86400.0  # what receivers let a packet hold at most
MOST_BYTES = 32_768  # of a packet
Dimensions = int | Literal["auto", "fit"]
Answer = Callable[[Floats32], Floats]  # inputs (n, ...) to logits (n, C)


@dataclass(frozen=True)
class Source:
    """Hold what a rule may say something of: an author's data and network.

    inputs: (n, *task.shape) own training samples.  labels: (n,).  answer: the network; None before
    it has trained.  reference: the public set, where there is one.  payload: what the packet holds
    already.
    """

    task: Task
    inputs: Floats32
    labels: Ints
    answer: Answer | None = None
    reference: Floats32 | None = None
    payload: Payload = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=np.random.default_rng)


@option("distill")
@dataclass(frozen=True)
class DistillRule:
    """A distillation rule.  An option subclasses `ClassMeans`, or is `Analytic`.

    Every packet carries class statistics, by which it is routed; a rule says how (`statistics`),
    what stands beside them (`further`, `further_shapes`), and what a receiver reads there (`read`).
    """

    min_support: int = setting(5, "samples a class needs before anything is sent of it", low=1)
    max_bytes: int = setting(8192, "of a packet with its signature", low=512, high=MOST_BYTES)
    ttl_s: float = setting(86400.0, "seconds until a packet expires", low=1.0, high=MOST_TTL_S)

    follows_network: ClassVar[bool] = False  # whether a packet changes with the author's network
    public_set: ClassVar[bool] = False  # whether every node needs the same public inputs
    sends: ClassVar[str | None] = None  # beside class statistics, in words for `plan`

    def statistics(self) -> Analytic:
        """Return how packets carry class statistics."""
        raise NotImplementedError

    def further_shapes(self, classes: int, references: int | None = None) -> Shapes:
        """Return shape and type of each array beside the class statistics.

        references: inputs of the public set; None: as many as the config says.
        """
        return {}

    def further(self, source: Source) -> Payload:
        """Return the arrays beside the class statistics."""
        return {}

    def read(self, payload: Mapping[str, npt.NDArray[Any]], features: Statistics) -> object | None:
        """Return what a packet says beside its class statistics; None where it says nothing.

        Raises PacketError with reason `schema` or `range`.
        """
        return None

    def check_task(self, task: Task) -> None:
        """Raise ConfigError where the rule cannot say anything of a task or its inputs."""
        if not task.classified:
            raise ConfigError(
                f"distill: a task of {task.kind} needs distill=analytic, coding low_rank or "
                "diagonal and input_rank null"
            )

    def without_inputs(self) -> DistillRule:
        """Return the rule without statistics of raw inputs."""
        return self

    @property
    def tells_inputs(self) -> bool:
        """Return whether packets carry statistics of raw inputs."""
        return False

    @property
    def least_averaged(self) -> int:
        """Return of how many samples at least each thing is that a packet says."""
        return self.min_support

    def dimensions(
        self, samples: int, encoder_dimensions: int, classes: int, input_size: int, least: int = 0
    ) -> int:
        """Return how many features the class statistics of a packet have.

        least: that they have where their number is left to the rule, and they fit.
        """
        rule = self.statistics()
        return rule.dimensions(samples, encoder_dimensions, classes, input_size, least)

    def most_classes(self, d: int, classes: int, input_size: int) -> int:
        """Return how many classes a packet can tell of."""
        return classes

    def check_size(
        self,
        d: int,
        classes: int,
        input_size: int,
        references: int | None = None,
        samples: int | None = None,
    ) -> int:
        """Return a packet's bytes.  Raises ConfigError that names a setting that would fit.

        samples: of the largest node, which bound the classes that it can tell of.  references:
        inputs of the public set, where they are given otherwise than by the config.
        """
        shapes = self.statistics().class_shapes(classes, d)
        shapes |= self.further_shapes(classes, references)
        needed = bytes_of(shapes)
        if needed > self.max_bytes:
            raise ConfigError(
                f"distill.max_bytes={self.max_bytes}: a packet of {name_of(self)} needs {needed} "
                f"bytes; distill.max_bytes={2 ** math.ceil(math.log2(needed))} would fit"
            )
        return needed


@option("distill")
@dataclass(frozen=True)
class Analytic(DistillRule):
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

    def statistics(self) -> Analytic:
        """Return the rule itself: it says how packets carry class statistics."""
        return self

    def check_task(self, task: Task) -> None:
        """Raise ConfigError where the rule cannot say anything of a task."""
        if not task.classified and (self.coding == "means" or self.input_rank):
            super().check_task(task)

    @property
    def tells_inputs(self) -> bool:
        """Return whether packets carry statistics of raw inputs."""
        return bool(self.input_rank)

    def without_inputs(self) -> Analytic:
        """Return the rule without statistics of raw inputs."""
        return replace(self, input_rank=None) if self.input_rank else self

    @property
    def factors(self) -> int:
        """Return how many low-rank factors a packet has at most."""
        return self.rank if self.coding == "low_rank" else 0

    def class_shapes(self, classes: int, d: int) -> Shapes:
        """Return shape and type of each array of the class statistics of d features."""
        if self.coding == "means":
            return mean_shapes(classes, d)
        return statistics_shapes(classes, d, min(self.factors, d), "")

    def dimensions(
        self, samples: int, encoder_dimensions: int, classes: int, input_size: int, least: int = 0
    ) -> int:
        """Return d: the setting; `auto`: half the samples, `fit`: all features; less by max_bytes.

        Half the samples: a larger d tells more of who is in the data than of the data.  least: of
        features that have no order, none can be left out.
        """
        if self.d not in ("auto", "fit"):
            d = min(int(self.d), encoder_dimensions)
            return d - d % 2 if self.coding == "means" else d
        d = encoder_dimensions
        if self.d == "auto":
            d = min(max(min(samples // 2, MAX_AUTO), MIN_AUTO, least), d)
        if self.coding == "means":
            d += d % 2  # two numbers a byte
        rows = self._rows(samples, classes)
        while d > MIN_AUTO and self.packet_size(d, classes, input_size, rows) > self.max_bytes:
            d -= 2 if self.coding == "means" else 1
        return d

    def _rows(self, samples: int, classes: int) -> int:
        """Return how many classes a node of so many samples can tell of."""
        return min(classes, samples // self.min_support)

    def most_classes(self, d: int, classes: int, input_size: int) -> int:
        """Return how many classes a packet can tell of: all, or as many as `max_bytes` holds."""
        if self.packet_size(d, classes, input_size) <= self.max_bytes:
            return classes
        base = self.packet_size(d, classes, input_size, 0)
        row = self.packet_size(d, classes, input_size, 1) - base
        return max(min((self.max_bytes - base) // row, classes), 0)

    def packet_size(self, d: int, classes: int, input_size: int, rows: int | None = None) -> int:
        """Return the bytes of a packet with these settings, signature included.

        rows: classes that it tells of; None: all.
        """
        shapes = self.class_shapes(classes, d)
        if self.coding != "means" and self.input_rank:
            shapes |= statistics_shapes(
                classes, input_size, min(self.input_rank, input_size), "input_"
            )
            del shapes["input_counts"]
        return _bytes(shapes, rows)

    def check_size(
        self,
        d: int,
        classes: int,
        input_size: int,
        references: int | None = None,
        samples: int | None = None,
    ) -> int:
        """Return the packet's bytes.  Raises ConfigError that names a setting that would fit.

        samples: of the largest node, which bound how many classes it can tell of; None: unknown.
        Where `d` is left to the rule, it is enough that the packet has room for one class.
        """
        needed = self.packet_size(d, classes, input_size)
        if needed <= self.max_bytes:
            return needed
        left = self.d in ("auto", "fit") and samples is not None
        rows = classes if samples is None else self._rows(samples, classes)
        rows = max(min(rows, self.most_classes(d, classes, input_size)) if left else rows, 1)
        told = self.packet_size(d, classes, input_size, rows)
        if told <= self.max_bytes:
            return told
        inputs = f", statistics of {input_size} inputs" if self.input_rank else ""
        raise ConfigError(
            f"distill.max_bytes={self.max_bytes}: d={d}, rank={self.rank} and {classes} classes"
            f"{inputs} need {needed} bytes; {_fitting(self, d, classes, input_size)}"
        )


def distil(
    config: Analytic,
    d: int,
    features: Floats32,
    inputs: Floats32 | None,
    labels: Ints,
    classes: int,
    copies: Sequence[Floats32] = (),
) -> Payload:
    """Return the payload of a packet: the author's own evidence, and nothing else.

    d: features sent.  features: (n, D) of the encoder, D >= d.  inputs: (n, ...) or None.
    labels: (n,).  copies: features of the same samples, changed in ways that leave their labels.
    Classes with fewer than `min_support` samples are left out altogether; so are, where not all
    classes fit into `max_bytes`, those with fewest.
    """
    input_size = 0 if inputs is None else math.prod(inputs.shape[1:])
    most = config.most_classes(d, classes, input_size)
    counts = np.bincount(labels, minlength=classes)
    kept = np.isin(labels, most_told(counts, config.min_support, most))
    labels = labels[kept]
    views = np.concatenate([view[kept, :d] for view in (features, *copies)])
    many = 1 + len(copies)
    statistics = class_statistics(views, np.tile(labels, many), classes, many)
    whole = config.packet_size(d, classes, input_size) <= config.max_bytes
    if config.coding == "means":
        return code_means(statistics) if whole else narrow(code_means(statistics))
    payload = code_statistics(statistics, config.factors, "")
    if config.input_rank and inputs is not None:
        flat = inputs[kept].reshape(len(labels), input_size)
        payload |= code_statistics(
            class_statistics(flat, labels, classes), config.input_rank, "input_"
        )
        del payload["input_counts"]  # the same as `counts`
    return payload if whole else narrow(payload)


def _bytes(shapes: Shapes, rows: int | None) -> int:
    arrays = {}
    for key, (shape, dtype) in shapes.items():
        narrowed = (rows, *shape[1:]) if rows is not None and key in ROWS else shape
        arrays[key] = np.zeros(narrowed, dtype)
    return packet_bytes(arrays)


def _fitting(config: Analytic, d: int, classes: int, input_size: int) -> str:
    """Return what would make a packet fit: with less of what costs most, first."""

    def size_of(other: Analytic, features: int = d) -> int:
        return other.packet_size(features, classes, input_size)

    bare, words = replace(config, input_rank=None), ""
    costs_most = size_of(config) - size_of(bare) > size_of(bare)
    if config.input_rank and (costs_most or size_of(bare) <= config.max_bytes):
        config, words = bare, "synthesis.teach.inputs=own_mix"
        if size_of(config) <= config.max_bytes:
            return f"{words} (no statistics of inputs) would fit"
    step = 2 if config.coding == "means" else 1
    tries = [(f"distill.d={n}", config, n) for n in range(d - step, 3, -step)]
    tries += [(f"distill.rank={n}", replace(config, rank=n), d) for n in range(config.rank)[::-1]]
    tries += [("distill.coding=diagonal", replace(config, coding="diagonal"), d)]
    for named, other, features in tries:
        if size_of(other, features) <= config.max_bytes:
            return f"{words} {named} would fit".strip()
    needed = 2 ** math.ceil(math.log2(size_of(config)))
    if needed <= MOST_BYTES:
        return f"{words} distill.max_bytes={needed} would fit".strip()
    return "no setting makes so many classes fit; have fewer, or fewer features (distill.d=auto)"
