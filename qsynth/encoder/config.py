"""Options of the group `encoder`, and what all of them have in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from qsynth.errors import ConfigError
from qsynth.lazy import load
from qsynth.schema import name_of, option, setting

# The encoder that fits a layout of inputs.
FITTING = {
    "image": "seeded_conv",
    "series": "seeded_conv1d",
    "vector": "seeded_fourier",
    "tokens": "module",
}


@option("encoder")
@dataclass(frozen=True)
class EncoderOptions:
    """What every encoder has.  An option subclasses it."""

    dimensions: int = setting(256, "features at most; packets use a prefix", low=4, high=1024)

    encodes: ClassVar[str] = ""  # module:Class of the `Encoder`, made of the option and the task
    layouts: ClassVar[tuple[str, ...]] = ()  # of the inputs that it takes; empty: all
    whole: ClassVar[bool] = False  # whether features have no order: a packet has all or a few
    invertible: ClassVar[bool] = False  # whether inputs follow from features: `Encoder.units`

    def features(self, size: int) -> int:
        """Return how many features there are at most.  size: numbers in an input."""
        return self.dimensions

    def least(self, size: int) -> int:
        """Return how many features a packet has at least where it is left to the rule."""
        return self.features(size) if self.whole else 0

    def check_layout(self, layout: str) -> None:
        """Raise ConfigError where the encoder is not for inputs of a task's layout."""
        if self.layouts and layout not in self.layouts:
            spoken = " or ".join({"image": "images"}.get(each, each) for each in self.layouts)
            raise ConfigError(
                f"encoder.name={name_of(self)}: needs {spoken}, the task has layout {layout}; "
                f"use encoder={FITTING[layout]}"
            )

    def told(self) -> dict[str, Any]:
        """Return what features depend on, for their digest."""
        return asdict(self)

    def encoding(self) -> Any:
        """Return the class of the encoder."""
        module, _, name = self.encodes.partition(":")
        return load(module, name)


@option("encoder")
@dataclass(frozen=True)
class SeededConv(EncoderOptions):
    """Encode images by filters drawn from a seed."""

    name: str = setting("seeded_conv", "the option's name", choices=("seeded_conv",))
    seed: int = setting(0, "of filters and fit images; the same on every node", low=0)
    filters: int = setting(64, "5x5 filters", low=4, high=512)
    threshold: float = setting(0.1, "of the half-rectified maps", low=0.0)
    fit_images: int = setting(2000, "seeded noise images that fix the projection", low=300)

    encodes: ClassVar[str] = "qsynth.encoder.encode:ConvEncoder"
    layouts: ClassVar[tuple[str, ...]] = ("image",)


@option("encoder")
@dataclass(frozen=True)
class SeededFourier(EncoderOptions):
    """Encode vectors and flattened series by random Fourier features drawn from a seed."""

    name: str = setting("seeded_fourier", "the option's name", choices=("seeded_fourier",))
    seed: int = setting(0, "of frequencies and fit inputs; the same on every node", low=0)
    frequencies: int = setting(512, "random cosine features", low=16, high=8192)
    bandwidth: float = setting(1.0, "of the Gaussian kernel, in root mean square units", low=1e-6)
    fit_inputs: int = setting(2000, "seeded inputs that fix the projection", low=300)

    encodes: ClassVar[str] = "qsynth.encoder.encode:FourierEncoder"
    layouts: ClassVar[tuple[str, ...]] = ("vector", "series", "image")


@option("encoder")
@dataclass(frozen=True)
class SeededConv1d(EncoderOptions):
    """Encode series by filters drawn from a seed, at several widths."""

    name: str = setting("seeded_conv1d", "the option's name", choices=("seeded_conv1d",))
    seed: int = setting(0, "of filters and fit series; the same on every node", low=0)
    filters: int = setting(96, "filters, a third each of width 5, 9 and 17", low=3, high=512)
    cells: int = setting(6, "pooled cells along a series", low=1, high=64)
    threshold: float = setting(0.1, "of the half-rectified maps", low=0.0)
    fit_inputs: int = setting(2000, "seeded noise series that fix the projection", low=300)

    encodes: ClassVar[str] = "qsynth.encoder.series:SeriesEncoder"
    layouts: ClassVar[tuple[str, ...]] = ("series",)


@option("encoder")
@dataclass(frozen=True)
class ModuleEncoder(EncoderOptions):
    """Encode by a frozen network of the user's own that every node has, pre-trained for example."""

    name: str = setting("module", "the option's name", choices=("module",))
    target: str = setting("", "package.Class, or a function that gives a torch module")
    arguments: dict[str, Any] = setting({}, "its keyword arguments")
    seed: int = setting(0, "of the inputs that fix the projection", low=0)
    fit_inputs: int = setting(2000, "seeded noise inputs that fix the projection", low=300)
    whiten: bool = setting(True, "project on whitened components; false: the network's own output")

    encodes: ClassVar[str] = "qsynth.encoder.module:OwnEncoder"


@option("encoder")
@dataclass(frozen=True)
class Identity(EncoderOptions):
    """Take the inputs themselves, in units of the task: for tables of up to 1,024 columns."""

    name: str = setting("identity", "the option's name", choices=("identity",))
    dimensions: int = setting(
        1024, "numbers of an input at most; more are refused", low=4, high=1024
    )
    clip: float = setting(8.0, "units beyond which a number counts no more", low=0.1)

    encodes: ClassVar[str] = "qsynth.encoder.identity:IdentityEncoder"
    layouts: ClassVar[tuple[str, ...]] = ("vector", "series", "image")
    whole: ClassVar[bool] = True
    invertible: ClassVar[bool] = True

    def features(self, size: int) -> int:
        """Return how many features there are: the numbers of an input."""
        return size


FEATURES = Identity()  # of data whose inputs are features already
