"""Parameters and work of the bundled networks, from their config alone: no torch is needed.

A test compares both with the networks themselves.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from qsynth.model.config import CNN, MLP, Linear, ResNet

KERNEL = 9  # weights of a 3x3 filter


def size(config: Any, shape: tuple[int, ...], outputs: int) -> tuple[int, int] | None:
    """Return parameters, and multiplications of one forward pass; None of a user's own module.

    shape: of one input.  outputs: of the last layer.
    """
    inputs = math.prod(shape)
    if isinstance(config, Linear):
        return inputs * outputs + outputs, inputs * outputs
    if isinstance(config, MLP):
        pairs = list(itertools.pairwise([inputs, *[config.width] * config.depth, outputs]))
        work = sum(before * after for before, after in pairs)
        return work + sum(after for _, after in pairs), work
    if len(shape) != 3:
        return None  # the others need images
    if isinstance(config, CNN):
        return _cnn(config, shape, outputs)
    if isinstance(config, ResNet):
        return _resnet(config, shape, outputs)
    return None


def _cnn(config: CNN, shape: tuple[int, ...], outputs: int) -> tuple[int, int]:
    before, parameters, work = shape[0], 0, 0
    sides = list(shape[1:])
    for stage in range(config.depth):
        width = config.width * 2**stage
        weights = KERNEL * before * width
        parameters += weights + width + 2 * width  # bias, and GroupNorm's two
        work += weights * math.prod(sides)
        if min(shape[1:]) >= 2 ** (stage + 1):
            sides = [side // 2 for side in sides]
        before = width
    return _pooled(before, outputs, parameters, work)


def _resnet(config: ResNet, shape: tuple[int, ...], outputs: int) -> tuple[int, int]:
    before, sides = config.width, list(shape[1:])
    stem = KERNEL * shape[0] * before
    parameters, work = stem + before, stem * math.prod(sides)
    for stage in range(config.depth):
        after = config.width * 2**stage
        sides = [-(-side // 2) for side in sides]
        weights = KERNEL * before * after + KERNEL * after * after + before * after
        parameters += weights + 2 * before + 2 * after
        work += weights * math.prod(sides)
        before = after
    return _pooled(before, outputs, parameters, work)


def _pooled(channels: int, outputs: int, parameters: int, work: int) -> tuple[int, int]:
    last = 2 * channels * outputs
    return parameters + last + outputs, work + last
