"""Data sets that Hugging Face's `datasets` has saved: pictures, numbers, splits, sites."""

from __future__ import annotations

import numpy as np
import pytest

from qsynth.data import load_data
from qsynth.data.huggingface import HuggingFace
from qsynth.data.task import Declared, FromData
from qsynth.errors import DataError

datasets = pytest.importorskip("datasets", reason="needs the extra `huggingface`")
image = pytest.importorskip("PIL.Image", reason="needs the extra `vision`")

ROWS = 60


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Pictures with named classes and a hospital, in two splits."""
    rng = np.random.default_rng(0)

    def split(count):
        pixels = rng.integers(0, 256, (count, 12, 10, 3), dtype=np.uint8)
        made = datasets.Dataset.from_dict(
            {
                "image": [image.fromarray(p) for p in pixels],
                "label": [i % 2 for i in range(count)],
                "hospital": [("north", "south")[i % 3 == 0] for i in range(count)],
                "vector": rng.normal(size=(count, 5)).tolist(),
                "ragged": [[0.0] * (1 + i % 2) for i in range(count)],
            }
        )
        return made.cast_column("label", datasets.ClassLabel(names=["cat", "dog"]))

    folder = tmp_path_factory.mktemp("saved") / "pets"
    datasets.DatasetDict({"train": split(ROWS), "test": split(20)}).save_to_disk(str(folder))
    split(ROWS).save_to_disk(str(folder.parent / "one"))
    return folder


def load(path, **more):
    return load_data(HuggingFace(path=str(path), **more), FromData())


def test_pictures_classes_sites_and_splits_are_read(saved) -> None:
    data = load(saved, side=8, site="hospital")
    assert data.task.name == "pets"
    assert data.task.labels == ("cat", "dog")
    assert data.task.shape == (3, 8, 8)
    assert (len(data.train_y), len(data.test_y)) == (ROWS, 20)
    assert 0.0 <= data.train_x.min() < data.train_x.max() <= 1.0
    assert set(data.train_node) == {0, 1}
    assert load(saved, side=8, site="hospital").digest() == data.digest()
    assert load(saved, side=8, grey=True).task.shape == (1, 8, 8)


def test_numbers_of_one_split_are_read(saved) -> None:
    data = load(saved.parent / "one", inputs="vector")
    assert data.task.shape == (5,)
    assert len(data.train_y) + len(data.test_y) == ROWS
    task = Declared(title="t", labels=("dog", "cat"), shape=(5,), low=-9.0, high=9.0)
    turned = load_data(HuggingFace(path=str(saved.parent / "one"), inputs="vector"), task)
    assert turned.task.labels == ("dog", "cat")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"path": ""}, "needs the folder that save_to_disk wrote"),
        ({"path": "nowhere"}, "no such folder"),
        ({"inputs": "imag"}, r"data\.inputs=imag: .*did you mean image\?"),
        ({"answers": "labels"}, r"data\.answers=labels: .*did you mean label\?"),
        ({"site": "clinic"}, r"data\.site=clinic: .* no such column"),
        ({"inputs": "ragged"}, "x must hold numbers"),
    ],
)
def test_a_mistake_is_told_in_one_line(more, said, saved) -> None:
    with pytest.raises(DataError, match=said) as error:
        load(**{"path": saved, **more})
    assert "\n" not in str(error.value)


def test_another_folder_is_told(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="is no data set that save_to_disk wrote"):
        load(tmp_path)


def test_classes_go_by_their_names(saved) -> None:
    plain = load(saved, side=8)
    task = Declared(title="t", labels=("dog", "cat"), layout="image", shape=(3, 8, 8))
    turned = load_data(HuggingFace(path=str(saved), side=8), task)
    assert (turned.train_y == 1 - plain.train_y).all()
    with pytest.raises(DataError, match="dog is none of the labels"):
        load(saved, side=8, labels=("cat", "cow"))


def test_a_folder_reads_nothing_outside_of_itself(tmp_path) -> None:
    rows = [{"image": {"bytes": None, "path": "/etc/hostname"}, "label": i % 2} for i in range(4)]
    made = datasets.Dataset.from_list(rows)
    made = made.cast_column("image", datasets.Image(decode=False))
    features = made.features.copy()
    features["image"] = datasets.Image()
    made.cast(features).save_to_disk(str(tmp_path / "a"))
    with pytest.raises(DataError, match=r"holds no picture|cannot be read as a picture"):
        load(tmp_path / "a")
    datasets.Dataset.from_dict({"x": [[0.0]] * 4, "label": [0, 1] * 2}).save_to_disk(
        str(tmp_path / "b")
    )
    state = tmp_path / "b" / "state.json"
    state.write_text(state.read_text().replace('"data-', '"../b/data-'))
    with pytest.raises(DataError, match="names files outside of its folder"):
        load(tmp_path / "b", inputs="x")
