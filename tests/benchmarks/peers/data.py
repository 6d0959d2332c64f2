"""One clinic's table: its own training rows and its own held-out rows, ready for torch."""

from pathlib import Path

import pandas as pd
import torch
from torch import nn

SITES = ["Aachen", "Bonn", "Celle", "Demmin"]
LABELS = ["benign", "malignant"]


def load(folder, site):
    """Return x, y to train on, x, y held out, and the means that stand for missing values."""
    folder = Path(folder)
    table = pd.read_csv(folder / f"{site}.csv")
    x = table.drop(columns=["patient", "diagnosis"]).astype("float32")
    y = torch.tensor([LABELS.index(label) for label in table.diagnosis])
    rows = set(pd.read_csv(folder.parent / "held.csv").row)  # the held-out rows: SITE:NUMBER
    held = torch.tensor([f"{site}:{number}" in rows for number in range(len(table))])
    means = x[~held.numpy()].mean()
    x = torch.tensor(x.fillna(means).to_numpy())
    return x[~held], y[~held], x[held], y[held], means


def network():
    """The first layer brings columns to common units; it is averaged like the others."""
    return nn.Sequential(nn.BatchNorm1d(30), nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))


def fit(net, x, y, epochs):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    net.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    net.eval()


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        return float((net(x).argmax(1) == y).float().mean())
