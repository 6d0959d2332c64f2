"""Whitened principal components, fitted on seeded noise and kept on disk."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from qsynth.types import Floats, Floats32

# Directions with less than this share of the first one's variance are noise of the fit.
VARIANCE_FLOOR = 1e-6


def one_over_f(rng: np.random.Generator, count: int, shape: tuple[int, ...]) -> Floats32:
    """Return noise whose spectrum falls as 1/f, as that of natural images and series does.

    shape: (channels, *space).  Returns (count, *shape) float32 in [0, 1].
    Source: Field 1987 (natural images have 1/f amplitude spectra).
    """
    axes = [np.fft.fftfreq(n) for n in shape[1:]]
    frequency = np.sqrt(sum(np.square(a) for a in np.meshgrid(*axes, indexing="ij", sparse=True)))
    frequency = np.maximum(frequency, 1.0 / max(shape[1:]))
    space = tuple(range(2, len(shape) + 1))
    white = rng.standard_normal((count, *shape))
    noise = np.fft.ifftn(np.fft.fftn(white, axes=space) / frequency, axes=space).real
    # Channels of natural images are strongly correlated: share most of the first one's noise.
    noise[:, 1:] = 0.8 * noise[:, :1] + 0.4 * noise[:, 1:]
    noise -= noise.mean(axis=space, keepdims=True)
    noise /= noise.std(axis=space, keepdims=True) + 1e-12
    return np.clip(0.5 + 0.25 * noise, 0.0, 1.0).astype(np.float32)


def whitened_components(features: Floats32, dimensions: int) -> tuple[Floats32, Floats32]:
    """Return the mean (p,) and the projection (p, d) to whitened principal components.

    features: (n, p).  d = min(dimensions, n - 1, p), strongest direction first, so that the
    first d' columns are the projection to d' dimensions.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    centred = features.astype(np.float64) - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(features))
    keep = min(dimensions, len(features) - 1, features.shape[1])
    values, vectors = values[::-1][:keep], vectors[:, ::-1][:, :keep]
    vectors = vectors * signs(vectors)
    scale = 1.0 / np.sqrt(np.maximum(values, values[0] * VARIANCE_FLOOR))
    return mean.astype(np.float32), (vectors * scale).astype(np.float32)


def signs(vectors: Floats) -> Floats:
    """Return (d,) the sign that each column of (p, d) is multiplied by."""
    # An eigenvector's sign is arbitrary: fix it, or two machines disagree.
    largest = np.abs(vectors).argmax(axis=0)
    found: Floats = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return found


def cache_folder() -> Path:
    """Return the folder of what can be computed again (`QSYNTH_CACHE_DIR` moves it)."""
    base = os.environ.get("QSYNTH_CACHE_DIR")
    return Path(base) if base else Path.home() / ".cache" / "qsynth"


def cached(
    digest: bytes, fit: Callable[[], tuple[Floats32, Floats32]]
) -> tuple[Floats32, Floats32]:
    """Return `fit()`, or what it gave the last time for this digest."""
    path = cache_folder() / "encoder" / f"{digest.hex()}.npz"
    try:
        with path.open("rb") as kept, np.load(kept, allow_pickle=False) as stored:
            return stored["mean"], stored["projection"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        mean, projection = fit()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            np.savez(file, mean=mean, projection=projection)
        os.replace(file.name, path)
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else
    return mean, projection
