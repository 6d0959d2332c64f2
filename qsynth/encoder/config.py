"""The options of the group `encoder`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qsynth.errors import ConfigError
from qsynth.schema import option, setting


@option("encoder")
@dataclass(frozen=True)
class SeededConv:
    """Encode images by filters drawn from a seed."""

    name: str = setting("seeded_conv", "the option's name", choices=("seeded_conv",))
    seed: int = setting(0, "of filters and fit images; the same on every node", low=0)
    dimensions: int = setting(256, "features at most; packets use a prefix", low=4, high=1024)
    filters: int = setting(64, "5x5 filters", low=4, high=512)
    threshold: float = setting(0.1, "of the half-rectified maps", low=0.0)
    fit_images: int = setting(2000, "seeded noise images that fix the projection", low=300)


@option("encoder")
@dataclass(frozen=True)
class SeededFourier:
    """Encode vectors and flattened series by random Fourier features drawn from a seed."""

    name: str = setting("seeded_fourier", "the option's name", choices=("seeded_fourier",))
    seed: int = setting(0, "of frequencies and fit inputs; the same on every node", low=0)
    dimensions: int = setting(256, "features at most; packets use a prefix", low=4, high=1024)
    frequencies: int = setting(512, "random cosine features", low=16, high=8192)
    bandwidth: float = setting(1.0, "of the Gaussian kernel, in root mean square units", low=1e-6)
    fit_inputs: int = setting(2000, "seeded inputs that fix the projection", low=300)


@option("encoder")
@dataclass(frozen=True)
class SeededConv1d:
    """Encode series by filters drawn from a seed, at several widths."""

    name: str = setting("seeded_conv1d", "the option's name", choices=("seeded_conv1d",))
    seed: int = setting(0, "of filters and fit series; the same on every node", low=0)
    dimensions: int = setting(256, "features at most; packets use a prefix", low=4, high=1024)
    filters: int = setting(96, "filters, a third each of width 5, 9 and 17", low=3, high=512)
    cells: int = setting(6, "pooled cells along a series", low=1, high=64)
    threshold: float = setting(0.1, "of the half-rectified maps", low=0.0)
    fit_inputs: int = setting(2000, "seeded noise series that fix the projection", low=300)


@option("encoder")
@dataclass(frozen=True)
class ModuleEncoder:
    """Encode by a frozen network of the user's own that every node has, pre-trained for example."""

    name: str = setting("module", "the option's name", choices=("module",))
    target: str = setting("", "package.Class, or a function that gives a torch module")
    arguments: dict[str, Any] = setting({}, "its keyword arguments")
    seed: int = setting(0, "of the inputs that fix the projection", low=0)
    dimensions: int = setting(256, "features at most; packets use a prefix", low=4, high=1024)
    fit_inputs: int = setting(2000, "seeded noise inputs that fix the projection", low=300)
    whiten: bool = setting(True, "project on whitened components; false: the network's own output")


OPTIONS: dict[str, type] = {
    "seeded_conv": SeededConv,
    "seeded_fourier": SeededFourier,
    "seeded_conv1d": SeededConv1d,
    "module": ModuleEncoder,
}

# The layout of inputs that an encoder needs, and the encoder that fits a layout.
LAYOUTS = {"seeded_conv": "image", "seeded_conv1d": "series"}
FITTING = {
    "image": "seeded_conv",
    "series": "seeded_conv1d",
    "vector": "seeded_fourier",
    "tokens": "module",
}


def check_layout(config: Any, layout: str) -> None:
    """Raise ConfigError where an encoder is not for inputs of a task's layout."""
    needed = LAYOUTS.get(config.name, "")
    if config.name == "seeded_fourier" and layout == "tokens":
        needed = "vector or series"
    if needed and layout != needed:
        spoken = {"image": "images"}.get(needed, needed)
        raise ConfigError(
            f"encoder.name={config.name}: needs {spoken}, the task has layout {layout}; "
            f"use encoder={FITTING[layout]}"
        )
