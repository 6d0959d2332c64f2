"""What the options of the group `encoder` have in common."""

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
