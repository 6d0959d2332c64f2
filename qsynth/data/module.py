"""The data option `module`: the user's own LightningDataModule.

A loader may shuffle, and another process may draw otherwise than this one.  So the samples are put
into an order of their own, by what they hold, and the module is made and read twice: what differs
between the two would differ between a run, its report, and a node that starts again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from qsynth.data.arrays import Reading, from_arrays
from qsynth.data.base import DataOptions
from qsynth.data.dataset import DataSet
from qsynth.data.samples import as_array, row_digests
from qsynth.data.task import Declared
from qsynth.errors import ConfigError, DataError, nearest_spelling
from qsynth.schema import load_target, option, run_own, setting

HOOKS = ("prepare_data", "setup", "train_dataloader", "test_dataloader")
MOST_UNCOUNTED = 100_000  # batches of a loader without a length
LIGHTNING = ("pytorch_lightning", "lightning")
NamedArrays = dict[str, npt.NDArray[Any]]


@option("data")
@dataclass(frozen=True)
class DataModule(DataOptions):
    """The user's own LightningDataModule: its train loader, and its test loader if it has one.

    Batches are pairs (x, y), triples (x, y, site), or mappings with named entries.
    """

    name: str = setting("module", "the option's name", choices=("module",))
    target: str = setting("", "package.Class of a LightningDataModule")
    arguments: dict[str, Any] = setting({}, "its keyword arguments")
    labels: tuple[str, ...] = setting(
        [], "names in the order of class indices; empty: 0, 1, ...", distinct=True
    )
    inputs: str = setting("x", "of batches that are mappings: the entry with the inputs")
    answers: str = setting("y", "of batches that are mappings: the entry with what is learned")
    site: str = setting("node", "of batches that are mappings: the entry that says whose they are")
    test_share: float = setting(
        0.25, "kept for the test where there is no test loader", low=0.05, high=0.9
    )
    batch_size: int = setting(16, "own training samples a step", low=1)

    own_code: ClassVar[bool] = True

    def load(self) -> DataSet:
        """Return all (x, y) batches of a data module's train loader, and of its test loader.

        Raises ConfigError where the user's code fails, DataError where its samples are not the
        same each time.
        """
        return self._load((), False)

    def load_for(self, task: Declared) -> DataSet:
        """Return the same where the task is declared elsewhere."""
        return self._load(tuple(task.labels), True)

    def _load(self, names: tuple[str, ...], ranged: bool) -> DataSet:
        made = load_target("data.target", self.target)
        if not (isinstance(made, type) and all(hasattr(made, hook) for hook in HOOKS)):
            raise ConfigError(f"data.target={self.target}: must be a LightningDataModule")
        run = partial(run_own, "data.target", self.target)
        first, again = _read(self, made, run), _read(self, made, run)
        for part in ("", "_test"):
            if f"x{part}" in first:
                _check_same(self.target, first, again, part)
        reading = Reading(tuple(self.labels), self.test_share)
        return from_arrays(first, reading, self.target, names, ranged=ranged)

    def source(self) -> str:
        """Return what a message calls the data: the class of its module."""
        return self.target


def _read(config: DataModule, made: type, run: Callable[[Callable[[], Any]], Any]) -> NamedArrays:
    """Return the arrays of a module that is made anew, each part in the order of what it holds."""
    try:
        module: Any = made(**config.arguments)
    except TypeError as error:
        raise ConfigError(f"data.arguments: {error}") from None
    except Exception:
        module = run(lambda: made(**config.arguments))  # the same error, with its file and line
    run(module.prepare_data)
    run(lambda: module.setup("fit"))
    arrays = _collect(run, module.train_dataloader, config, "")
    if _has_test(made):
        run(lambda: module.setup("test"))
        arrays |= _collect(run, module.test_dataloader, config, "_test")
    return arrays


def _has_test(made: type) -> bool:
    """Return whether a module has a test loader of its own."""
    owner = next(kind for kind in made.__mro__ if "test_dataloader" in vars(kind))
    return owner.__module__.split(".")[0] not in LIGHTNING


def _collect(
    run: Callable[[Callable[[], Any]], Any],
    loader: Callable[[], Any],
    config: DataModule,
    part: str,
) -> NamedArrays:
    source = config.target
    batches = run(lambda: _batches(loader(), source, loader.__name__))
    told = [_entries(batch, config) for batch in batches]
    if not told:
        raise DataError(f"{source}: {loader.__name__} gives no batch")
    if len({len(entries) for entries in told}) > 1:
        raise DataError(
            f"{source}: some batches of {loader.__name__} say whose they are, some do not"
        )
    names = (f"x{part}", f"y{part}", f"node{part}")[: len(told[0])]
    try:
        arrays = [
            np.concatenate([as_array(entries[at], name, source) for entries in told])
            for at, name in enumerate(names)
        ]
    except ValueError as error:
        raise DataError(f"{source}: batches of {loader.__name__} differ ({error})") from None
    if len({len(array) for array in arrays}) > 1:
        counts = " and ".join(str(len(array)) for array in arrays)
        raise DataError(f"{source}: {loader.__name__} gives {counts} inputs, labels and sites")
    order = np.argsort(row_digests(*arrays), kind="stable")
    return {name: array[order] for name, array in zip(names, arrays, strict=True)}


def _entries(batch: Any, config: DataModule) -> tuple[Any, ...]:
    """Return inputs, labels and, where the batch says so, sites.  Raises DataError."""
    if isinstance(batch, Mapping):
        for key, name in (("inputs", config.inputs), ("answers", config.answers)):
            if name not in batch:
                raise DataError(
                    f"{config.target}: batches have no entry {name}; data.{key}="
                    f"NAME says which it is{nearest_spelling(name, map(str, batch))}"
                )
        whose = (batch[config.site],) if config.site in batch else ()
        return (batch[config.inputs], batch[config.answers], *whose)
    if isinstance(batch, (tuple, list)) and len(batch) in (2, 3):
        return tuple(batch)
    raise DataError(
        f"{config.target}: batches must be (x, y), (x, y, site) or mappings, got "
        f"{type(batch).__name__}"
    )


def _batches(loader: Any, source: str, name: str) -> list[Any]:
    """Return all batches; one that says not how many there are may have no end."""
    known, kept = hasattr(loader, "__len__"), []
    for batch in loader:
        kept.append(batch)
        if not known and len(kept) > MOST_UNCOUNTED:
            raise DataError(f"{source}: {name} has no end, or more than {MOST_UNCOUNTED} batches")
    return kept


def _check_same(source: str, first: NamedArrays, again: NamedArrays, part: str) -> None:
    loader = "test_dataloader" if part else "train_dataloader"
    names = [name for name in (f"x{part}", f"y{part}", f"node{part}") if name in first]
    if not all(name in again for name in names):
        raise DataError(f"{source}: {loader} says whose samples are only the first time")
    one, other = (row_digests(*(arrays[name] for name in names)) for arrays in (first, again))
    if np.array_equal(one, other):
        return
    kept = len(np.intersect1d(one, other))
    raise DataError(
        f"{source}: {loader} gives other samples when it is made again ({kept} of {len(one)} are "
        "the same): give all of them, with no augmentation, no drawing sampler, no drop_last, and "
        "a seed in setup() where it splits; augment in training_step"
    )
