"""What a data option is: it reads samples, and declares the task that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from qsynth.data.dataset import DataSet
from qsynth.data.task import Declared, FromData
from qsynth.errors import ConfigError
from qsynth.schema import name_of, option, setting


@dataclass(frozen=True)
class Layout:
    """Say what one input is, how many outputs it has, and how many training samples there are.

    kind: classes, labels or values.  sites: of a file with a `node` array, else None.
    """

    layout: str
    shape: tuple[int, ...]
    outputs: int
    train: int
    kind: str = "classes"
    sites: int | None = None


def layout_of_data(data: DataSet) -> Layout:
    """Return the layout of data that have been read."""
    made, nodes = data.task, data.train_node
    sites = None if nodes is None else len(np.unique(nodes))
    return Layout(made.layout, made.shape, made.classes, len(data.train_y), made.kind, sites)


@option("data")
@dataclass(frozen=True)
class DataOptions:
    """Where samples come from.  An option subclasses it and gives `load` and `batch_size`.

    `test_share` is among its settings where it splits itself.
    """

    features: bool = setting(
        False,
        "whether networks train on the features of a frozen encoder, made once and kept on disk; "
        "the predictor has the encoder inside",
    )

    own_code: ClassVar[bool] = False  # whether reading the data runs code of the user's own
    early: ClassVar[bool] = False  # whether they are read before anything else is done
    recipe: ClassVar[str] = "digits_mesh"  # that a run of such data builds on where it names none

    def load(self) -> DataSet:
        """Return the data and the task that they declare.  Raises DataError.

        Each call must give the same samples in the same order, in any process.
        """
        raise NotImplementedError

    def load_for(self, task: Declared) -> DataSet:
        """Return the data of a task that is declared: names of labels, range, columns."""
        return self.load()

    def layout(self) -> Layout | None:
        """Return what samples look like where that is known without reading them."""
        return None

    def own_name(self) -> str:
        """Return what a run of these data is called where nobody names it."""
        return name_of(self)

    def source(self) -> str:
        """Return what a message calls the data; "": by the task's name."""
        return ""

    def against(self) -> tuple[str, ...]:
        """Return the labels that count as one, against all others; none: all labels count."""
        return ()

    def mapped(self) -> dict[str, str]:
        """Return the declared task's label for each of the data's own that has another name."""
        return {}

    def usable_rows(self, task: FromData | Declared) -> int:
        """Return how many rows there are by now.  Raises ConfigError where none can be added."""
        raise self._fixed()

    def ended(self, ends: Sequence[int]) -> Self:
        """Return the data of which no more rows are looked at than there were after each batch.

        Raises ConfigError where none can be added.
        """
        raise self._fixed()

    def _fixed(self) -> ConfigError:
        return ConfigError(
            f"growth=file: data={name_of(self)} gets no rows while a node is on duty; use "
            "data=table"
        )

    def further(self) -> str | None:
        """Return where further inputs without labels come from."""
        return None

    def is_text(self) -> bool:
        """Return whether inputs are whole numbers of a vocabulary."""
        return False


@option("data")
@dataclass(frozen=True)
class Bundled(DataOptions):
    """What the data sets have that everybody knows."""

    positives: tuple[str, ...] = setting(
        [],
        "labels that count as one, against all others as the other; empty: all labels",
        distinct=True,
    )

    def against(self) -> tuple[str, ...]:
        """Return the labels that count as one, against all others; none: all labels count."""
        return self.positives

    def outputs(self) -> int:
        """Return how many classes there are."""
        return 2 if self.positives else 10
