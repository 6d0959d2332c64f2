"""What releases of the Gaussian mechanism cost together, by the library `dp-accounting`.

By privacy loss distributions, which are exact for it up to their grid (Koskela et al. 2020;
Doroshenko et al. 2022).  Neighbours differ by one record that is added or taken away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from qsynth.errors import ConfigError
from qsynth.lazy import Deferred

MISSING = "privacy.name=dp: needs the extra privacy: pip install 'qsynth[privacy]'"
_events: Any = Deferred("dp_accounting")
_pld: Any = Deferred("dp_accounting.pld")


def check_installed() -> None:
    """Raise ConfigError where the library is not there."""
    if find_spec("dp_accounting") is None:
        raise ConfigError(MISSING)


@cache
def noise_multiplier(epsilon: float, delta: float, releases: int) -> float:
    """Return the least noise over sensitivity with which so many releases cost (epsilon, delta)."""
    check_installed()

    def event(multiplier: float) -> Any:
        return _events.SelfComposedDpEvent(_events.GaussianDpEvent(multiplier), releases)

    made = _events.calibrate_dp_mechanism(
        _pld.PLDAccountant, event, epsilon, delta, tol=1e-4 * max(releases, 1) ** 0.5
    )
    return float(made)


def epsilon_of(multipliers: Sequence[float], delta: float) -> float:
    """Return the epsilon of releases with these noise multipliers together; 0 of none."""
    return _epsilon(tuple(sorted(multipliers)), delta)


@cache
def _epsilon(multipliers: tuple[float, ...], delta: float) -> float:
    if not multipliers:
        return 0.0
    check_installed()
    accountant = _pld.PLDAccountant()
    for multiplier, count in sorted(Counter(multipliers).items()):
        accountant.compose(_events.GaussianDpEvent(multiplier), count)
    return float(accountant.get_epsilon(delta))
