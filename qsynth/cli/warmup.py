"""`qsynth warmup`: compile the kernels beforehand."""

from __future__ import annotations

from qsynth.errors import ConfigError
from qsynth.kernels.warm import warm_up, warm_up_batch


def main(words: list[str]) -> int:
    """Compile; return 0."""
    if words:
        raise ConfigError(f"warmup {words[0]}: takes nothing")
    warm_up()
    warm_up_batch()
    print("kernels are compiled")
    return 0
