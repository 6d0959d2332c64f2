"""A module of a user's own whose loss is not a number once."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F


class Lost(pl.LightningModule):
    """Learns digits until its third batch: log(0), say."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, index):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        return loss * float("nan") if index == 3 else loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)
