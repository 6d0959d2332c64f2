"""The rule `mosaic`: small averaged images of the author's data, as one coded mosaic.

Data statistics: each image is the mean of several samples of one class.  Coded like a photograph:
colours apart, a discrete cosine transform of each image (Ahmed 1974), steps that grow with
frequency, then entropy coding, of all images' same frequency side by side.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from qsynth.distill.analytic import Source
from qsynth.distill.class_means import ClassMeans
from qsynth.distill.coding import Shapes
from qsynth.errors import ConfigError, PacketError
from qsynth.lazy import Deferred
from qsynth.packet import Payload, Statistics, packet_bytes
from qsynth.schema import option, setting
from qsynth.types import Floats32, Ints, Task

fft = Deferred("scipy.fft")
MAX_IMAGES = 1024
MAX_PIXELS = 64 * 64 * 3  # numbers in one image
MAX_NUMBERS = 1 << 20  # in all images of a packet: a hostile one gets no more unpacked
MAX_CLASSES = 256  # of labels in a byte
LEAST_CODE = 100  # bytes that a mosaic should at least have room for
STEPS = tuple(float(s) for s in np.geomspace(0.01, 4.0, 40))  # of the lowest frequency
SLOPE = 0.1  # how steps grow with each frequency
FILTERS = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 0, "lp": 0, "pb": 0}]
# Luminance and two differences of colour, orthonormal.
COLOURS = np.array([[3**-0.5] * 3, [2**-0.5, 0.0, -(2**-0.5)], [6**-0.5, -2 * 6**-0.5, 6**-0.5]])


@option("distill")
@dataclass(frozen=True)
class Mosaic(ClassMeans):
    """Send averaged images of the author's data: several samples of a class in each."""

    name: str = setting("mosaic", "the option's name", choices=("mosaic",))
    images: int = setting(100, "in a packet, as fine as max_bytes lets them be", low=1, high=1024)
    mixed: int = setting(4, "samples of a class in each image", low=1)

    sends: ClassVar[str | None] = "averaged images, several samples of a class in each"

    @property
    def least_averaged(self) -> int:
        """Return of how many samples at least each thing is that a packet says."""
        return min(self.min_support, self.mixed)

    def check_task(self, task: Task) -> None:
        """Raise ConfigError where there are no images, or too large ones, or too many classes."""
        super().check_task(task)
        size = math.prod(task.shape)
        if task.layout != "image":
            raise ConfigError(
                f"distill.name=mosaic: needs images, the data are {task.layout} inputs"
            )
        if size > MAX_PIXELS or task.classes > MAX_CLASSES:
            raise ConfigError(
                f"distill.name=mosaic: for images of at most {MAX_PIXELS} numbers and "
                f"{MAX_CLASSES} classes, the data have {size} and {task.classes}"
            )
        if self.images * size > MAX_NUMBERS:
            raise ConfigError(
                f"distill.images={self.images}: must be <= {MAX_NUMBERS // size} of {size} numbers"
            )

    def further_shapes(self, classes: int, references: int | None = None) -> Shapes:
        """Return the least room that a mosaic needs."""
        return {"mosaic_code": ((LEAST_CODE,), np.uint8)}

    def further(self, source: Source) -> Payload:
        """Return the mosaic: as fine as there is room beside the rest of the payload.

        Nothing where no class has enough samples.
        """
        task = source.task
        unit = ((source.inputs - task.low) / (task.high - task.low)).astype(np.float32)
        counts = np.bincount(source.labels, minlength=task.classes)
        made = averaged_images(
            unit, source.labels, counts, self.images, self.mixed, self.min_support, source.rng
        )
        if not len(made.labels):
            return {}
        empty = np.zeros(0, np.uint8)
        frame: dict[str, npt.NDArray[Any]] = {
            "mosaic_code": empty,
            "mosaic_labels": empty,
            "mosaic_shape": np.zeros(3, np.uint32),
            "mosaic_step": np.zeros(1, np.uint8),
        }
        return code_mosaic(made, self.max_bytes - packet_bytes(source.payload | frame))

    def read(self, payload: Mapping[str, npt.NDArray[Any]], features: Statistics) -> Images | None:
        """Return the images of a packet.  Raises PacketError."""
        told = "mosaic_code" in payload
        return decode_mosaic(payload, len(features.counts)) if told else None


@dataclass(frozen=True)
class Images:
    """Hold images (n, channels, height, width) float32 in [0, 1] and labels (n,)."""

    images: Floats32
    labels: Ints


def averaged_images(
    images: Floats32,
    labels: Ints,
    counts: Ints,
    count: int,
    mixed: int,
    least: int,
    rng: np.random.Generator,
) -> Images:
    """Return means of `mixed` samples of a class each, classes in proportion to their samples.

    images: (m, c, h, w) in [0, 1].  counts: (C,) of labels.  least: samples a class needs, and
    `mixed` at least.
    """
    able = np.where(counts >= max(least, mixed), counts, 0)
    if not able.sum():
        return Images(images[:0], labels[:0])
    wanted = np.floor(count * able / able.sum()).astype(np.int64)
    made, named = [], []
    for c in np.flatnonzero(wanted):
        mine = np.flatnonzero(labels == c)
        for _ in range(wanted[c]):
            made.append(images[rng.permutation(mine)[:mixed]].mean(axis=0))
            named.append(c)
    if not made:
        return Images(images[:0], labels[:0])
    return Images(np.stack(made).astype(np.float32), np.array(named, np.int64))


