"""The metric `module`: a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from qsynth.errors import ConfigError
from qsynth.schema import load_target, option, setting
from qsynth.similarity.base import Metric
from qsynth.types import Floats

PROBE_FEATURES = 256


@option("similarity")
@dataclass(frozen=True)
class OwnMetric(Metric):
    """Compare nodes by a function of the user's own on a packet's counts and class sums."""

    name: str = setting("module", "the option's name", choices=("module",))
    target: str = setting("", "package.function(counts (C,), sums (C, d)) that gives a vector")

    def size(self, classes: int) -> int:
        """Return the length of what the function gives.  Raises ConfigError where it varies."""
        size = len(self.vector(np.ones(classes), np.ones((classes, PROBE_FEATURES))))
        if size != len(self.vector(np.ones(classes), np.ones((classes, 4)))):
            raise ConfigError(
                f"similarity.target={self.target}: the length of the vector must not depend on "
                "the number of features: packets of one task may have several"
            )
        return size

    def vector(self, counts: Floats, sums: Floats) -> Floats:
        """Return what the function gives.  Raises ConfigError where that is no vector."""
        function = _function(self.target)
        try:
            given = np.asarray(function(counts, sums))
            made = given.astype(np.float64) if given.dtype.kind in "iufb" else np.zeros(0)
        except Exception as error:  # the user's own code
            raise ConfigError(
                f"similarity.target={self.target}: fails ({type(error).__name__}: {error})"
            ) from None
        if made.ndim != 1 or not len(made) or not np.isfinite(made).all():
            raise ConfigError(
                f"similarity.target={self.target}: must give one vector of finite real numbers, "
                f"gave {given.dtype} of shape {given.shape}"
            )
        # Only its direction counts: numbers however large must not overflow when they are squared.
        return made / max(float(np.abs(made).max()), 1.0)


@cache
def _function(target: str) -> Callable[..., Any]:
    found = load_target("similarity.target", target, "package.function")
    if not callable(found):
        raise ConfigError(f"similarity.target={target}: must be a function")
    return found  # type: ignore[no-any-return]
