"""The options of the groups `data` and `task`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qsynth.schema import option, setting

INVARIANCES = ("flip_horizontal", "flip_vertical", "shift")  # types.INVARIANCES, without NumPy
KINDS = ("classes", "labels", "values")  # of types.Task


@option("data")
@dataclass(frozen=True)
class DataOptions:
    """What our data options have.  An option subclasses it."""

    features: bool = setting(
        False,
        "whether networks train on the features of a frozen encoder, made once and kept on disk; "
        "the predictor has the encoder inside",
    )


@option("data")
@dataclass(frozen=True)
class Digits(DataOptions):
    """8x8 digits that ship with scikit-learn: 1,797 real images, no download."""

    name: str = setting("digits", "the option's name", choices=("digits",))
    test_share: float = setting(0.25, "of the images kept for the test", low=0.05, high=0.9)
    positives: tuple[str, ...] = setting(
        [],
        "labels that count as one, against all others as the other; empty: all labels",
        distinct=True,
    )
    batch_size: int = setting(16, "own training samples a step", low=1)


@option("data")
@dataclass(frozen=True)
class Fmnist(DataOptions):
    """Fashion-MNIST in the official IDX files."""

    name: str = setting("fmnist", "the option's name", choices=("fmnist",))
    root: str | None = setting(None, "folder of the files; null: $QSYNTH_DATA_DIR or the cache")
    side: int = setting(28, "pixels a side after averaging; must divide 28", low=7, high=28)
    positives: tuple[str, ...] = setting(
        [],
        "labels that count as one, against all others as the other; empty: all labels",
        distinct=True,
    )
    batch_size: int = setting(16, "own training samples a step", low=1)


@option("data")
@dataclass(frozen=True)
class Cifar10(DataOptions):
    """CIFAR-10 in the official binary layout or the official Python archive."""

    name: str = setting("cifar10", "the option's name", choices=("cifar10",))
    root: str | None = setting(None, "folder of the files; null: $QSYNTH_DATA_DIR or the cache")
    side: int = setting(32, "pixels a side after averaging; must divide 32", low=8, high=32)
    positives: tuple[str, ...] = setting(
        [],
        "labels that count as one, against all others as the other; empty: all labels",
        distinct=True,
    )
    batch_size: int = setting(32, "own training samples a step", low=1)


@option("data")
@dataclass(frozen=True)
class Arrays(DataOptions):
    """The user's own .npz with x, y and, optionally, node, x_test, y_test, node_test."""

    name: str = setting("arrays", "the option's name", choices=("arrays",))
    path: str = setting("", "of the .npz file")
    unlabelled: str | None = setting(
        None, "an .npz with x of further inputs and, optionally, node (teach.inputs=unlabelled)"
    )
    labels: tuple[str, ...] = setting(
        [], "names in the order of class indices; empty: 0, 1, ...", distinct=True
    )
    label_map: dict[str, str] = setting(
        {}, "the task's label for each of this site's own, where task=declared names them otherwise"
    )
    kind: str = setting(
        "classes",
        "of y: a class index, 0 or 1 for each of several labels, or numbers",
        choices=KINDS,
    )
    tokens: bool = setting(False, "x (n, length) holds whole numbers of a vocabulary: text")
    low: float | None = setting(None, "of inputs' range; null: 0 for images, else the data's")
    high: float | None = setting(None, "of inputs' range; null: 255 for uint8, else the data's")
    units: str = setting(
        "range",
        "of a table's columns: one place and spread for all, of the range; or each column's own in "
        "this file's training rows (sites with files of their own: task=declared)",
        choices=("range", "columns"),
    )
    test_share: float = setting(
        0.25, "kept for the test where the file has none", low=0.05, high=0.9
    )
    batch_size: int = setting(16, "own training samples a step", low=1)


@option("data")
@dataclass(frozen=True)
class DataModule(DataOptions):
    """The user's own LightningDataModule: batches of (x, y) from train and test loaders."""

    name: str = setting("module", "the option's name", choices=("module",))
    target: str = setting("", "package.Class of a LightningDataModule")
    arguments: dict[str, Any] = setting({}, "its keyword arguments")
    labels: tuple[str, ...] = setting(
        [], "names in the order of class indices; empty: 0, 1, ...", distinct=True
    )
    test_share: float = setting(
        0.25, "kept for the test where there is no test loader", low=0.05, high=0.9
    )
    batch_size: int = setting(16, "own training samples a step", low=1)


@option("task")
@dataclass(frozen=True)
class FromData:
    """Take the task that the data option declares."""

    name: str = setting("from_data", "the option's name", choices=("from_data",))
    version: int = setting(1, "raise it whenever the meaning of inputs or labels changes", low=1)
    invariances: tuple[str, ...] = setting(
        [], "that leave labels what they are", choices=INVARIANCES
    )


@option("task")
@dataclass(frozen=True)
class Declared:
    """Declare the task in full; the data must fit it."""

    name: str = setting("declared", "the option's name", choices=("declared",))
    title: str = setting("", "the task's name")
    version: int = setting(1, "raise it whenever the meaning of inputs or labels changes", low=1)
    labels: tuple[str, ...] = setting([], "names in the order of class indices", distinct=True)
    layout: str = setting("vector", "of inputs", choices=("image", "series", "vector", "tokens"))
    shape: tuple[int, ...] = setting([], "of one input")
    units: str = setting("", "of inputs")
    low: float = setting(0.0, "of inputs' range")
    high: float = setting(1.0, "of inputs' range")
    location: tuple[float, ...] = setting([], "of each feature of a vector; empty: 0")
    scale: tuple[float, ...] = setting([], "of each feature of a vector; empty: 1")
    kind: str = setting("classes", "of what is told of an input", choices=KINDS)
    target_location: tuple[float, ...] = setting([], "of each value; empty: 0")
    target_scale: tuple[float, ...] = setting([], "of each value; empty: 1")
    invariances: tuple[str, ...] = setting(
        [], "that leave labels what they are", choices=INVARIANCES
    )


TASK_OPTIONS: dict[str, type] = {"from_data": FromData, "declared": Declared}
