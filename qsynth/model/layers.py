"""Layers that the bundled networks of images share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Pooled(nn.Module):
    """Average and maximum over space, then a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.last = nn.Linear(2 * channels, classes)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (n, classes) logits of (n, channels, height, width)."""
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
        logits: Tensor = self.last(pooled)
        return logits


class Block(nn.Module):
    """A residual block of two convolutions at half the resolution.

    Source: He 2016 (pre-activation), with GroupNorm (Wu & He 2018): batch statistics of a small
    node are noise.
    """

    def __init__(self, before: int, after: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, before), nn.GroupNorm(groups, after)
        self.conv1 = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(before, after, 1, stride=2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of half the height and width."""
        active = F.relu(self.norm1(maps))
        inner = self.conv2(F.relu(self.norm2(self.conv1(active))))
        result: Tensor = self.skip(active) + inner
        return result
