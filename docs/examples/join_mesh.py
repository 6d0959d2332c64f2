"""Two plain Lightning scripts join one mesh: run `python join_mesh.py FOLDER [STEPS]`.

Each process trains its own module on its own digits; the second joins through the first.  A third
fit, without peers, tells what the mesh was worth.
"""

from __future__ import annotations

import socket
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


def fit(mesh: qsynth.JoinMesh, module: MyModule, loader: DataLoader, steps: int) -> None:
    pl.Trainer(
        max_steps=steps,
        callbacks=[mesh],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, loader)


def accuracy(predictor: torch.nn.Module, x, y) -> float:
    with torch.no_grad():
        return float((predictor(torch.from_numpy(x)).argmax(dim=1).numpy() == y).mean())


def node(number: int, folder: Path, steps: int, address: str, ready) -> None:
    torch.set_num_threads(1)  # two nodes on one machine share its cores
    ready.wait()  # a first node that has ended before the second begins has taught it nothing
    images, digits = load_digits(return_X_y=True)
    x, y = images.reshape(-1, 1, 8, 8).astype("float32") / 16, digits
    mine = slice(number * 80, number * 80 + 60)
    held_back = slice(number * 80 + 60, number * 80 + 80)
    mesh = qsynth.JoinMesh(
        TASK,
        train=(x[mine], y[mine]),
        validation=(x[held_back], y[held_back]),
        listen=address if number == 0 else "tcp://127.0.0.1:0",
        join=[] if number == 0 else [address],
        seed=number,
    )
    samples = TensorDataset(torch.from_numpy(x[mine]), torch.from_numpy(y[mine]))
    loader = DataLoader(samples, batch_size=10, shuffle=True)
    fit(mesh, MyModule(32 * (number + 1)), loader, steps)
    mesh.save(folder / f"predictor-{number}.pt")
    alone = mesh.alone()  # the same pipeline without peers
    fit(alone, MyModule(32 * (number + 1)), loader, steps)

    predictor = qsynth.load_predictor(
        folder / f"predictor-{number}.pt", network=MyModule(32 * (number + 1))
    )
    print(f"authors of node {number} {len(mesh.host.node.authors())}")
    print(f"accuracy of node {number} {accuracy(predictor, x[400:], y[400:]):.3f}")
    print(f"alone node {number} {accuracy(alone.predictor, x[400:], y[400:]):.3f}", flush=True)


def free_address() -> str:
    """Return an address of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 600
    context = get_context("spawn")
    first = free_address()
    ready = context.Barrier(2)
    settings = (target, steps, first, ready)
    processes = [context.Process(target=node, args=(n, *settings)) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    raise SystemExit(max(process.exitcode or 0 for process in processes))
