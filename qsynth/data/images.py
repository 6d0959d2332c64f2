"""The data option `images`: folders of pictures, one for each class, below one for each site."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from qsynth.data.base import DataOptions
from qsynth.data.dataset import DataSet, split_test
from qsynth.data.memory import check_memory
from qsynth.data.samples import MOST_CLASSES
from qsynth.data.task import Declared
from qsynth.errors import DataError, nearest_spelling
from qsynth.lazy import Deferred
from qsynth.schema import option, setting
from qsynth.types import Floats32, Ints, Task

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SHOWN = 8  # sites, in words
pil = Deferred("PIL.Image")
ops = Deferred("PIL.ImageOps")


@option("data")
@dataclass(frozen=True)
class Images(DataOptions):
    """Folders of pictures: PATH/SITE/CLASS/FILE, or PATH/CLASS/FILE without sites."""

    name: str = setting("images", "the option's name", choices=("images",))
    path: str = setting("", "the folder")
    side: int = setting(64, "pixels a side that pictures are resized to", low=6, high=1024)
    grey: bool = setting(False, "one channel instead of three")
    sites_each: int = setting(
        1, "nodes that the pictures of each site's folder are dealt to", low=1, high=1024
    )
    labels: tuple[str, ...] = setting(
        [], "classes in the order of their indices; empty: the folders' names", distinct=True
    )
    test_share: float = setting(0.25, "kept for the test", low=0.05, high=0.9)
    batch_size: int = setting(16, "own training samples a step", low=1)

    recipe: ClassVar[str] = "pictures"

    def load(self) -> DataSet:
        """Return (n, 3 or 1, side, side) pictures in [0, 1].  Raises DataError."""
        return self._load(())

    def load_for(self, task: Declared) -> DataSet:
        """Return the same, classes in the order of a declared task's labels."""
        return self._load(tuple(task.labels))

    def _load(self, names: tuple[str, ...]) -> DataSet:
        found = _found(self.path)
        names = self.labels or names or tuple(sorted({each.label for each in found}))
        strange = sorted({each.label for each in found} - set(names))
        if strange:
            raise DataError(
                f"data.path={self.path}: folder {strange[0]} is none of the labels "
                f"{', '.join(names)}{nearest_spelling(strange[0], names)}"
            )
        if not 2 <= len(names) <= MOST_CLASSES:
            raise DataError(
                f"data.path={self.path}: {len(names)} classes; each has a folder of its own, as in "
                "SITE/CLASS/FILE or CLASS/FILE"
            )
        channels = 1 if self.grey else 3
        check_memory(f"data.path={self.path}", 8 * len(found) * channels * self.side**2)
        inputs = np.empty((len(found), channels, self.side, self.side), np.float32)
        for row, each in enumerate(found):
            inputs[row] = picture(each.path, self.side, self.grey)
        labels = np.array([names.index(each.label) for each in found], np.int64)
        site = _sites(found, self.sites_each)
        train, test = split_test(labels, site, self.test_share)
        places = sorted({each.site for each in found if each.site})
        said = f"{self.source()}: {len(found)} pictures of {len(names)} classes"
        if places:
            more = ", ..." if len(places) > SHOWN else ""
            said += f"; {len(places)} sites ({', '.join(places[:SHOWN])}{more})"
        task = Task(
            name=self.own_name(),
            version=1,
            labels=names,
            layout="image",
            shape=tuple(inputs.shape[1:]),
            units="grey level" if self.grey else "colour",
            low=0.0,
            high=1.0,
        )
        return DataSet(
            task,
            inputs[train],
            labels[train],
            inputs[test],
            labels[test],
            None if site is None else site[train],
            None if site is None else site[test],
            notes=(said,),
            test_rows=np.array(
                [str(each.path.relative_to(Path(self.path).expanduser())) for each in found]
            )[test],
            site_names=tuple(places) if self.sites_each == 1 else (),
        )

    def own_name(self) -> str:
        """Return the folder's own name."""
        return Path(self.path).expanduser().resolve().name if self.path else self.name

    def source(self) -> str:
        """Return what a message calls the data: its folder."""
        return str(Path(self.path).expanduser())


