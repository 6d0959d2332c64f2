"""The options of the group `encoder`."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.schema import setting


@dataclass(frozen=True)
class SeededConv:
    """Encode images by filters drawn from a seed."""

    name: str = setting("seeded_conv", "the option's name", choices=("seeded_conv",))
    seed: int = setting(0, "of filters and fit images; the same on every node", low=0)
    dimensions: int = setting(256, "features at most; packets use a prefix", low=4, high=1024)
    filters: int = setting(64, "5x5 filters", low=4, high=512)
    threshold: float = setting(0.1, "of the half-rectified maps", low=0.0)
    fit_images: int = setting(2000, "seeded noise images that fix the projection", low=300)


@dataclass(frozen=True)
class SeededFourier:
    """Encode vectors and flattened series by random Fourier features drawn from a seed."""

    name: str = setting("seeded_fourier", "the option's name", choices=("seeded_fourier",))
    seed: int = setting(0, "of frequencies and fit inputs; the same on every node", low=0)
    dimensions: int = setting(256, "features at most; packets use a prefix", low=4, high=1024)
    frequencies: int = setting(512, "random cosine features", low=16, high=8192)
    bandwidth: float = setting(1.0, "of the Gaussian kernel, in root mean square units", low=1e-6)
    fit_inputs: int = setting(2000, "seeded inputs that fix the projection", low=300)


OPTIONS: dict[str, type] = {"seeded_conv": SeededConv, "seeded_fourier": SeededFourier}
