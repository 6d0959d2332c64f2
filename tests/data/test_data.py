from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from qsynth.data import files, load_data
from qsynth.data.arrays import Arrays
from qsynth.data.cifar10 import Cifar10, rows_of_pickle
from qsynth.data.digits import Digits
from qsynth.data.fmnist import Fmnist, read_idx
from qsynth.data.inert_pickle import read_pickle
from qsynth.data.module import DataModule
from qsynth.data.task import Declared, FromData
from qsynth.errors import ConfigError, DataError


def test_digits_ship_with_a_dependency() -> None:
    data = load_data(Digits(), FromData())
    assert data.train_x.shape[1:] == (1, 8, 8)
    assert len(data.train_y) + len(data.test_y) == 1797
    assert 0 <= data.train_x.min() <= data.train_x.max() <= 1
    assert data.digest() == load_data(Digits(), FromData()).digest()
    assert len(np.unique(data.test_y)) == 10


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_fmnist(folder, zipped: bool) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for part, n in (("train", 40), ("t10k", 20)):
        for name, array in (
            ("images-idx3-ubyte", rng.integers(0, 256, (n, 28, 28))),
            ("labels-idx1-ubyte", np.arange(n) % 10),
        ):
            data = idx(array)
            path = folder / f"{part}-{name}{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(data) if zipped else data)


@pytest.mark.parametrize("zipped", [True, False])
def test_fmnist_is_read_from_idx_files(tmp_path, zipped) -> None:
    write_fmnist(tmp_path / "fashion-mnist", zipped)
    data = load_data(Fmnist(root=str(tmp_path), side=14), FromData())
    assert data.train_x.shape == (40, 1, 14, 14)
    assert data.test_y.tolist() == [i % 10 for i in range(20)]
    with pytest.raises(ConfigError, match="must divide 28"):
        load_data(Fmnist(root=str(tmp_path), side=13), FromData())


@pytest.mark.parametrize("damage", [b"", b"\0\0\x08", b"junk" * 10])
def test_a_damaged_idx_file_is_one_clear_error(tmp_path, damage) -> None:
    path = tmp_path / "x"
    path.write_bytes(damage)
    with pytest.raises(DataError, match="not an IDX file"):
        read_idx(path, 3)


def binary_rows(n: int) -> bytes:
    rng = np.random.default_rng(n)
    table = rng.integers(0, 256, (n, 3073)).astype(np.uint8)
    table[:, 0] = np.arange(n) % 10
    return table.tobytes()


def python_batch(n: int) -> bytes:
    table = np.frombuffer(binary_rows(n), np.uint8).reshape(n, 3073)
    batch = {b"data": table[:, 1:].copy(), b"labels": table[:, 0].tolist(), b"batch_label": b"x"}
    return pickle.dumps(batch, protocol=2)


def test_cifar_in_the_binary_layout_and_the_python_archive_agree(tmp_path) -> None:
    plain = tmp_path / "a" / "cifar-10-batches-bin"
    plain.mkdir(parents=True)
    (plain / "data_batch_1.bin").write_bytes(binary_rows(12))
    (plain / "test_batch.bin").write_bytes(binary_rows(7))
    (tmp_path / "b").mkdir()
    with tarfile.open(tmp_path / "b" / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name, data in (("data_batch_1", python_batch(12)), ("test_batch", python_batch(7))):
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    binary = load_data(Cifar10(root=str(tmp_path / "a"), side=16), FromData())
    python = load_data(Cifar10(root=str(tmp_path / "b"), side=16), FromData())
    assert binary.train_x.shape == (12, 3, 16, 16)
    assert binary.digest() == python.digest()


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch /tmp/qsynth-was-executed",))


def test_a_pickle_is_read_without_being_executed(tmp_path) -> None:
    marker = tmp_path / "executed"

    class Here:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    for protocol in (0, 1, 2, 3, 4):
        data = pickle.dumps({b"data": Here(), b"labels": [1]}, protocol=protocol)
        with pytest.raises(DataError):
            rows_of_pickle(data, "x")
    assert not marker.exists()
    assert not os.path.exists("/tmp/qsynth-was-executed")


@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"garbage", b"\x80\x02u.", b"\x80\x02h\x00."])
def test_a_damaged_pickle_is_one_clear_error(data) -> None:
    with pytest.raises(DataError):
        read_pickle(data)


def test_real_files_are_read(data_dir) -> None:
    data = load_data(Cifar10(root=str(data_dir)), FromData())
    assert data.test_x.shape == (10_000, 3, 32, 32)
    assert load_data(Fmnist(root=str(data_dir)), FromData()).train_x.shape == (60_000, 1, 28, 28)


