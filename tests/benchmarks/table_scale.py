"""How long a large table takes, and how much memory: a whole run of 100 steps, from CSV or Parquet.

    python tests/benchmarks/table_scale.py --sites 4 --rows 100000
    python tests/benchmarks/table_scale.py --sites 1 --rows 10000000 --parquet

Each site has a file of its own with 50 columns of numbers and a class; the packets of all have left
when the command ends.  Prints seconds and the most memory of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

COLUMNS, AT_A_TIME = 50, 1_000_000


def write(folder: Path, site: int, rows: int, packed: bool) -> None:
    """Write one site's table, a million rows at a time."""
    rng = np.random.default_rng([0, site])
    map_ = np.random.default_rng(1).normal(size=(COLUMNS, 3))
    path = folder / f"site{site}.{'parquet' if packed else 'csv'}"
    writer = None
    for start in range(0, rows, AT_A_TIME):
        count = min(AT_A_TIME, rows - start)
        x = rng.normal(size=(count, COLUMNS)).astype(np.float32) + np.float32(0.1 * site)
        y = (x @ map_ + 3.0 * rng.gumbel(size=(count, 3))).argmax(axis=1)
        columns = {f"c{at}": x[:, at] for at in range(COLUMNS)}
        table = pa.table(columns | {"label": np.array(["a", "b", "c"])[y]})
        if writer is None:
            make = parquet.ParquetWriter if packed else csv.CSVWriter
            writer = make(path, table.schema)
        writer.write_table(table)
    writer.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--parquet", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "sites"
        data.mkdir()
        for site in range(given.sites):
            write(data, site, given.rows, given.parquet)
        size = sum(path.stat().st_size for path in data.iterdir()) / 2**20
        words = ["run", "data=table", f"data.path={data}", "data.label=label", "baselines=[]"]
        words += ["trainer.max_steps=100", "trainer.period_steps=50", f"folder={folder}"]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "qsynth", *words, "--quiet", "--json"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        seconds = time.monotonic() - began
    summary = json.loads(done.stdout)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"{given.sites} sites, {given.rows:,} rows each, {size:,.0f} MiB of files: {seconds:.0f} s "
        f"until the last of {summary['packets']['admitted']} packets, {most:.2f} GiB, own accuracy "
        f"{100 * summary['accuracy']['own']['mean']:.1f}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
