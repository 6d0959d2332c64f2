"""The user's own DataModule: one split, whatever its loader's order, or one line."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, RandomSampler, TensorDataset, random_split

from qsynth.data import load_data
from qsynth.data.module import DataModule
from qsynth.data.task import FromData
from qsynth.errors import ConfigError, DataError

SET = TensorDataset(
    torch.rand(120, 4, generator=torch.Generator().manual_seed(0)), torch.arange(120) % 3
)


class Plain(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(SET, batch_size=7)


class Shuffled(Plain):
    def train_dataloader(self):
        return DataLoader(SET, batch_size=7, shuffle=True)


class Reversed(Plain):
    def train_dataloader(self):
        return DataLoader(SET, batch_size=11, sampler=list(range(120))[::-1])


class Single(Plain):
    def train_dataloader(self):
        return [(x,) for x, _ in DataLoader(SET, batch_size=7)]


class Sited(Plain):
    """Rows with a site, as triples."""

    def train_dataloader(self):
        sites = [("north", "south")[row % 2] for row in range(120)]
        loader = DataLoader(list(zip(*SET.tensors, sites, strict=True)), batch_size=7, shuffle=True)
        return [(x, y, np.array(whose)) for x, y, whose in loader]


class Named(Sited):
    """The same as dictionaries."""

    def train_dataloader(self):
        return [{"image": x, "label": y, "hospital": s} for x, y, s in super().train_dataloader()]


class Sometimes(Sited):
    def train_dataloader(self):
        first, *rest = super().train_dataloader()
        return [first[:2], *rest]


class Dropped(Shuffled):
    def train_dataloader(self):
        return DataLoader(SET, batch_size=7, shuffle=True, drop_last=True)


class Drawn(Plain):
    def train_dataloader(self):
        return DataLoader(SET, batch_size=7, sampler=RandomSampler(SET, True, 60))


class Augmented(Plain):
    def train_dataloader(self):
        return [(x + torch.randn_like(x), y) for x, y in DataLoader(SET, batch_size=7)]


class Split(Plain):
    generator: torch.Generator | None = None

    def setup(self, stage):
        self.parts = random_split(SET, [90, 30], generator=self.seeded())

    def seeded(self):
        return torch.default_generator

    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_size=7, shuffle=True)

    def test_dataloader(self):
        return DataLoader(self.parts[1], batch_size=7)


class SeededSplit(Split):
    def seeded(self):
        return torch.Generator().manual_seed(1)


class SameTest(Shuffled):
    def test_dataloader(self):
        return self.train_dataloader()


class Dicts(Plain):
    def train_dataloader(self):
        return [{"x": SET.tensors[0], "y": SET.tensors[1]}]


class Empty(Plain):
    def train_dataloader(self):
        return []


class Nothing(Plain):
    def train_dataloader(self):
        return None


class Ragged(Plain):
    def train_dataloader(self):
        return [(torch.zeros(2, 4), torch.zeros(2)), (torch.zeros(2, 5), torch.zeros(2))]


class Leaves(Plain):
    def setup(self, stage):
        raise SystemExit(3)


class Missing(Plain):
    def setup(self, stage):
        raise FileNotFoundError("there is no such file")


class Endless(Plain):
    def train_dataloader(self):
        while True:
            yield SET.tensors[0], SET.tensors[1]


@pytest.fixture(autouse=True)
def _here(monkeypatch) -> None:
    module = types.ModuleType("modules_of_a_user")
    for name, value in globals().items():
        if isinstance(value, type):
            setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "modules_of_a_user", module)


def load(kind: type, **more):
    config = DataModule(target=f"modules_of_a_user.{kind.__name__}", **more)
    return load_data(config, FromData())


def test_a_split_does_not_follow_the_order_of_a_loader() -> None:
    plain = load(Plain)
    for kind in (Plain, Shuffled, Shuffled, Reversed):
        assert load(kind).digest() == replaced(plain, kind)
    train = {row.tobytes() for row in plain.train_x}
    assert not any(row.tobytes() in train for row in plain.test_x)


def replaced(data, kind) -> bytes:
    """The digest of the same samples, whose task is named after the class."""
    from dataclasses import replace

    return replace(
        data, task=replace(data.task, name=f"modules_of_a_user.{kind.__name__}".rpartition(".")[0])
    ).digest()


def test_a_split_of_the_modules_own_stands() -> None:
    one, other = load(SeededSplit), load(SeededSplit)
    assert one.digest() == other.digest()
    assert len(one.train_y) == 90
    assert len(one.test_y) == 30


def test_batches_may_have_names_and_sites() -> None:
    assert load(Dicts).digest() == replaced(load(Plain), Dicts)
    triples = load(Sited)
    assert set(triples.train_node) == {0, 1}
    named = load(Named, inputs="image", answers="label", site="hospital")
    assert named.digest() == replaced(triples, Named)
    for row in range(120):
        x = SET.tensors[0][row].numpy()
        found = np.flatnonzero((triples.train_x == x).all(axis=1))
        if len(found):
            assert triples.train_node[found[0]] == row % 2
    assert load(Named, inputs="image", answers="label").train_node is None


@pytest.mark.parametrize("kind", [Dropped, Drawn, Augmented, Split])
def test_samples_that_differ_each_time_are_refused(kind) -> None:
    with pytest.raises(DataError, match="gives other samples when it is made again"):
        load(kind)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (SameTest, "100 % of the test inputs are training inputs"),
        (Named, r"batches have no entry x; data\.inputs=NAME says which it is"),
        (Single, r"batches must be \(x, y\), \(x, y, site\) or mappings, got list|got tuple"),
        (Sometimes, "some batches of train_dataloader say whose they are"),
        (Empty, "gives no batch"),
        (Nothing, "NoneType"),
        (Ragged, "batches of train_dataloader differ"),
        (Endless, "no end"),
    ],
)
def test_a_loader_that_gives_something_else_is_one_line(kind, said) -> None:
    with pytest.raises((DataError, ConfigError), match=said) as caught:
        load(kind)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "said"), [(Missing, "no such file"), (Leaves, "SystemExit: 3")])
def test_what_a_users_code_raises_is_told_with_its_line(kind, said) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load(kind)
    assert "test_module.py:" in str(caught.value)


def test_sites_may_have_names(tmp_path, rng) -> None:
    from qsynth.data.arrays import Arrays

    x, y = rng.random((40, 3)), np.arange(40) % 2
    names = np.array(["north", "south", "east"])[np.arange(40) % 3]
    np.savez(tmp_path / "named.npz", x=x, y=y, node=names)
    data = load_data(Arrays(path=str(tmp_path / "named.npz")), FromData())
    assert set(data.train_node) == {0, 1, 2}
    assert len(data.train_y) == len(data.train_node)
    for wrong in (np.full(40, np.nan), names[:, None].repeat(2, 1), x[:, 0]):
        np.savez(tmp_path / "wrong.npz", x=x, y=y, node=wrong)
        with pytest.raises(DataError, match="node"):
            load_data(Arrays(path=str(tmp_path / "wrong.npz")), FromData())
