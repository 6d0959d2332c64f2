"""Write an .npz with a `node` array: air at twelve stations of Beijing, day by day.

python docs/examples/beijing.py beijing.npz FOLDER [DAYS]
qsynth compare +recipe=beijing data.path=beijing.npz

FOLDER holds PRSA_Data_STATION_20130301-20170228.csv, or .csv.gz, of UCI's Beijing Multi-Site Air
Quality data (https://doi.org/10.24432/C5RK5G, CC BY 4.0; Chen 2017; Zhang 2017, Proc. R. Soc. A
473).  A row is a day of a station: means of other gases and of the weather, the rain, the wind's
mean direction, the season.  Its value is the mean of PM2.5, of which the logarithm is learned.
Days of fewer than 18 hours with every number are left out.  DAYS (40) of each station, drawn by
chance, are the training data, all others the test.
"""

from __future__ import annotations

import csv
import gzip
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

MEANS = ("SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "WSPM")
POINTS = ["N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE"]
POINTS += ["S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW"]
LEAST_HOURS, MOST_UNITS = 18, 8.0


def days_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (days, 13) numbers and (days,) the logarithm of the mean PM2.5."""
    opened = gzip.open if path.suffix == ".gz" else open
    hours: dict[tuple[int, int, int], list[list[float]]] = defaultdict(list)
    with opened(path, "rt", encoding="latin-1") as file:  # type: ignore[operator]
        for row in csv.DictReader(file):
            said = [row[name] for name in ("PM2.5", *MEANS, "RAIN")]
            if any(value in ("", "NA") for value in said) or row["wd"] not in POINTS:
                continue
            turn = 2.0 * np.pi * POINTS.index(row["wd"]) / len(POINTS)
            day = int(row["year"]), int(row["month"]), int(row["day"])
            hours[day].append([*map(float, said), np.sin(turn), np.cos(turn)])
    x, y = [], []
    for (_, month, day), rows in sorted(hours.items()):
        if len(rows) >= LEAST_HOURS:
            mean = np.mean(rows, axis=0)
            season = 2.0 * np.pi * (month - 1 + day / 31.0) / 12.0
            x.append([*mean[1:], np.sin(season), np.cos(season)])
            y.append(np.log(mean[0]))
    return np.array(x), np.array(y)


def main() -> int:
    """Write x, y, node, and the same of the test days."""
    if len(sys.argv) not in (3, 4):
        sys.stderr.write("usage: python beijing.py FILE.npz FOLDER [DAYS]\n")
        return 2
    days = int(sys.argv[3]) if len(sys.argv) == 4 else 40
    files = sorted(Path(sys.argv[2]).glob("PRSA_Data_*.csv*"))
    rng = np.random.default_rng(0)
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for path in files:
        x, y = days_of(path)
        order = rng.permutation(len(y))
        for end, rows in (("", order[:days]), ("_test", order[days:])):
            parts[f"x{end}"].append(x[rows])
            parts[f"y{end}"].append(y[rows, None])
            parts[f"node{end}"].append(np.full(len(rows), path.name.split("_")[2]))
    arrays = {name: np.concatenate(found) for name, found in parts.items()}
    mean, spread = arrays["x"].mean(axis=0), arrays["x"].std(axis=0)
    for name in ("x", "x_test"):
        units = (arrays[name] - mean) / spread
        arrays[name] = np.clip(units, -MOST_UNITS, MOST_UNITS).astype(np.float32)
    for name in ("y", "y_test"):
        arrays[name] = arrays[name].astype(np.float32)
    np.savez(sys.argv[1], **arrays)
    sys.stdout.write(f"{days} days of {len(files)} stations in {sys.argv[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
