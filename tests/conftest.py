"""What tests share: small tasks, samples, and a cache of their own."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qsynth.types import Task
from tests.small_data import write_part

COUNTS: pytest.StashKey[Counter[str]] = pytest.StashKey()
LEFT_OUT = "left_out"  # by file, of the tests that a marker expression leaves out


# Where tests wait for processes of their own: begun first, none is left alone at the end.
LONG = ("placement", "recipe", "cli", "host", "simulation", "experiment", "records")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long tests first, where these are what is run."""
    if config.option.markexpr == "slow":
        items.sort(key=lambda item: item.path.parent.name not in LONG)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what a marker expression leaves out."""
    if items:
        count: Counter[str] = items[0].config.stash.setdefault(COUNTS, Counter())
        count.update(item.location[0] for item in items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that prints what this one has left out."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[LEFT_OUT] = dict(session.config.stash.get(COUNTS, Counter()))


class Gathered:
    """Hear of what each worker has left out: all of them the same."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker tells at its end."""
        told = getattr(node, "workeroutput", {}).get(LEFT_OUT, {})
        self.config.stash[COUNTS] = Counter(told)


def pytest_configure(config: pytest.Config) -> None:
    """Hear of the workers, where there are any."""
    if config.pluginmanager.hasplugin("dsession"):
        config.pluginmanager.register(Gathered(config))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Name what was left out, and how it is run."""
    count = config.stash.get(COUNTS, Counter())
    if count and config.option.markexpr == "not slow":
        named = ", ".join(f"{name} {number}" for name, number in sorted(count.items()))
        terminalreporter.write_line(
            f"left out: {sum(count.values())} slow tests (make test-slow): {named}"
        )


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["QSYNTH_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["QSYNTH_CONFIG_DIR"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data; a test that needs it is skipped without it."""
    value = os.environ.get("QSYNTH_DATA_DIR")
    if not value:
        pytest.skip("QSYNTH_DATA_DIR is not set: no real CIFAR-10 and Fashion-MNIST here")
    return Path(value)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the real data, for what needs no more; skipped without them."""
    value = os.environ.get("QSYNTH_DATA_DIR")
    if not value:
        pytest.skip("QSYNTH_DATA_DIR is not set: no real CIFAR-10 and Fashion-MNIST here")
    return write_part(Path(value), tmp_path_factory.mktemp("data"))


@pytest.fixture
def task() -> Task:
    """Three classes of 8x8 images."""
    return Task("toy", 1, ("a", "b", "c"), "image", (1, 8, 8), "grey", 0.0, 1.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