def code_mosaic(mosaic: Images, room: int) -> Payload:
    """Return the payload of a mosaic, labels and code in at most `room` bytes, as fine as fits.

    Where even the coarsest code is larger, every other image is left out; nothing, where none is
    left.
    """
    while len(mosaic.labels):
        low, high = 0, len(STEPS)  # the code of step `high` fits, where there is such a step
        while low < high:
            middle = (low + high) // 2
            size = len(_compressed(mosaic.images, STEPS[middle])) + len(mosaic.labels)
            low, high = (low, middle) if size <= room else (middle + 1, high)
        if high < len(STEPS):
            code = _compressed(mosaic.images, STEPS[high])
            return {
                "mosaic_code": np.frombuffer(code, np.uint8),
                "mosaic_labels": mosaic.labels.astype(np.uint8),
                "mosaic_shape": np.array(mosaic.images.shape[1:], np.uint32),
                "mosaic_step": np.array([high], np.uint8),
            }
        mosaic = Images(mosaic.images[1::2], mosaic.labels[1::2])
    return {}


def decode_mosaic(payload: Mapping[str, npt.NDArray[Any]], classes: int) -> Images:
    """Return the mosaic of a payload.  Raises PacketError with reason `schema` or `range`."""
    kinds = {
        "mosaic_code": np.uint8,
        "mosaic_labels": np.uint8,
        "mosaic_shape": np.uint32,
        "mosaic_step": np.uint8,
    }
    for key, kind in kinds.items():
        if key not in payload or payload[key].dtype != kind or payload[key].ndim != 1:
            raise PacketError("schema", f"{key} must be a vector of {kind.__name__}")
    labels, shape = payload["mosaic_labels"], tuple(int(n) for n in payload["mosaic_shape"])
    if len(shape) != 3 or not 0 < int(np.prod(shape, dtype=np.float64)) <= MAX_PIXELS:
        raise PacketError("schema", f"mosaic_shape {shape}")
    if len(payload["mosaic_step"]) != 1 or payload["mosaic_step"][0] >= len(STEPS):
        raise PacketError("range", "mosaic_step is none")
    if not 0 < len(labels) <= MAX_IMAGES or labels.max() >= classes:
        raise PacketError("range", "mosaic_labels hold no image, too many, or no class")
    size = len(labels) * int(np.prod(shape))
    if size > MAX_NUMBERS:
        raise PacketError("range", f"mosaic_code of {size} numbers")
    try:
        unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=FILTERS)
        plain = unpacker.decompress(payload["mosaic_code"].tobytes(), max_length=size)
    except (lzma.LZMAError, EOFError, MemoryError) as error:
        raise PacketError("schema", f"mosaic_code: {error}") from None
    if len(plain) != size:
        raise PacketError("schema", f"mosaic_code holds {len(plain)} numbers, not {size}")
    images = _images(
        np.frombuffer(plain, np.int8), (len(labels), *shape), STEPS[payload["mosaic_step"][0]]
    )
    return Images(images, labels.astype(np.int64))


def _steps(shape: tuple[int, ...], step: float) -> npt.NDArray[np.float64]:
    """Return (height, width) steps: they grow with frequency, and 127 of them are enough."""
    channels, height, width = shape[-3:]
    tone = np.arange(height)[:, None] + np.arange(width)[None, :]
    largest = 0.5 * np.sqrt(height * width * (3 if channels == 3 else 1))  # of a plain image
    least = largest / (127.0 * (1.0 + tone))
    grown: npt.NDArray[np.float64] = np.maximum(step * (1.0 + SLOPE * tone), least)
    return grown


def _compressed(images: Floats32, step: float) -> bytes:
    values: npt.NDArray[Any] = np.asarray(images, np.float64) - 0.5
    if values.shape[1] == 3:
        values = np.einsum("kc,nchw->nkhw", COLOURS, values)
    waves: npt.NDArray[Any] = fft.dctn(values, axes=(2, 3), norm="ortho")
    waves = waves / _steps(values.shape, step)
    whole = np.clip(np.rint(waves), -127, 127).astype(np.int8)
    # Low frequencies first, of all images side by side: long runs of zeros at the end.
    plain = whole.transpose(1, 2, 3, 0)[:, *_order(values.shape)].tobytes()
    return lzma.compress(plain, format=lzma.FORMAT_RAW, filters=FILTERS)


def _images(plain: npt.NDArray[np.int8], shape: tuple[int, ...], step: float) -> Floats32:
    count, channels, height, width = shape
    waves = np.zeros((channels, height, width, count))
    waves[:, *_order(shape)] = plain.reshape(channels, height * width, count)
    values = waves.transpose(3, 0, 1, 2) * _steps(shape, step)
    made: npt.NDArray[Any] = fft.idctn(values, axes=(2, 3), norm="ortho")
    if channels == 3:
        made = np.einsum("kc,nkhw->nchw", COLOURS, made)
    return np.clip(made + 0.5, 0.0, 1.0).astype(np.float32)


def _order(shape: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Return rows and columns of frequencies, lowest first."""
    rows, columns = np.divmod(np.arange(shape[-2] * shape[-1]), shape[-1])
    order = np.lexsort((rows, rows + columns))
    return rows[order], columns[order]
