"""The options of the group `similarity`."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.schema import option, setting


@option("similarity")
@dataclass(frozen=True)
class Bounded:
    """What every metric has."""

    fingerprint_dim: int = setting(320, "numbers in a fingerprint at most", low=16, high=1024)
    query_support: int | None = setting(
        None,
        "samples a class needs to be told of in one's own lookups, which those who are asked "
        "see; null: what is published",
        low=1,
    )


@option("similarity")
@dataclass(frozen=True)
class ClassSketch(Bounded):
    """Compare nodes by their class means in the encoder's first features."""

    name: str = setting("class_sketch", "the option's name", choices=("class_sketch",))
    sketch_d: int = setting(32, "features of each class mean", low=4, high=256)


@option("similarity")
@dataclass(frozen=True)
class SketchMean(Bounded):
    """Compare nodes by the mean of all their features: where labels say nothing, or differ."""

    name: str = setting("sketch_mean", "the option's name", choices=("sketch_mean",))
    sketch_d: int = setting(32, "features of the mean", low=4, high=256)


@option("similarity")
@dataclass(frozen=True)
class LabelHistogram(Bounded):
    """Compare nodes by their label shares alone: a control."""

    name: str = setting("label_histogram", "the option's name", choices=("label_histogram",))


@option("similarity")
@dataclass(frozen=True)
class OutputProbe(Bounded):
    """Compare nodes by what their class means answer to seeded probes: a control."""

    name: str = setting("output_probe", "the option's name", choices=("output_probe",))
    sketch_d: int = setting(32, "features of a probe", low=4, high=256)
    probes: int = setting(32, "points of feature space that are asked about", low=4, high=256)


@option("similarity")
@dataclass(frozen=True)
class OwnMetric(Bounded):
    """Compare nodes by a function of the user's own on a packet's counts and class sums."""

    name: str = setting("module", "the option's name", choices=("module",))
    target: str = setting("", "package.function(counts (C,), sums (C, d)) that gives a vector")


OPTIONS: dict[str, type] = {
    "class_sketch": ClassSketch,
    "sketch_mean": SketchMean,
    "label_histogram": LabelHistogram,
    "output_probe": OutputProbe,
    "module": OwnMetric,
}
