"""A lie that is fitted to its victims: the one that does most harm of those they would let in.

The attacker has samples as alike to a victim's as routing can find, knows what the victim and its
peers have published, the task and all settings.  It rehearses on its own samples: which of many
lies does the victims' own rule of synthesis take beside honest packets, and which of those costs
most (Fang et al. 2020, section 4: local models crafted against a known rule)?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qsynth.packet import Payload, Statistics
from qsynth.synthesis import HeadRule, OwnEvidence, Synthesis
from qsynth.types import Floats, Floats32, Ints

STRENGTHS = (0.2, 0.35, 0.5, 0.7, 1.0)
FAMILIES = ("next", "middle", "away", "half")
LIES = 2  # that come at once: attackers collude
SPLITS = 3  # of own samples, into those that judge packets and those that harm is measured on
LEAST_SAMPLES, MOST_SAMPLES = 60, 600  # that a lie is made of

Code = Callable[[Floats32, Ints], Payload]
Read = Callable[[Payload], Statistics]


@dataclass(frozen=True)
class Rehearsal:
    """Try lies on oneself, in place of a victim.

    rule: by which the victims learn.  victim: what one has published; others: what its honest peers
    have.  features, labels: (n, D) and (n,) own samples.  code: makes a payload of features and
    labels; read: gives its statistics.  sketched: first features, which a fingerprint is made of
    and the lie leaves as they are.
    """

    rule: HeadRule
    victim: Statistics
    membership: Sequence[Statistics]
    features: Floats32
    labels: Ints
    code: Code
    read: Read
    sketched: int

    def best(self, seed: int) -> Payload:
        """Return the payload that does most harm; the mildest lie where none is let in."""
        rng = np.random.default_rng([seed, 41])
        splits = [rng.permutation(len(self.labels)) for _ in range(SPLITS)]
        worst, chosen = self._reached(splits, (), seed)[0], None
        for family in FAMILIES:
            for strength in STRENGTHS:
                lies = [self.code(*self.lied(rng, family, strength)) for _ in range(LIES)]
                reached, taken = self._reached(splits, lies, seed)
                if taken and reached < worst:
                    worst, chosen = reached, lies[0]
        return self.code(*self.lied(rng, FAMILIES[0], STRENGTHS[0])) if chosen is None else chosen

    def _reached(
        self, splits: Sequence[Ints], lies: Sequence[Payload], seed: int
    ) -> tuple[float, bool]:
        """Return the log-likelihood of samples left out, and whether a lie has been taken."""
        honest = {bytes([1, at]): each for at, each in enumerate((self.victim, *self.membership))}
        packets = honest | {bytes([2, at]): self.read(lie) for at, lie in enumerate(lies)}
        total, taken = 0.0, False
        for order in splits:
            left, kept = np.sort(order[::3]), np.sort(np.concatenate([order[1::3], order[2::3]]))
            d = self.victim.dimensions
            own = OwnEvidence.from_samples(
                self.features[kept, :d], self.labels[kept], len(self.victim.counts), seed
            )
            made = self.rule.head_of(own, d, packets, dict.fromkeys(packets, 1.0))
            taken |= any(author[0] == 2 for author in made.authors)
            total += _likelihood(made, self.features[left, :d], self.labels[left])
        return total / len(splits), taken

    def lied(self, rng: np.random.Generator, family: str, strength: float) -> tuple[Floats32, Ints]:
        """Return samples that look like the victim's in their first features, and lie beyond."""
        labels = self._labels(rng, self._samples())
        means, told = self.victim.means(), np.flatnonzero(self.victim.counts)
        middle = means[told].mean(axis=0)
        wanted = means.copy()
        if family == "next":
            wanted[told] = means[np.roll(told, 1)]
        elif family == "half":
            half = told[: max(2, len(told) // 2)]
            wanted[half] = means[np.roll(half, 1)]
        else:
            wanted[told] = middle if family == "middle" else 2.0 * middle - means[told]
        lie = (1.0 - strength) * means + strength * wanted
        lie[:, : self.sketched] = means[:, : self.sketched]
        return self._around(rng, lie, labels), labels

    def _samples(self) -> int:
        return int(np.clip(self.victim.counts.sum(), LEAST_SAMPLES, MOST_SAMPLES))

    def _labels(self, rng: np.random.Generator, samples: int) -> Ints:
        """Return labels in the victim's shares, each class that it has at least twice."""
        told = np.flatnonzero(self.victim.counts)
        shares = self.victim.counts[told] / self.victim.counts.sum()
        counts = np.maximum(2, np.rint(shares * samples)).astype(np.int64)
        labels: Ints = rng.permutation(np.repeat(told, counts))
        return labels

    def _around(self, rng: np.random.Generator, means: Floats, labels: Ints) -> Floats32:
        total = max(float(self.victim.counts.sum()), 1.0)
        values, vectors = np.linalg.eigh(self.victim.scatter / total)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        noise = rng.standard_normal((len(labels), len(values))) @ root.T
        made: Floats32 = (means[labels] + noise).astype(np.float32)
        return made


def _likelihood(made: Synthesis, features: Floats32, labels: Ints) -> float:
    logits = made.head.scores(features) + made.log_prior
    logits -= logits.max(axis=1, keepdims=True)
    logs = logits[np.arange(len(labels)), labels] - np.log(np.exp(logits).sum(axis=1))
    return float(logs.mean())
