"""Write a table of patients as four clinics would have it: a CSV each, to try qsynth on.

    python clinics.py clinics

The rows are the breast-cancer table that ships with scikit-learn (Wolberg 1995), dealt to four
clinics; one measurement is missing here and there, as it is in real tables.
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer

CLINICS = ("Aachen", "Bonn", "Celle", "Demmin")
MISSING = 0.05  # of one column's values


def main(folder: Path) -> None:
    """Write a file for each clinic, and `new.csv`, patients whose diagnosis nobody knows yet."""
    table, drawn = load_breast_cancer(), random.Random(0)
    names = [str(name).replace(" ", "_") for name in table.feature_names]
    rows: dict[str, list[list[str]]] = {clinic: [] for clinic in CLINICS}
    for number, (values, label) in enumerate(zip(table.data, table.target, strict=True)):
        cells = [f"{value:g}" for value in values]
        if drawn.random() < MISSING:
            cells[names.index("mean_area")] = ""
        diagnosis = str(table.target_names[label])
        rows[drawn.choice(CLINICS)].append([f"p{number:03}", *cells, diagnosis])
    folder.mkdir(parents=True, exist_ok=True)
    for clinic, kept in rows.items():
        with (folder / f"{clinic}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["patient", *names, "diagnosis"], *kept])
    with Path("new.csv").open("w", newline="") as file:
        unknown = [row[:-1] for row in rows["Aachen"][:5]]
        csv.writer(file).writerows([["patient", *names], *unknown])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
