"""What releases of the Gaussian mechanism cost together, by the library `dp-accounting`.

Releases with noise multipliers s_1, s_2, ... cost together what one release costs whose
multiplier s has 1 / s^2 = 1 / s_1^2 + 1 / s_2^2 + ... (Dong, Roth & Su 2022, corollary 3.3), and
the cost of one release has a closed form (Balle & Wang 2018, theorem 8).  So the figures are exact.
Neighbours differ by one record that is added or taken away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from qsynth.errors import ConfigError
from qsynth.lazy import Deferred

MISSING = "privacy.name=dp: needs the extra privacy: pip install 'qsynth[privacy]'"
_library: Any = Deferred("dp_accounting.gaussian_mechanism")


def check_installed() -> None:
    """Raise ConfigError where the library is not there."""
    if find_spec("dp_accounting") is None:
        raise ConfigError(MISSING)


@cache
def noise_multiplier(epsilon: float, delta: float, releases: int) -> float:
    """Return the least noise over sensitivity with which so many releases cost (epsilon, delta)."""
    check_installed()
    return math.sqrt(releases) * float(_library.get_sigma_gaussian(epsilon, delta))


def epsilon_of(multipliers: Sequence[float], delta: float) -> float:
    """Return the epsilon of releases with these noise multipliers together; 0 of none."""
    return _epsilon(tuple(sorted(multipliers)), delta)


@cache
def _epsilon(multipliers: tuple[float, ...], delta: float) -> float:
    if not multipliers:
        return 0.0
    check_installed()
    together = 1.0 / math.sqrt(math.fsum(1.0 / value**2 for value in multipliers))
    return float(_library.get_epsilon_gaussian(together, delta))
