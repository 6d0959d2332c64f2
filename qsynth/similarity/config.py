"""The options of the group `similarity`."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.schema import setting


@dataclass(frozen=True)
class ClassSketch:
    """Compare nodes by their class means in the encoder's first features."""

    name: str = setting("class_sketch", "the option's name", choices=("class_sketch",))
    sketch_d: int = setting(32, "features of each class mean", low=4, high=256)
    fingerprint_dim: int = setting(320, "numbers in a fingerprint at most", low=16, high=1024)


OPTIONS: dict[str, type] = {"class_sketch": ClassSketch}
