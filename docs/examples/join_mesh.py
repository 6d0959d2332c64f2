"""Two plain Lightning scripts join one mesh: run `python join_mesh.py FOLDER`.

Each process trains its own module on its own digits; the second joins through the first.
"""

from __future__ import annotations

import sys
from multiprocessing import get_context
from pathlib import Path

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import qsynth

TASK = qsynth.Task(
    name="digits",
    version=1,
    labels=tuple("0123456789"),
    layout="image",
    shape=(1, 8, 8),
    units="grey level",
    low=0.0,
    high=1.0,
)


class MyModule(pl.LightningModule):
    """A module of the user's own: nothing in it knows of a mesh."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10)
        )

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def node(number: int, folder: Path) -> None:
    torch.set_num_threads(1)  # two nodes on one machine share its cores
    images, digits = load_digits(return_X_y=True)
    x, y = images.reshape(-1, 1, 8, 8).astype("float32") / 16, digits
    mine = slice(number * 80, number * 80 + 60)
    held_back = slice(number * 80 + 60, number * 80 + 80)
    mesh = qsynth.JoinMesh(
        TASK,
        train=(x[mine], y[mine]),
        validation=(x[held_back], y[held_back]),
        listen=f"ipc://{folder}/{number}",
        join=[] if number == 0 else [f"ipc://{folder}/0"],
        seed=number,
    )
    samples = TensorDataset(torch.from_numpy(x[mine]), torch.from_numpy(y[mine]))
    pl.Trainer(
        max_steps=2000,
        callbacks=[mesh],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(MyModule(32 * (number + 1)), DataLoader(samples, batch_size=10, shuffle=True))
    mesh.save(folder / f"predictor-{number}.pt")

    predictor = qsynth.load_predictor(
        folder / f"predictor-{number}.pt", network=MyModule(32 * (number + 1))
    )
    with torch.no_grad():
        answers = predictor(torch.from_numpy(x[400:])).argmax(dim=1).numpy()
    print(f"authors of node {number} {len(mesh.host.node.authors())}")
    print(f"accuracy of node {number} {(answers == y[400:]).mean():.3f}", flush=True)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    context = get_context("spawn")
    processes = [context.Process(target=node, args=(number, target)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    raise SystemExit(max(process.exitcode or 0 for process in processes))
