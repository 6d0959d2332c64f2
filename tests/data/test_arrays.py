"""Units of a table's columns, which its task takes from the file."""

from __future__ import annotations

import numpy as np

from qsynth.data import load_data
from qsynth.data.arrays import Arrays
from qsynth.data.task import FromData
from qsynth.encoder import make_encoder
from qsynth.encoder.config import Identity


def test_each_column_may_have_units_of_its_own(tmp_path, rng) -> None:
    x = (rng.standard_normal((80, 3)) * [1.0, 1000.0, 0.0] + [5.0, -20.0, 3.0]).astype(np.float32)
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(80) % 2)
    one = load_data(Arrays(path=str(tmp_path / "t.npz")), FromData()).task
    assert len(one.location) == len(one.scale) == 1
    data = load_data(Arrays(path=str(tmp_path / "t.npz"), units="columns"), FromData())
    assert len(data.task.location) == len(data.task.scale) == 3
    assert data.task.scale[2] == 1.0  # a column that says nothing
    encoded = make_encoder(Identity(), data.task).encode(data.train_x)
    np.testing.assert_allclose(encoded[:, :2].std(axis=0), 1.0, atol=0.2)
