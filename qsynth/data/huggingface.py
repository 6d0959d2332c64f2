"""The data option `huggingface`: a data set that `datasets` has saved to disk."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from qsynth.data.arrays import Reading, from_arrays
from qsynth.data.base import DataOptions
from qsynth.data.dataset import DataSet
from qsynth.data.images import picture
from qsynth.data.samples import as_array
from qsynth.data.task import Declared
from qsynth.errors import DataError, nearest_spelling
from qsynth.lazy import Deferred
from qsynth.schema import option, setting
from qsynth.types import CLASSES, LABELS, VALUES, Floats32

datasets = Deferred("datasets")
NAMES = ("x", "y", "node")
PARTS = ("train", "test")


@option("data")
@dataclass(frozen=True)
class HuggingFace(DataOptions):
    """A data set that `save_to_disk` of Hugging Face's `datasets` wrote."""

    name: str = setting("huggingface", "the option's name", choices=("huggingface",))
    path: str = setting("", "of the folder")
    inputs: str = setting("image", "the column with the inputs: pictures, or numbers of one shape")
    answers: str = setting("label", "the column with what is learned")
    site: str = setting("", "the column that says whose a row is; empty: none")
    side: int = setting(64, "pixels a side that pictures are resized to", low=6, high=1024)
    grey: bool = setting(False, "pictures of one channel instead of three")
    tokens: bool = setting(False, "inputs are whole numbers of a vocabulary: text")
    kind: str = setting(
        "classes",
        "of the answers: a class index, 0 or 1 for each of several labels, or numbers",
        choices=(CLASSES, LABELS, VALUES),
    )
    labels: tuple[str, ...] = setting(
        [], "names in the order of class indices; empty: those of the column", distinct=True
    )
    test_share: float = setting(
        0.25, "kept for the test where there is no split `test`", low=0.05, high=0.9
    )
    batch_size: int = setting(16, "own training samples a step", low=1)

    early: ClassVar[bool] = True

    def load(self) -> DataSet:
        """Return the rows of the splits `train` and `test`, or of the one there is."""
        return self._load((), False)

    def load_for(self, task: Declared) -> DataSet:
        """Return the same where the task is declared elsewhere."""
        return self._load(tuple(task.labels), True)

    def source(self) -> str:
        """Return what a message calls the data: its folder."""
        return str(Path(self.path).expanduser())

    def own_name(self) -> str:
        """Return the folder's own name."""
        return Path(self.path).expanduser().resolve().name if self.path else self.name

    def is_text(self) -> bool:
        """Return whether inputs are whole numbers of a vocabulary."""
        return self.tokens

    def _load(self, names: tuple[str, ...], ranged: bool) -> DataSet:
        parts = _splits(self.path)
        arrays: dict[str, npt.NDArray[Any]] = {}
        pictured = _is_picture(parts["train"], self.inputs)
        for part in PARTS:
            if part in parts:
                ending = "" if part == "train" else "_test"
                arrays |= self._arrays(parts[part], ending)
        own = _names(parts["train"], self.answers)
        wanted = tuple(self.labels) or names
        labels = wanted or own
        if own and wanted:
            _by_name(arrays, own, wanted, f"data.answers={self.answers}")
        low, high = (0.0, 1.0) if pictured else (None, None)
        reading = Reading(labels, self.test_share, self.kind, self.tokens, low, high)
        return from_arrays(arrays, reading, self.source(), labels, ranged=ranged)

    def _arrays(self, rows: Any, ending: str) -> dict[str, npt.NDArray[Any]]:
        """Return inputs, answers and sites of a split."""
        made = {}
        wanted = (self.inputs, self.answers, self.site)
        for name, key, column in zip(NAMES, ("inputs", "answers", "site"), wanted, strict=True):
            if not column:
                continue
            if column not in rows.column_names:
                raise DataError(
                    f"data.{key}={column}: {self.path} has no such column"
                    f"{nearest_spelling(column, rows.column_names)}"
                )
            if _is_picture(rows, column):
                made[name + ending] = self._pictures(rows, column)
            else:
                values = rows.with_format("numpy")[column][:]
                made[name + ending] = as_array(values, f"column {column}", self.source())
        return made

    def _pictures(self, rows: Any, column: str) -> Floats32:
        """Return (n, channels, side, side) of a column of pictures, in [0, 1]."""
        # What a picture's file is called is not looked at: only those inside are read.
        inside = rows.select_columns(column).cast_column(column, datasets.Image(decode=False))
        made = [
            _picture(cell[column], f"{self.path}: {column} of row {row}", self.side, self.grey)
            for row, cell in enumerate(inside)
        ]
        return np.stack(made)


def _picture(cell: Any, source: str, side: int, grey: bool) -> Floats32:
    packed = None if cell is None else cell.get("bytes")
    if not packed:
        raise DataError(f"{source}: holds no picture; save_to_disk puts them inside")
    return picture(io.BytesIO(packed), side, grey, source)


def _by_name(
    arrays: dict[str, npt.NDArray[Any]], own: tuple[str, ...], wanted: tuple[str, ...], key: str
) -> None:
    """Number classes as they are wanted: their own names say which is which."""
    for name in own:
        if name not in wanted:
            raise DataError(f"{key}: {name} is none of the labels{nearest_spelling(name, wanted)}")
    order = np.array([wanted.index(name) for name in own], np.int64)
    for part in ("y", "y_test"):
        if part in arrays:
            arrays[part] = order[arrays[part].astype(np.int64)]


def _check_inside(folder: Path, key: str) -> None:
    """Raise DataError where a saved data set names files elsewhere."""
    for state in folder.rglob("state.json"):
        try:
            files = json.loads(state.read_text(encoding="utf-8")).get("_data_files", [])
            outside = [f for f in files if Path(f["filename"]).name != f["filename"]]
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise DataError(f"{key}: {state.name} cannot be read") from None
        if outside:
            raise DataError(f"{key}: {state.name} names files outside of its folder")


def _splits(path: str) -> Mapping[str, Any]:
    """Return the splits of a folder: `train`, and `test` where there is one.  Raises DataError."""
    key = f"data.path={path or 'null'}"
    if not path:
        raise DataError(f"{key}: needs the folder that save_to_disk wrote")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(f"{key}: no such folder")
    _check_inside(folder, key)
    try:
        found = datasets.load_from_disk(str(folder))
    except ImportError:
        raise DataError("data.name=huggingface: needs pip install 'qsynth[huggingface]'") from None
    except Exception as error:  # the package raises errors of many kinds
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{key}: is no data set that save_to_disk wrote ({first})") from None
    if not isinstance(found, Mapping):
        return {"train": found}
    if "train" not in found:
        raise DataError(f"{key}: has no split `train`, it has {', '.join(found)}")
    return found


def _is_picture(rows: Any, column: str) -> bool:
    return type(rows.features.get(column)).__name__ == "Image"


def _names(rows: Any, column: str) -> tuple[str, ...]:
    """Return the names of the classes, where the column knows them."""
    feature = rows.features.get(column)
    return tuple(feature.names) if type(feature).__name__ == "ClassLabel" else ()
