"""Hashes of fingerprints: the keys of the baseline `simhash`.

Source: Charikar 2002 (SimHash); Haghani, Michel & Aberer 2009 (LSH over a DHT); multi-probe by
the bits of smallest margin (Lv et al. 2007).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qsynth.types import Floats32, Ints

SEED = 27


def planes(tables: int, size: int, bits: int) -> Floats32:
    """Return the hyperplanes of each table, (tables, size, bits): the same on every node."""
    rng = np.random.default_rng([tables, size, bits, SEED])
    made: Floats32 = rng.standard_normal((tables, size, bits)).astype(np.float32)
    return made


def codes(prints: npt.NDArray[np.int8], tables: Floats32, probes: int) -> Ints:
    """Return the codes of fingerprints (n, d), as (n, tables, probes).

    The first is on the fingerprint's own side of all planes; each further one crosses the plane
    that it is next nearest to.
    """
    margins = np.einsum("nd,tdb->ntb", prints.astype(np.float32), tables)
    bits = margins.shape[2]
    own = ((margins > 0) * (np.int64(1) << np.arange(bits, dtype=np.int64))).sum(axis=2)
    order = np.argsort(np.abs(margins), axis=2, kind="stable")
    crossed = [own ^ (np.int64(1) << order[:, :, probe % bits]) for probe in range(probes - 1)]
    made: Ints = np.stack([own, *crossed], axis=2)
    return made
