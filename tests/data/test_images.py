"""Folders of pictures: sites and classes by the folders' names, and what is wrong said by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qsynth.data import load_data
from qsynth.data.images import Images
from qsynth.data.task import Declared
from qsynth.errors import DataError

Image = pytest.importorskip("PIL.Image", reason="needs the extra `vision`")


def write(path, seed: int = 0, size=(20, 14), mode: str = "RGB", **more) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels, mode).save(path, **more)


def folder(root, sites=("north", "south"), classes=("cat", "dog"), count: int = 8):
    for number, site in enumerate(sites):
        for label in classes:
            for index in range(count):
                write(root / site / label / f"{index}.png", 100 * number + index)
    return str(root)


def test_sites_and_classes_are_those_of_the_folders(tmp_path) -> None:
    data = Images(path=folder(tmp_path), side=8).load()
    assert data.task.labels == ("cat", "dog")
    assert data.task.shape == (3, 8, 8)
    assert data.train_x.dtype == np.float32
    assert 0.0 <= data.train_x.min() < data.train_x.max() <= 1.0
    assert sorted(np.unique(data.train_node)) == [0, 1]
    assert len(data.train_x) + len(data.test_x) == 32
    for node in (0, 1):
        for label in (0, 1):
            assert ((data.test_node == node) & (data.test_y == label)).sum() == 2
    assert np.array_equal(Images(path=str(tmp_path), side=8).load().train_x, data.train_x)


def test_a_declared_task_says_the_order_of_classes(tmp_path) -> None:
    path = folder(tmp_path / "both", sites=("x",))
    task = Declared(
        title="pets", labels=("dog", "fox", "cat"), layout="image", shape=(3, 8, 8), high=1.0
    )
    made = load_data(Images(path=path, side=8), task)
    own = Images(path=path, side=8).load()
    assert own.task.labels == ("cat", "dog")
    for label, index in (("cat", 2), ("dog", 0)):  # nobody here has a fox
        mine = np.concatenate(
            [
                x[y == own.task.labels.index(label)]
                for x, y in ((own.train_x, own.train_y), (own.test_x, own.test_y))
            ]
        )
        got = made.train_x[made.train_y == index]
        assert len(got)
        assert {row.tobytes() for row in got} <= {row.tobytes() for row in mine}
    with pytest.raises(DataError, match="folder cat is none of the labels"):
        load_data(Images(path=path, side=8), replace(task, labels=("dog", "fox")))


def test_a_picture_is_resized_upright_and_as_its_pixels_say(tmp_path) -> None:
    flat = np.full((10, 10, 3), (255, 0, 51), np.uint8)
    for label in "ab":
        for index in range(4):
            (tmp_path / label).mkdir(exist_ok=True)
            Image.fromarray(flat).save(tmp_path / label / f"{index}.png")
    data = Images(path=str(tmp_path), side=6).load()
    np.testing.assert_allclose(data.train_x[0, :, 3, 3], [1.0, 0.0, 0.2], atol=1e-6)
    assert data.train_node is None
    grey = Images(path=str(tmp_path), side=6, grey=True).load()
    assert grey.task.shape == (1, 6, 6)
    half = np.zeros((8, 8, 3), np.uint8)
    half[:4] = 255  # bright above
    turned = Image.Exif()
    turned[0x0112] = 3  # lies on its head
    Image.fromarray(half).save(tmp_path / "a" / "0.jpg", exif=turned, quality=95)
    made = Images(path=str(tmp_path), side=8).load()
    both = np.concatenate([made.train_x, made.test_x])
    shown = both[np.argmin(np.abs(both[:, 2].mean(axis=(1, 2)) - 0.5))]
    assert shown[:, 0].mean() < 0.1 < 0.9 < shown[:, -1].mean()


def test_a_sites_pictures_can_be_dealt_to_several_nodes(tmp_path) -> None:
    data = Images(path=folder(tmp_path / "two", count=9), side=8, sites_each=3).load()
    assert sorted(np.unique(data.train_node)) == [0, 1, 2, 3, 4, 5]
    whole = np.concatenate([data.train_node, data.test_node])
    assert np.array_equal(np.bincount(whole), [6] * 6)
    one = Images(path=folder(tmp_path / "solo", sites=("x",)), side=8)
    assert one.load().train_node is not None


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_other_modes_and_formats_become_colour(mode, tmp_path) -> None:
    for label in "ab":
        for index in range(4):
            write(tmp_path / label / f"{index}.png", index, mode=mode)
            write(tmp_path / label / f"{index}.bmp", index)
    write(tmp_path / "a" / "p.gif", 3)
    assert Images(path=str(tmp_path), side=8).load().task.shape == (3, 8, 8)


def test_sixteen_bits_are_taken_by_their_range_and_others_refused(tmp_path) -> None:
    ramp = np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)
    for label in "ab":
        (tmp_path / label).mkdir()
        for index in range(4):
            Image.fromarray(ramp).save(tmp_path / label / f"{index}.png")
    assert abs(Images(path=str(tmp_path), side=10, grey=True).load().train_x.mean() - 0.5) < 0.01
    assert abs(Images(path=str(tmp_path), side=10).load().train_x.mean() - 0.5) < 0.01
    Image.fromarray(np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)).save(
        tmp_path / "a" / "float.tiff"
    )
    with pytest.raises(DataError, match=r"float\.tiff: .*8 or 16 bits"):
        Images(path=str(tmp_path), side=10).load()


def test_palettes_with_transparency_are_taken(tmp_path) -> None:
    pixels = np.zeros((12, 12), np.uint8)
    palette = Image.fromarray(pixels, "P")
    palette.putpalette([200, 100, 50] * 256)
    for label in "ab":
        (tmp_path / label).mkdir()
        for index in range(4):
            palette.save(tmp_path / label / f"{index}.png", transparency=bytes([255] * 256))
    shown = Images(path=str(tmp_path), side=6).load().train_x[0, :, 0, 0]
    np.testing.assert_allclose(shown * 255.0, [200, 100, 50], atol=1.0)


def test_more_pictures_than_memory_are_refused_before_they_are_read(tmp_path, monkeypatch) -> None:
    path = folder(tmp_path)
    monkeypatch.setattr("qsynth.data.memory._memory", lambda: 1000)
    with pytest.raises(DataError, match="of memory are free"):
        Images(path=path, side=8).load()


def test_what_is_no_picture_is_left_alone(tmp_path) -> None:
    path = folder(tmp_path)
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / "north" / "cat" / ".hidden.png").write_bytes(b"")
    (tmp_path / "north" / "cat" / "Thumbs.db").write_bytes(b"")
    assert len(Images(path=path, side=8).load().train_x) == 24


def test_what_cannot_be_read_is_refused_by_its_name(tmp_path) -> None:
    path = folder(tmp_path)
    (tmp_path / "south" / "dog" / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.png: cannot be read as a picture"):
        Images(path=path, side=8).load()
    whole = (tmp_path / "south" / "dog" / "1.png").read_bytes()
    (tmp_path / "south" / "dog" / "bad.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"bad\.png: cannot be read as a picture"):
        Images(path=path, side=8).load()


def test_a_picture_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch) -> None:
    path = folder(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="cannot be read as a picture"):
        Images(path=path, side=8).load()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": ""}, "needs a folder"),
        ({"path": "none"}, "no such folder"),
        ({"labels": ("cat", "cow")}, "folder dog is none of the labels"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, said, tmp_path) -> None:
    given = {"path": folder(tmp_path)} | change
    with pytest.raises(DataError, match=said):
        Images(side=8, **given).load()


def test_folders_of_another_depth_are_refused(tmp_path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no picture in it"):
        Images(path=str(empty)).load()
    path = folder(tmp_path / "mixed")
    write(tmp_path / "mixed" / "cat" / "1.png")
    with pytest.raises(DataError, match="stands elsewhere than the others"):
        Images(path=path, side=8).load()
    write(tmp_path / "flat" / "1.png")
    with pytest.raises(DataError, match="stands elsewhere"):
        Images(path=str(tmp_path / "flat"), side=8).load()
    with pytest.raises(DataError, match="1 classes"):
        Images(path=folder(tmp_path / "one", classes=("cat",)), side=8).load()
