"""What was rejected or replaced, beside what was chosen: steps, encoding, solves; one thread each.

    python tests/benchmarks/alternatives.py

Prints microseconds of a training step of a small MLP: bare, in our loop, through Fabric, by a
stock Trainer; of encoding an image in one pass and as a forward pass does, at three sizes; of
solving a system of 192 unknowns by itself and in one call of 64; of checking a contact's signature
and voucher, with the bytes of a contact without and with them.  Least of several turns.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric import Fabric
from overhead import BATCH, network, train
from scipy.linalg.lapack import dpotrf, dpotrs
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from qsynth.dht import Contact
from qsynth.dht.contact import prove
from qsynth.encoder import make_encoder
from qsynth.encoder.base import BATCH as ENCODED
from qsynth.encoder.config import SeededConv
from qsynth.identity import Identity
from qsynth.identity.authority import Authority
from qsynth.identity.vouchers import Vouchers
from qsynth.model import make_network
from qsynth.model.mlp import MLP
from qsynth.similarity import fingerprint_size
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.training.fit import ALONE, quietly, single_threaded
from qsynth.training.loader import ResumableLoader
from qsynth.training.loop import Loop
from qsynth.types import Task

STEPS, TURNS, IMAGES, SYSTEMS, UNKNOWNS, CONTACTS = 1000, 5, 512, 64, 192, 300
SHAPES = ((1, 8, 8), (1, 14, 14), (3, 32, 32))


def task(shape: tuple[int, ...]) -> Task:
    return Task("bench", 1, tuple("0123456789"), "image", shape, "", 0.0, 1.0)


def fabric(x: torch.Tensor, y: torch.Tensor) -> None:
    """Do the steps of the bare loop through Fabric's wrappers."""
    made = Fabric(accelerator="cpu", devices=1)
    net: Any = network()
    plain = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.0)
    net, optimizer = made.setup(net, plain)
    for _ in range(STEPS):
        rows = torch.randperm(len(x))[:BATCH]
        optimizer.zero_grad()
        made.backward(F.cross_entropy(net(x[rows]), y[rows]))
        optimizer.step()


def steps() -> dict[str, Callable[[], Any]]:
    """Return what does so many steps, by its name."""
    x, y = torch.rand(100, 1, 8, 8), torch.arange(100) % 10

    def own(way: Any) -> None:
        loader = ResumableLoader(TensorDataset(x, y), BATCH, 0)
        way.fit(make_network(MLP(width=64), task((1, 8, 8))), loader)

    def trainer() -> None:
        settings = {"max_steps": STEPS, "accelerator": "cpu", "logger": False}
        quietly(lambda: own(pl.Trainer(**(ALONE | settings))))

    return {
        "step: bare": lambda: train(network(), x, y, STEPS, torch.Generator()),
        "step: loop": lambda: own(Loop(STEPS, None, [])),
        "step: Fabric": lambda: fabric(x, y),
        "step: Trainer": trainer,
    }


def encodings() -> dict[str, Callable[[], Any]]:
    """Return what encodes so many images, by its name."""
    found: dict[str, Callable[[], Any]] = {}
    for shape in SHAPES:
        encoder, images = make_encoder(SeededConv(), task(shape)), torch.rand(IMAGES, *shape)

        def forward(encoder: Any = encoder, images: torch.Tensor = images) -> None:
            with torch.no_grad():
                torch.cat([encoder(part) for part in images.split(ENCODED)])

        side = "x".join(map(str, shape))
        found[f"image {side}: forward"] = forward
        found[f"image {side}: encode"] = lambda e=encoder, i=images: e.encode(i)
    return found


def solves() -> dict[str, Callable[[], Any]]:
    """Return what solves so many systems, by its name."""
    rng = np.random.default_rng(0)
    roots = rng.standard_normal((SYSTEMS, UNKNOWNS, 2 * UNKNOWNS))
    matrices = roots @ roots.transpose(0, 2, 1) + np.eye(UNKNOWNS)
    right = rng.standard_normal((SYSTEMS, UNKNOWNS, 10))
    stacked, wanted = torch.from_numpy(matrices), torch.from_numpy(right)
    return {
        "system: by itself": lambda: [
            dpotrs(dpotrf(a, clean=0)[0], b)[0] for a, b in zip(matrices, right, strict=True)
        ],
        "system: in one call": lambda: torch.cholesky_solve(wanted, torch.linalg.cholesky(stacked)),
    }


def contacts(folder: Path) -> dict[str, Callable[[], Any]]:
    """Return what checks so many contacts; print their bytes.  folder: for an authority."""
    identity, authority = Identity.random(), Authority.init(folder / "authority")
    authority.issue(identity.id, ["host"], 1.0, folder / "node")
    vouchers, scope, now_s = Vouchers.read(folder / "node"), bytes(16), time.time()
    fingerprint = bytes(fingerprint_size(ClassSketch(), 10))
    bare = Contact(identity.id, "tls+tcp://site7.example.org:7700", fingerprint, int(now_s))
    proved = prove(bare, identity, vouchers.own, scope, now_s)
    for name, contact in (("bare", bare), ("proved", proved)):
        print(f"contact, {name:15} {len(msgspec.msgpack.encode(contact)):8} bytes")
    return {
        "contact: voucher": lambda: [
            vouchers._signed(identity.id, vouchers.own) for _ in range(CONTACTS)
        ],
        "contact: signature": lambda: [
            proved.proved(vouchers, scope, now_s) for _ in range(CONTACTS)
        ],
    }


def main() -> int:
    """Print what each takes."""
    single_threaded()
    with tempfile.TemporaryDirectory() as folder:
        checks = contacts(Path(folder))
    for each, count in (
        (steps(), STEPS),
        (encodings(), IMAGES),
        (solves(), SYSTEMS),
        (checks, CONTACTS),
    ):
        least = dict.fromkeys(each, float("inf"))
        for _ in range(TURNS):
            for name, work in each.items():
                began = time.process_time()
                work()
                least[name] = min(least[name], time.process_time() - began)
        for name, took in least.items():
            print(f"{name:24} {1e6 * took / count:8.1f} us")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
