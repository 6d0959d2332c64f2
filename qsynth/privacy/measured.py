"""How much privacy a packet really costs, at least: an attack that knows all but one record.

The attacker has the node's records, and wonders whether one more, as far from all others as a
record can be, is among them.  It looks at a packet, and at how often such packets look so.
Source: Jagielski, Ullman & Oprea 2020 (auditing differentially private machine learning).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import beta

from qsynth.packet import Statistics
from qsynth.types import Floats

CONFIDENCE = 0.95


def epsilon_bound(inside: Floats, outside: Floats, delta: float) -> float:
    """Return an epsilon that these scores refute, with 95 % confidence; 0 where they refute none.

    inside, outside: of packets with the record, and without.  The threshold is chosen on one half,
    and judged on the other.  By the bounds of Clopper & Pearson 1934 on both rates.
    """
    halves = [(scores[::2], scores[1::2]) for scores in (inside, outside)]
    (chosen_in, judged_in), (chosen_out, judged_out) = halves
    best, found = -np.inf, 0.0
    every = np.concatenate([chosen_in, chosen_out])
    for threshold in np.quantile(every, np.linspace(0.01, 0.99, 99)):
        for sign in (1.0, -1.0):
            rate = _bound(sign, threshold, chosen_in, chosen_out, delta)
            if rate > best:
                best, found = rate, _bound(sign, threshold, judged_in, judged_out, delta)
    return max(float(found), 0.0)


def _bound(sign: float, threshold: float, inside: Floats, outside: Floats, delta: float) -> float:
    """Return the log of the least ratio of hits to false alarms that counts leave possible."""
    level = (1.0 - CONFIDENCE) / 2.0
    hits = int((sign * inside > sign * threshold).sum())
    alarms = int((sign * outside > sign * threshold).sum())
    least = float(beta.ppf(level, hits, len(inside) - hits + 1)) if hits else 0.0
    quiet = len(outside) - alarms
    most = float(beta.ppf(1.0 - level, alarms + 1, quiet)) if quiet else 1.0
    return float(np.log(max(least - delta, 1e-300) / most))


def leaning(
    release: Callable[[bytes], Statistics], record: Floats, label: int, times: int
) -> Floats:
    """Return how much each of so many packets leans to a record.

    release: gives the statistics of a packet; with another key it is made anew.
    """
    made = []
    for number in range(times):
        told = release(number.to_bytes(32, "big"))
        total = max(float(told.counts.sum()), 1.0)
        second = float(record @ told.scatter @ record) / total
        made.append([float(told.counts[label]), float(told.sums[label] @ record), second])
    return np.array(made)


def measured_epsilon(with_: Floats, without: Floats, delta: float) -> float:
    """Return the epsilon that packets refute: of rows of `leaning`, by their best direction.

    The direction is that of Fisher's discriminant on the first third of the rows.
    """
    third = len(with_) // 3
    first, second = with_[:third], without[:third]
    spread = np.cov(np.concatenate([first - first.mean(0), second - second.mean(0)]).T)
    direction = np.linalg.lstsq(spread, first.mean(0) - second.mean(0), rcond=None)[0]
    return epsilon_bound(with_[third:] @ direction, without[third:] @ direction, delta)
