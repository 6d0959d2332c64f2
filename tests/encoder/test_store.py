"""Features kept on disk: the same numbers as those made, whoever made them, and never too many."""

from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pytest

from qsynth.encoder import store
from qsynth.encoder.store import FeatureStore, row_keys


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("QSYNTH_CACHE_DIR", str(tmp_path))


def inputs(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 2, 3), np.float32)


class Made:
    """A map that says how many rows it has been asked for."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.rows += len(x)
        return x.reshape(len(x), -1)[:, :4] * np.float32(2.0)


def test_what_is_kept_is_what_was_made_and_is_made_once() -> None:
    make, x = Made(), inputs(300)
    first = FeatureStore("a", 4).features(x, make)
    assert np.array_equal(first, Made()(x))
    again = FeatureStore("a", 4).features(x[::-1], make)
    assert np.array_equal(again, first[::-1])
    assert make.rows == 300
    more = np.concatenate([x[:5], inputs(7, 1), x[:5]])
    assert np.array_equal(FeatureStore("a", 4).features(more, make), Made()(more))
    assert make.rows == 307
    assert store.kept_bytes() > 0


def test_another_encoder_has_a_store_of_its_own() -> None:
    make, x = Made(), inputs(20)
    FeatureStore("a", 4).features(x, make)
    FeatureStore("b", 4).features(x, make)
    assert make.rows == 40


def test_a_torn_or_foreign_file_is_made_again(tmp_path) -> None:
    make, x = Made(), inputs(20)
    FeatureStore("a", 4).features(x, make)
    (file,) = (tmp_path / "features" / "a").iterdir()
    file.write_bytes(file.read_bytes()[:200])
    (file.parent / "strange.npy").write_bytes(b"no array")
    narrow = np.zeros(20, [("key", "V16"), ("features", np.float32, (3,))])
    narrow["key"] = row_keys(x)
    np.save(file.parent / "narrow.npy", narrow)
    assert np.array_equal(FeatureStore("a", 4).features(x, make), Made()(x))
    assert make.rows == 40


def test_many_small_files_become_one_and_numbers_that_are_none_are_made_again(tmp_path) -> None:
    make = Made()
    for seed in range(2 * store.MOST_SMALL):
        FeatureStore("a", 4).features(inputs(3, seed), make)
    assert len(list((tmp_path / "features" / "a").iterdir())) <= store.MOST_SMALL
    before = make.rows
    for seed in range(2 * store.MOST_SMALL):
        x = inputs(3, seed)
        assert np.array_equal(FeatureStore("a", 4).features(x, make), Made()(x))
    assert make.rows == before
    x = inputs(5, 999)
    FeatureStore("b", 4).features(x, lambda rows: np.full((len(rows), 4), np.nan, np.float32))
    assert np.array_equal(FeatureStore("b", 4).features(x, make), Made()(x))


def test_the_folder_has_a_limit_and_the_oldest_go_first(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(store, "limit_mib", lambda: 1)
    wide = 40_000  # numbers of a row: 160 kB
    for number in range(10):
        x = inputs(2, number)
        FeatureStore(f"e{number}", wide).features(
            x, lambda rows: np.repeat(rows.reshape(len(rows), -1)[:, :1], wide, axis=1)
        )
        for file in (tmp_path / "features").glob(f"e{number}/*"):
            os.utime(file, (number, number))
    assert store.kept_bytes() <= 2**20
    left = {path.parent.name for path in (tmp_path / "features").glob("*/*")}
    assert "e9" in left
    assert "e0" not in left


@pytest.mark.parametrize("told", ["0", "none", "-3"])
def test_nothing_is_kept_where_nothing_may_be_and_nonsense_is_the_default(
    told, monkeypatch
) -> None:
    monkeypatch.setenv("QSYNTH_FEATURES_MIB", told)
    make, x = Made(), inputs(20)
    for _ in range(2):
        assert np.array_equal(FeatureStore("a", 4).features(x, make), Made()(x))
    assert make.rows == (40 if told == "0" else 20)


def test_a_folder_that_cannot_be_written_costs_time_alone(tmp_path) -> None:
    (tmp_path / "features").write_text("a file, no folder")
    make, x = Made(), inputs(20)
    assert np.array_equal(FeatureStore("a", 4).features(x, make), Made()(x))


def _keep(seed: int) -> None:
    FeatureStore("a", 4).features(inputs(200, seed), Made())


def test_processes_that_write_at_once_lose_nothing() -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_keep, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    make = Made()
    for seed in range(4):
        x = inputs(200, seed)
        assert np.array_equal(FeatureStore("a", 4).features(x, make), Made()(x))
    assert make.rows == 0


def test_keys_tell_inputs_apart() -> None:
    x = inputs(500)
    assert len({key.tobytes() for key in row_keys(x)}) == 500
    assert np.array_equal(row_keys(x), row_keys(x.copy()))
    changed = x.copy()
    changed[3, 1, 2] = np.nextafter(changed[3, 1, 2], np.float32(9.0))
    assert (row_keys(x) != row_keys(changed)).sum() == 1
    assert len(row_keys(x[:0])) == 0
