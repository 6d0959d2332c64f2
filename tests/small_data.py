"""A part of the real data sets, in their own formats: enough for a recipe with little work."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

TRAIN, TEST = 12_000, 400
ROW = 3073  # bytes of a CIFAR-10 image with its label


def write_part(source: Path, root: Path) -> Path:
    """Write the first images of each data set under `source` that is there; return the root."""
    fashion, cifar = source / "fashion-mnist", source / "cifar-10-batches-bin"
    if fashion.is_dir():
        (root / "fashion-mnist").mkdir(parents=True)
        for part, count in (("train", TRAIN), ("t10k", TEST)):
            for name in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"):
                data = gzip.decompress((fashion / f"{part}-{name}").read_bytes())
                axes = data[3]
                shape = struct.unpack(f">{axes}I", data[4 : 4 + 4 * axes])
                size = int(np.prod(shape[1:], dtype=int))
                head = data[:4] + struct.pack(f">{axes}I", count, *shape[1:])
                body = data[4 + 4 * axes :][: count * size]
                packed = gzip.compress(head + body, compresslevel=1)
                (root / "fashion-mnist" / f"{part}-{name}").write_bytes(packed)
    if cifar.is_dir():
        (root / "cifar-10-batches-bin").mkdir(parents=True)
        rows = (cifar / "data_batch_1.bin").read_bytes()
        more = (cifar / "data_batch_2.bin").read_bytes()
        (root / "cifar-10-batches-bin" / "data_batch_1.bin").write_bytes(rows)
        (root / "cifar-10-batches-bin" / "data_batch_2.bin").write_bytes(more)
        test = (cifar / "test_batch.bin").read_bytes()[: TEST * ROW]
        (root / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(test)
    return root
