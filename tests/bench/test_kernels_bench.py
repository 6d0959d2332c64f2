"""The comparison of kernels with other libraries: a row for each, and the same answers."""

from __future__ import annotations

import sys

import pytest

from qsynth.bench import kernels
from qsynth.errors import ConfigError


def test_each_kernel_is_timed_and_gives_the_answers_of_the_others() -> None:
    for name in ("faiss", "usearch", "hnswlib"):
        pytest.importorskip(name, reason="the extra `bench` is not installed")
    rows = list(kernels.compare_kernels(3000, 1))
    assert [r["kernel"] for r in rows] == ["xor", "hamming", "cosine_int8", "cosine_f32"]
    for row in rows:
        assert row["ms"] > 0
        assert row["over_memory"] > 0
    exact = rows[3]
    assert exact["faiss_same"]
    assert exact["hnswlib_same"]


def test_without_the_extra_one_line_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"pip install 'qsynth\[bench\]'"):
        next(iter(kernels.compare_kernels(1000, 0)))