@pytest.mark.parametrize("config", [Cifar10, Fmnist])
def test_missing_files_say_where_and_what_to_do(tmp_path, monkeypatch, config) -> None:
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(files.urllib.request, "urlopen", refuse)
    with pytest.raises(DataError) as caught:
        load_data(config(root=str(tmp_path)), FromData())
    line = str(caught.value)
    assert "\n" not in line
    for part in (str(tmp_path), "data.root=", "QSYNTH_DATA_DIR", "digits_mesh"):
        assert part in line


class Answer(io.BytesIO):
    headers: dict = {}


def test_a_download_with_a_wrong_checksum_is_not_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files.urllib.request, "urlopen", lambda *a, **k: Answer(b"forged"))
    remote = files.Remote("http://example.invalid/file.bin", "sha256", "00")
    with pytest.raises(DataError, match="sha256"):
        files.download(remote, tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_download_with_the_right_checksum_is_kept(tmp_path, monkeypatch) -> None:
    import hashlib

    monkeypatch.setattr(files.urllib.request, "urlopen", lambda *a, **k: Answer(b"right"))
    digest = hashlib.sha256(b"right").hexdigest()
    files.download(files.Remote("http://example.invalid/f", "sha256", digest), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"right"


def save(tmp_path, **arrays) -> Arrays:
    np.savez(tmp_path / "own.npz", **arrays)
    return Arrays(path=str(tmp_path / "own.npz"))


@pytest.mark.parametrize(
    ("shape", "layout"), [((6,), "vector"), ((2, 9), "series"), ((1, 8, 8), "image")]
)
def test_own_arrays_of_every_layout(tmp_path, rng, shape, layout) -> None:
    x, y = rng.random((40, *shape)), np.arange(40) % 3
    data = load_data(save(tmp_path, x=x, y=y, node=np.arange(40) % 2), FromData())
    assert data.task.layout == layout
    assert data.task.labels == ("0", "1", "2")
    assert len(data.train_y) == len(data.train_node) == 40 - len(data.test_y)
    assert set(data.test_node) == {0, 1}


def test_tokens_are_whole_numbers_of_a_vocabulary(tmp_path, rng) -> None:
    x, y = rng.integers(0, 50, (40, 7)), np.arange(40) % 3
    own = replace(save(tmp_path, x=x, y=y), tokens=True, low=0.0, high=49.0)
    assert load_data(own, FromData()).task.layout == "tokens"
    for wrong in (x + 0.5, rng.random((40, 1, 7))):
        own = replace(save(tmp_path, x=wrong, y=y), tokens=True)
        with pytest.raises(DataError, match="of whole numbers"):
            load_data(own, FromData())


BAD = [
    (dict(x=np.zeros((4, 3))), "needs arrays x and y"),
    (dict(x=np.ones((4, 3)), y=np.zeros((4, 2))), r"y.argmax\(1\)"),
    (dict(x=np.zeros((4, 3)), y=np.array([0.5, 1, 2, 3])), "holds 0.5 in row 0"),
    (dict(x=np.zeros((4, 3)), y=np.array([-1, 1, 2, 3])), "holds -1 in row 0"),
    (dict(x=np.zeros((4, 3)), y=np.zeros(4, int)), "at least two classes"),
    (dict(x=np.array([[np.nan], [1.0]]), y=np.array([0, 1])), "not finite: 1, the first in row 0"),
    (dict(x=np.zeros((4,)), y=np.arange(4)), "2, 3 or 4 axes"),
    (dict(x=np.arange(9.0).reshape(3, 3), y=np.array([0, 1])), "x has 3, y has 2 samples"),
]


@pytest.mark.parametrize(("arrays", "message"), BAD)
def test_arrays_that_do_not_fit_are_one_clear_error(tmp_path, arrays, message) -> None:
    with pytest.raises(DataError, match=message):
        load_data(save(tmp_path, **arrays), FromData())


def test_a_missing_or_damaged_npz_is_one_clear_error(tmp_path) -> None:
    with pytest.raises(DataError, match="no such"):
        load_data(Arrays(path=str(tmp_path / "none.npz")), FromData())
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04junk")
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("bad.npz", "one.npy"):
        with pytest.raises(DataError, match=r"np\.savez"):
            load_data(Arrays(path=str(tmp_path / name)), FromData())
    with pytest.raises(DataError, match="is a folder"):
        load_data(Arrays(path=str(tmp_path)), FromData())


def test_a_declared_task_must_fit_the_data(tmp_path, rng) -> None:
    config = save(tmp_path, x=rng.random((20, 3)), y=np.arange(20) % 2)
    task = Declared(title="t", labels=("no", "yes"), layout="vector", shape=(3,), scale=(1, 2, 3))
    made = load_data(config, task).task
    assert made.labels == ("no", "yes")
    assert made.digest() != load_data(config, FromData()).task.digest()
    from dataclasses import replace

    for wrong, message in (
        (dict(shape=(4,), scale=()), r"task.shape=\[4\]: x must be \(n, 4\)"),
        (dict(labels=("one",)), "class index below 1"),
        (dict(labels=("one", "one")), "names must differ"),
        (dict(layout="image"), "task.shape"),
        (dict(low=1.0), "task.high"),
        (dict(scale=(1.0, 2.0)), "task.scale"),
        (dict(scale=(0.0,)), "task.scale"),
    ):
        with pytest.raises((ConfigError, DataError), match=message):
            load_data(config, replace(task, **wrong))


def test_some_labels_against_the_rest() -> None:
    whole = load_data(Digits(), FromData())
    data = load_data(Digits(positives=("3", "7")), FromData())
    assert data.task.labels == ("rest", "3+7")
    assert data.task.digest() != whole.task.digest()
    assert np.array_equal(data.train_y, np.isin(whole.train_y, [3, 7]).astype(np.int64))
    assert np.array_equal(data.test_y, np.isin(whole.test_y, [3, 7]).astype(np.int64))


@pytest.mark.parametrize(
    ("positives", "said"),
    [(("tree",), "no label tree"), (tuple(map(str, range(10))), "no label is left")],
)
def test_positives_that_cannot_be_are_one_clear_error(positives, said) -> None:
    with pytest.raises(ConfigError, match=said):
        load_data(Digits(positives=positives), FromData())


def test_own_data_modules_are_loaded() -> None:
    target = "qsynth_test_modules.Points"
    import sys
    import types

    import pytorch_lightning as pl
    import torch

    class Points(pl.LightningDataModule):
        def __init__(self, n: int = 30) -> None:
            super().__init__()
            drawn = torch.Generator().manual_seed(0)
            x, y = torch.rand(n, 4, generator=drawn), torch.arange(n) % 3
            self.set = torch.utils.data.TensorDataset(x, y)

        def train_dataloader(self):
            return torch.utils.data.DataLoader(self.set, batch_size=7)

    module = types.ModuleType("qsynth_test_modules")
    module.Points = Points
    sys.modules["qsynth_test_modules"] = module
    data = load_data(DataModule(target=target, arguments={"n": 24}), FromData())
    assert len(data.train_y) + len(data.test_y) == 24
    for wrong in ("nowhere.Class", "qsynth_test_modules.Nothing", "json.JSONDecoder", ""):
        with pytest.raises(ConfigError, match=r"data\.target"):
            load_data(DataModule(target=wrong), FromData())


def test_the_hash_of_a_task_tells_every_field() -> None:
    from dataclasses import fields, replace

    task = load_data(Digits(), FromData()).task
    other = replace(task, labels=task.labels[::-1])
    assert task.digest() != other.digest()
    a, b = task.field_digests(), other.field_digests()
    assert [name for name in a if a[name] != b[name]] == ["labels"]
    of_tables = {"columns", "label", "missing"}
    assert set(a) == {f.name for f in fields(task)} - of_tables
    table = replace(task, label="digit")
    assert set(table.field_digests()) - set(a) == {"label"}
    assert table.digest() != task.digest()


def test_a_sites_own_labels_are_those_of_the_task(tmp_path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(80) % 3
    np.savez(tmp_path / "site.npz", x=rng.random((80, 4)), y=y)
    task = Declared(title="t", labels=("sick", "well"), layout="vector", shape=(4,))
    names = {"krank": "sick", "gesund": "well", "sehr krank": "sick"}
    config = Arrays(
        path=str(tmp_path / "site.npz"), labels=("gesund", "krank", "sehr krank"), label_map=names
    )
    data = load_data(config, task)
    assert data.task.labels == ("sick", "well")
    plain = load_data(replace(config, label_map={}), FromData())
    assert np.array_equal(data.train_y, np.array([1, 0, 0])[plain.train_y])
    assert np.array_equal(data.test_y, np.array([1, 0, 0])[plain.test_y])
    for wrong, told in (
        ({"krnak": "sick"}, "did you mean krank"),
        (names | {"krank": "sik"}, "did you mean sick"),
    ):
        with pytest.raises(ConfigError, match=told):
            load_data(replace(config, label_map=wrong), task)
    with pytest.raises(ConfigError, match="needs task=declared"):
        load_data(config, FromData())
