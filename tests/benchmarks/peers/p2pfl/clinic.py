"""What a clinic has: its rows as p2pfl takes them, and a Lightning module of its own."""

import lightning as L
import torch
from data import accuracy, load, network
from datasets import Dataset, DatasetDict
from p2pfl.learning.dataset.p2pfl_dataset import P2PFLDataset
from p2pfl.learning.frameworks.pytorch.lightning_model import LightningModel


class Module(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        return torch.nn.functional.cross_entropy(self(batch["x"]), batch["y"])

    def test_step(self, batch, batch_idx):
        self.log("accuracy", (self(batch["x"]).argmax(1) == batch["y"]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def model():
    torch.manual_seed(0)
    return LightningModel(Module())


def dataset(folder, site):
    x, y, held_x, held_y, _ = load(folder, site)
    rows = DatasetDict(
        train=Dataset.from_dict({"x": x.tolist(), "y": y.tolist()}),
        test=Dataset.from_dict({"x": held_x.tolist(), "y": held_y.tolist()}),
    )
    return P2PFLDataset(rows, batch_size=16)


def save(node, folder, site):
    module = node.learner.get_model().get_model()
    _, _, x, y, _ = load(folder, site)
    print(f"{site} {accuracy(module, x, y):.3f}", flush=True)
    torch.save(module.net.state_dict(), f"{site}.pt")