@dataclass(frozen=True)
class _Found:
    """One picture's file, its class, and its site where there are any."""

    path: Path
    label: str
    site: str | None


def _found(path: str) -> list[_Found]:
    """Return the pictures below a folder, in the order of their names.  Raises DataError."""
    key, root = f"data.path={path}", Path(path).expanduser()
    files = pictures_below(path)
    found = [_Found(f, f.parent.name, None) for f in files]
    depths = {len(f.relative_to(root).parts): f for f in files}
    if set(depths) == {3}:
        return [_Found(f, f.parent.name, f.parent.parent.name) for f in files]
    if set(depths) == {2}:
        return found
    wrong = next(depths[depth] for depth in sorted(depths) if depth not in (2, 3) or 3 in depths)
    raise DataError(
        f"{key}: {wrong.relative_to(root)} stands elsewhere than the others; all must be "
        "SITE/CLASS/FILE, or all CLASS/FILE"
    )


def pictures_below(path: str) -> list[Path]:
    """Return the pictures below a folder, in the order of their names.  Raises DataError."""
    if not path:
        raise DataError("data.path=: needs a folder of SITE/CLASS/FILE or CLASS/FILE")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"data.path={path}: no such folder")
    files = sorted(
        each
        for each in root.rglob("*")
        if each.suffix.lower() in SUFFIXES and each.is_file() and not each.name.startswith(".")
    )
    if not files:
        raise DataError(f"data.path={path}: no picture in it ({', '.join(SUFFIXES)})")
    return files


def _sites(found: list[_Found], each: int) -> Ints | None:
    """Return (n,) site indices; None where there is one site that is not to be dealt."""
    names = sorted({one.site or "" for one in found})
    if names == [""] and each == 1:
        return None
    place = np.array([names.index(one.site or "") for one in found])
    rng, site = np.random.default_rng(0), np.zeros(len(found), np.int64)
    for index in range(len(names)):
        rows = rng.permutation(np.flatnonzero(place == index))
        for part, dealt in enumerate(np.array_split(rows, each)):
            site[dealt] = index * each + part
    return site


def _in_bytes(picture: Any) -> Any:
    """Return a picture of a byte a channel.  Raises ValueError where its range is not known."""
    if picture.mode.startswith("I;16"):
        return pil.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError("its pixels have no range of their own: save it with 8 or 16 bits")
    return picture.convert("RGBA") if "transparency" in picture.info else picture


def picture(path: Path | IO[bytes], side: int, grey: bool, source: str = "") -> Floats32:
    """Return (channels, side, side) of a file, upright.  Raises DataError.

    source: what it is called, where it has no path.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A file that unpacks to gigabytes.
            warnings.simplefilter("error", pil.DecompressionBombWarning)
            with pil.open(path) as opened:
                return pixels_of(opened, side, grey)
    except ImportError:
        raise DataError("data.name=images: needs pip install 'qsynth[vision]'") from None
    except Exception as error:  # each format has errors of its own
        first = (str(error).splitlines() or [type(error).__name__])[0]
        said = "of no format that is known" if source else first
        raise DataError(
            f"{source or path}: cannot be read as a picture ({said}); mend it, or take it away"
        ) from None


def pixels_of(picture: Any, side: int, grey: bool) -> Floats32:
    """Return (channels, side, side) of a picture of PIL, upright, in [0, 1]."""
    upright: Any = _in_bytes(ops.exif_transpose(picture)).convert("L" if grey else "RGB")
    small = upright.resize((side, side), pil.Resampling.BICUBIC)
    pixels = np.asarray(small, np.float32).reshape(side, side, -1) / np.float32(255.0)
    made: Floats32 = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return made
