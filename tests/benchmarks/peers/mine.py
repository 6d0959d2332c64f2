"""A LightningModule of one's own, to be named on the command line: model=module."""

import pytorch_lightning as pl
import torch
from torch import nn


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1], label_smoothing=0.05)

    def configure_optimizers(self):
        return torch.optim.RAdam(self.parameters(), lr=0.01)
