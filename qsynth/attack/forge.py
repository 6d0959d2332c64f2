"""Forge publications: a node that attacks trains and joins as all do, and then it lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from qsynth.attack.adaptive import Rehearsal
from qsynth.distill.subset import narrow, widen
from qsynth.packet import Payload
from qsynth.pipeline.participant import Port
from qsynth.pipeline.publication import Publication
from qsynth.types import Fingerprint, NodeId

# The arrays of a payload with a row for each class.
ROWS = ("counts", "means", "mean_scales", "mean_codes", "mean_steps")
COLUMNS = {"means": 1, "mean_codes": 2}  # features in one column

NO_VARIANCE = -1e5  # the logarithm of a variance of nothing

Sketch = Callable[[Payload], tuple[Fingerprint, int]]


@dataclass(frozen=True)
class Forger:
    """Forge what a node publishes.

    attack: an option of the group `attack`.  sketch: gives fingerprint and support of a payload.
    victim: what an honest node publishes.  accomplice: what the first attacker would publish.
    sketched: features that the fingerprint is made of; the others are free to lie with.
    rehearsal: makes what the attack `adaptive` tries its lies on.
    """

    attack: Any
    sketch: Sketch
    victim: Publication
    accomplice: Publication
    sketched: int
    seed: int
    rehearsal: Callable[[], Rehearsal] | None = None

    def forged(self, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead of an honest publication; None for nothing."""
        name = self.attack.name
        if name == "free_rider":
            return None
        if name == "turncoat" and period < self.attack.period:
            return publication
        if name == "replay":
            return self._published(self.victim.payload)
        if name == "noise":
            return self._published(self._noise(publication.payload))
        if name == "inflated_support":
            payload = turned(publication.payload)
            counts = payload["counts"].astype(np.uint64) * np.uint64(self.attack.factor)
            payload["counts"] = np.minimum(counts, 10_000_000).astype(np.uint32)
            return self._published(payload)
        if name == "sybil":
            return self._published(turned(self.accomplice.payload))
        if name == "sybil_around":
            return self._published(turned(self.victim.payload, self.sketched))
        if name == "partial_lie":
            free = self.victim.payload["counts"] == 0
            return self._published(turned(publication.payload, classes=free))
        if name == "empty_scatter":
            return self._published(emptied(turned(publication.payload, self.sketched)))
        if name == "copied_scatter":
            return self._published(
                rescattered(turned(publication.payload, self.sketched), self.victim.payload)
            )
        if name == "adaptive":
            return self._adapted
        forged = self._published(turned(publication.payload))
        if name == "forged_fingerprint":
            return replace(forged, fingerprint=self.victim.fingerprint)
        return forged

    @cached_property
    def _adapted(self) -> Publication:
        assert self.rehearsal is not None
        return self._published(self.rehearsal().best(self.seed))

    def invented(self, number: int) -> Publication:
        """Return what the N-th of its made-up authors says: flipped labels, in other numbers each.

        As far as its fingerprint leaves them open: it is a victim's.
        """
        payload = turned(self.victim.payload, self.sketched)
        counts = payload["counts"].copy()
        counts[np.flatnonzero(counts)] += np.uint32(number)  # else they would be copies
        return self._published(payload | {"counts": counts})

    def _published(self, payload: Payload) -> Publication:
        fingerprint, support = self.sketch(payload)
        return Publication(payload, fingerprint, support, fingerprint)

    def _noise(self, payload: Payload) -> Payload:
        rng = np.random.default_rng([self.seed, 20])
        made = dict(payload)
        for key in COLUMNS:
            if key in made:
                shape = made[key].shape
                low, high = (-127, 128) if key == "means" else (0, 15)
                noise = rng.integers(low, high, shape)
                if key == "mean_codes":
                    noise = noise << 4 | rng.integers(low, high, shape)
                made[key] = noise.astype(made[key].dtype)
        return made


def turned(
    payload: Payload, first: int = 0, classes: npt.NDArray[np.bool_] | None = None
) -> Payload:
    """Return a payload with its class statistics under the next label that has any.

    first: features that stay as they are.  classes: (C,) that are turned; None: all.
    """
    rows = len(payload["means"] if "means" in payload else payload["mean_codes"])
    payload = widen(payload)
    told = payload["counts"] > 0
    narrowed = rows < len(told)
    turning = np.flatnonzero(told if classes is None else told & classes)
    order = np.arange(len(told))
    order[turning] = np.roll(turning, 1)
    made = dict(payload)
    if first == 0:
        for key in ROWS:
            if key in made and len(made[key]) == len(told):
                made[key] = made[key][order]
        return narrow(made) if narrowed else made
    for key, wide in COLUMNS.items():
        if key in made and len(made[key]) == len(told):
            made[key] = made[key].copy()
            made[key][:, first // wide :] = payload[key][order, first // wide :]
    return narrow(made) if narrowed else made


def emptied(payload: Payload) -> Payload:
    """Return a payload whose scatter is nothing, in numbers that are taken."""
    if "factor_scales" not in payload:
        return payload  # of means alone: it has none
    # A variance is coded as a logarithm: this one is 0 in double precision.
    nothing = np.full(2, NO_VARIANCE, np.float32)
    return dict(payload) | {
        "factor_scales": np.zeros_like(payload["factor_scales"]),
        "diagonal_bounds": nothing,
    }


def rescattered(payload: Payload, victim: Payload) -> Payload:
    """Return a payload with a victim's scatter, for as many samples as it claims itself."""
    if "factors" not in payload or victim["factors"].shape != payload["factors"].shape:
        return payload
    share = float(payload["counts"].sum()) / max(float(victim["counts"].sum()), 1.0)
    return dict(payload) | {
        "factors": victim["factors"],
        "diagonal": victim["diagonal"],
        "factor_scales": (victim["factor_scales"] * np.sqrt(share)).astype(np.float32),
        "diagonal_bounds": (victim["diagonal_bounds"] + np.log(share)).astype(np.float32),
    }


class AttackingPort:
    """A learner's port that hands forged publications on.

    port: the honest one.
    """

    def __init__(self, port: Port, forger: Forger) -> None:
        self.port, self.forger = port, forger

    def end_period(
        self, period: int, publication: Publication | None, same: float
    ) -> Mapping[NodeId, Any]:
        """Publish the forged publication; return what honest nodes have sent."""
        forged = None if publication is None else self.forger.forged(publication, period)
        return self.port.end_period(period, forged, same)

    def note(self, records: list[dict[str, Any]]) -> None:
        """Record what the learner has to say."""
        self.port.note(records)

    def learned(self, held: Any, used: Any, likelihood: float) -> None:
        """Tell the node how a new synthesis went."""
        self.port.learned(held, used, likelihood)
