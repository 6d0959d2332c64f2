"""A folder to begin with: a recipe with the task of one's data, a network of one's own, a test.

What is written is the user's to change; each file says what it is for.
"""

from __future__ import annotations

import shlex
from string import Template

from qsynth.data.task import Declared
from qsynth.recipe.task_file import features_of, written

NETWORK = Template('''\
"""The network of each node: change it; it is trained as Lightning does."""

import pytorch_lightning as pl
import torch
from torch import nn


class Net(pl.LightningModule):
    """Two layers on the $features features of a row."""

    def __init__(self, features: int, outputs: int, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(features),
            nn.Linear(features, width),
            nn.ReLU(),
            nn.Linear(width, outputs),
        )

    def forward(self, x):
        """Return (n, outputs) $outputs."""
        return self.layers(x)

    def training_step(self, batch, index):
        """Return the loss of some own samples."""
        x, y = batch
        return nn.functional.$loss

    def configure_optimizers(self):
        """Return what steps are taken by."""
        return torch.optim.AdamW(self.parameters(), lr=0.01)
''')
TEST = Template('''\
"""Whether network and recipe fit the data: pytest, in this folder."""

import torch
from network import Net

import qsynth.cli.main as qsynth


def test_the_network_takes_rows_and_gives_${count}_outputs():
    assert Net($features, $count).eval()(torch.zeros(4, $features)).shape == (4, $count)


def test_the_recipe_is_well():
    assert qsynth.main(["recipe", "validate", "recipe.yaml", "--trust", "network.Net"]) == 0


def test_the_data_fit():
    words = ["task", "check", "recipe.yaml", $quoted, "--trust", "network.Net"]
    assert qsynth.main(words) == 0
''')
README = Template("""\
# $title

Made by `qsynth new`. In this folder:

    qsynth run +recipe=recipe.yaml data.path=$shell --trust network.Net

trains each site of the data and says whether the mesh helped. `--trust` lets the recipe name
`network.py`, which is code: whoever gets the recipe from you decides that for themselves.

- `recipe.yaml`: the task (columns, labels, units) and all that differs from the defaults;
  `qsynth config +recipe=recipe.yaml --trust network.Net` shows the whole, and
  `qsynth explain WORD` tells what a setting means.
- `network.py`: the network of each node. Sites may have others, as long as the task is the same.
- `test_recipe.py`: whether these fit the data.

Is it worth it, and new rows:

    qsynth compare +recipe=recipe.yaml data.path=$shell seeds=[0,1,2] --trust network.Net
    qsynth predict runs/NAME new.csv --node NODE --trust network.Net

Other sites: `qsynth task init` at each, `qsynth task merge`, and what that gives in the place of
the task here.
""")
LOSSES = {
    "classes": "cross_entropy(self(x), y)",
    "labels": "binary_cross_entropy_with_logits(self(x), y)",
    "values": "mse_loss(self(x), y)",
}
OUTPUTS = {"classes": "logits", "labels": "logits", "values": "values, in units of their spread"}


def starter(task: Declared, data: str) -> dict[str, str]:
    """Return the text of each file of a new folder, by its name.

    task: of a table.  data: its path, as seen from the folder.
    """
    features, count = features_of(task), len(task.labels)
    network = {"target": "network.Net", "arguments": {"features": features, "outputs": count}}
    recipe = written(
        task,
        "recipe.yaml",
        data,
        {"override /model@fleet.site.model": "module"},
        {"fleet": {"site": {"model": network}}},
    )
    words = {
        "features": str(features),
        "count": str(count),
        "quoted": repr(data),
        "shell": shlex.quote(data),
        "title": task.title,
        "outputs": OUTPUTS[task.kind],
        "loss": LOSSES[task.kind],
    }
    return {
        "recipe.yaml": recipe,
        "network.py": NETWORK.substitute(words),
        "test_recipe.py": TEST.substitute(words),
        "README.md": README.substitute(words),
        ".gitignore": "runs/\n__pycache__/\n",
    }
