"""Run the comparisons behind docs/explanation/evidence.md, and write that page.

python tests/benchmarks/evidence.py [--only TITLE ...] [--write]

TITLE: a recipe, for all its rows, or the title of one row.  With --only and --write the other
sections of the page stay as they are.

Finished arms are kept, so an interrupted run goes on where it stopped.  It says beforehand how
long it takes.  No part of CI.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsynth.encoder.projection import cache_folder

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "evidence.md"
EXAMPLES = PAGE.parents[1] / "examples"
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(EXAMPLES), os.environ.get("PYTHONPATH")]))
}
# Recipes whose data a script of docs/examples writes, where the classes that they name are too.
MADE = {
    "natural": ("digit_writers.py", "writers.npz"),
    "attributes": ("digit_attributes.py", "attributes.npz"),
    "progression": ("diabetes.py", "diabetes.npz"),
    "text": ("scipy_sentences.py", "sentences.npz"),
    "series": ("fmnist_series.py", "series.npz"),
}
TARGETS = ("attributes", "progression")  # labels and values, which the audit does not attack
ALONE = ("local", "alone", "best_alone")
ARMS = (*ALONE, "semantic", "random")
RANDOM = {"random:gain_mean": -1}  # random peers with the gate: at most a point under best_alone
DRIFT = 7.0  # the period of recipes/drift.yaml
SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Row:
    """One recipe of the page: its arms, its seeds, further overrides, minutes on two cores.

    must: field of the arm `semantic` (or `arm:field`) and our target.
    """

    recipe: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    minutes: int
    must: dict[str, float]
    overrides: tuple[str, ...] = ()
    said: str = ""

    @property
    def title(self) -> str:
        return self.recipe + (f", {self.said}" if self.said else "")


ROWS = (
    Row(
        "digits_skew",
        (*ARMS, "fedavg"),
        SEEDS,
        3,
        {"group_mean": 96, "network_group_mean": 92, "network_group_worst": 90},
    ),
    Row(
        "fmnist_taught",
        ARMS,
        SEEDS,
        14,
        {
            "own_mean": 76,
            "gain_mean": 8,
            "own_worst": 69,
            "network over local": 5,
            "network over alone": 5,
        },
    ),
    Row("fmnist_swap", (*ARMS, "oracle"), SEEDS, 4, {"own_mean": 77.5}),
    Row("fmnist_labels", ARMS, SEEDS, 3, {"own_mean": 89.5, "group_mean": 84.5}),
    Row("fmnist_tiny", ARMS, SEEDS, 3, {"gain_mean": 2}),
    Row("fmnist_skew", ARMS, SEEDS, 3, {"own_mean": 84, "group_mean": 75}),
    Row("fmnist_poisoned", (*ARMS, "silent"), SEEDS, 4, {"semantic of silent": 90}),
    Row("fmnist_loners", ARMS, SEEDS, 3, {"worst node gain": -1}),
    Row("drift", ARMS, SEEDS, 5, {"regained after 4 periods": 95, "regained after 2 periods": 95}),
    Row("fmnist_dirichlet", ARMS, SEEDS, 3, {"worst node gain": -1}),
    Row(
        "cifar_mesh",
        ARMS,
        SEEDS,
        12,
        {"own_mean": 48, "network_mean": 45, "network over alone": 2.5},
    ),
    Row(
        "fmnist_rotations",
        ARMS,
        SEEDS,
        8,
        {
            "own_mean": 76,
            "gain_mean": 8,
            "own_worst": 69,
            "network over local": 5,
            "network over alone": 5,
        },
    ),
    Row(
        "fmnist_rotations",
        (
            "best_alone",
            "semantic",
            "random",
            "dissimilar",
            "all",
            "all_ungated",
            "oracle",
            "central",
        ),
        SEEDS,
        12,
        {},
        said="whom to learn from",
    ),
    Row(
        "fmnist_rotations",
        ("best_alone", "semantic", "sqmd", "fedproto"),
        SEEDS,
        6,
        {},
        ("fleet.narrow.count=8", "fleet.wide.count=0", "fleet.deep.count=8", "fleet.broad.count=0"),
        "two architectures, and their rivals",
    ),
    Row("fmnist_unlabelled", ARMS, SEEDS, 4, {"network over local": 8}),
    Row(
        "fmnist_rotations",
        (
            "best_alone",
            "semantic",
            "head",
            "fedavg",
            "fedavg_oracle",
            "fedavg_finetuned",
            "gossip",
            "pens",
            "fedavg_head",
            "fedavg_head_oracle",
            "pooled",
        ),
        SEEDS,
        8,
        {},
        (
            "fleet.narrow.count=16",
            "fleet.wide.count=0",
            "fleet.deep.count=0",
            "fleet.broad.count=0",
        ),
        "one architecture",
    ),
    Row(
        "fmnist_rotations",
        ("best_alone", "fedavg_head_oracle"),
        SEEDS,
        4,
        {},
        (
            "fleet.narrow.count=16",
            "fleet.wide.count=0",
            "fleet.deep.count=0",
            "fleet.broad.count=0",
            "trainer.period_steps=25",
        ),
        "rounds of 25 steps",
    ),
    Row(
        "digits_skew",
        ("best_alone", "fedavg"),
        SEEDS,
        2,
        {},
        ("trainer.period_steps=25",),
        "rounds of 25 steps",
    ),
    Row(
        "digits_skew",
        ("best_alone", "fedavg"),
        SEEDS,
        2,
        {},
        ("trainer.period_steps=300",),
        "rounds of 300 steps",
    ),
    Row(
        "digits_skew",
        ("best_alone", "fedavg"),
        SEEDS,
        3,
        {},
        ("trainer.period_steps=25", "trainer.max_steps=6000"),
        "240 rounds of 25 steps",
    ),
    Row(
        "fmnist_rotations",
        ARMS,
        SEEDS,
        5,
        {},
        ("distill=mosaic", "synthesis=replay", "synthesis.d=320", "synthesis.head_weight=null"),
        "averaged images",
    ),
    Row(
        "fmnist_rotations",
        ARMS,
        SEEDS,
        5,
        {},
        (
            "distill=class_logits",
            "distill.max_bytes=512",
            "synthesis=class_kd",
            "synthesis.head_weight=null",
        ),
        "mean logits of each class in 512 bytes",
    ),
    Row(
        "fmnist_rotations",
        ARMS,
        SEEDS,
        5,
        {},
        ("distill=reference_logits", "synthesis=reference_kd", "synthesis.head_weight=null"),
        "answers to 256 public images",
    ),
    Row("fmnist_crowd", ("best_alone", "head"), SEEDS, 10, {"head:own_mean": 81.5}),
    Row("natural", (*ARMS, "pooled"), SEEDS, 3, {"gain_mean": 2}),
    Row("series", (*ARMS, "head", "pooled"), SEEDS, 12, {"gain_mean": 2}),
    Row("prevalence", (*ARMS, "oracle"), SEEDS, 8, {}, said="gains of balanced accuracy"),
    Row(
        "text",
        (*ARMS, "all_ungated", "pooled"),
        SEEDS,
        6,
        {},
        ("--trust=scipy_sentences.WordNetwork", "--trust=scipy_sentences.sentence_encoder"),
        "in docs/examples, with the extra `text`",
    ),
    Row(
        "attributes",
        (*ARMS, "oracle", "pooled"),
        SEEDS,
        4,
        {"gain_mean": 2},
        said="several labels, balanced accuracy",
    ),
    Row(
        "progression",
        (*ARMS, "head", "pooled"),
        SEEDS,
        2,
        {"gain_mean": 2},
        said="regression, variance explained",
    ),
    Row(
        "cifar_native",
        (*ALONE, "semantic", "semantic_untaught"),
        (0, 1, 2),
        90,
        {"gain_mean": 2, "network over alone": 1, "semantic_untaught:gain_mean": 2},
    ),
    Row("newcomer", (*ARMS, "oracle"), SEEDS, 8, {"newcomer_gain": 8}),
    Row(
        "cifar_mesh",
        ARMS,
        (0, 1),
        30,
        {"network over alone": 4},
        ("synthesis.network=hybrid",),
        "hybrid",
    ),
)


def place(row: Row, data: str | None) -> list[str]:
    """Return where a row's data are; writers' digits are written first."""
    if row.recipe in MADE:
        script, name = MADE[row.recipe]
        file = cache_folder() / name
        file.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(EXAMPLES / script), str(file)]
        command += [data or "."] if row.recipe == "series" else []
        subprocess.run(command, check=True, stdout=sys.stderr)
        return [f"data.path={file}"]
    return [f"data.root={data}"] if data and not row.recipe.startswith("digits") else []


def compare(row: Row, data: str | None) -> list[dict[str, Any]]:
    """Return a row's arms, run or kept."""
    words = [
        f"+recipe={row.recipe}",
        f"arms=[{','.join(row.arms)}]",
        f"seeds=[{','.join(map(str, row.seeds))}]",
        *row.overrides,
    ]
    command = [sys.executable, "-m", "qsynth", "compare", *words, *place(row, data), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=ENVIRONMENT)
    return [json.loads(line) for line in done.stdout.strip().splitlines()]


def audited(row: Row, data: str | None) -> dict[str, Any] | None:
    """Return what the packets of a recipe give away, or None where they are not of classes."""
    if row.recipe in TARGETS:
        return None
    words = [f"+recipe={row.recipe}", *row.overrides, *place(row, data), "--json"]
    command = [sys.executable, "-m", "qsynth", "packet", "audit", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=ENVIRONMENT)
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def reached(arms: dict[str, dict[str, Any]], what: str) -> float:
    """Return a figure in percent."""
    semantic = arms.get("semantic", {})
    if what.startswith("network over "):
        return 100 * (semantic["network_mean"] - arms[what.split()[-1]]["network_mean"])
    if what == "semantic of silent":
        return 100 * semantic["gain_mean"] / arms["silent"]["gain_mean"]
    if what.startswith("regained after "):
        line = dict(semantic["timeline"])
        return 100 * line[DRIFT + float(what.split()[2])] / line[DRIFT - 1.0]
    if what == "worst node gain":
        return 100 * semantic["worst_mean_gain"]
    arm, _, field = what.rpartition(":")
    return 100 * float(arms[arm or "semantic"][field])


def section(row: Row, rows: list[dict[str, Any]], audit: dict[str, Any] | None) -> str:
    """Return a row's part of the page."""
    balanced = rows[0]["gain_of"] == "balanced"
    head = (
        "arm",
        "own",
        "sd",
        "worst",
        "group",
        "network",
        "gain",
        "95 % interval",
        "harmed",
        "KiB a node",
        *(("balanced", "AUROC") if balanced else ()),
    )
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for entry in rows:
        low, high = entry["gain_low"], entry["gain_high"]
        interval = "-" if low is None else f"{100 * low:+.1f} to {100 * high:+.1f}"
        carried = entry["bytes_per_node"]
        cells = [
            entry["arm"],
            *(
                percent(entry[key])
                for key in ("own_mean", "own_sd", "own_worst", "group_mean", "network_mean")
            ),
            f"{100 * entry['gain_mean']:+.1f}",
            interval,
            percent(entry["harmed_share"]),
            "-" if carried is None else f"{carried / 1024:.0f}",
        ]
        if balanced:
            cells += [percent(entry["balanced_mean"]), percent(entry["auroc_mean"])]
        lines.append("| " + " | ".join(cells) + " |")
    arms = {entry["arm"]: entry for entry in rows}
    judged = []
    for what, least in (row.must | (RANDOM if "random" in row.arms else {})).items():
        value = reached(arms, what)
        verdict = "met" if value >= least else f"**short by {least - value:.1f}**"
        judged.append(f"- {what}: {value:.1f}, target {least:g}: {verdict}")
    best = next((entry.get("setting") for entry in rows if entry.get("setting")), "-")
    packet = next((entry["packet_bytes"] for entry in rows if entry["packet_bytes"]), 0.0)
    where = {"digits_skew": ()} | {name: (f"data.path={made[1]}",) for name, made in MADE.items()}
    words = " ".join(
        (f"+recipe={row.recipe}", *where.get(row.recipe, ("data.root=FOLDER",)), *row.overrides)
    )
    seeds = ",".join(map(str, row.seeds))
    command = f"qsynth compare {words} arms=[{','.join(row.arms)}] seeds=[{seeds}]"
    told = f"Packets of {packet:.0f} bytes. best_alone is `{best}`."
    if audit is not None:
        told = (
            f"Packets of {packet:.0f} bytes, d={audit['d']:.0f}; membership AUC "
            f"{audit['membership_auc']:.2f} by class means, "
            f"{audit['scatter_auc'] or 0.5:.2f} by the scatter (`qsynth packet audit`). "
            f"best_alone is `{best}`."
        )
    late = [
        f"{entry['arm']} {percent(entry['newcomer_own'])}"
        for entry in rows
        if entry["newcomer_own"] is not None
    ]
    if late:
        told += f" Newcomers alone, own accuracy: {', '.join(late)}."
    for entry in rows:
        if entry["curve"]:
            points = ", ".join(
                f"{sent / 1024:.0f}: {100 * own:.1f}" for sent, own in entry["curve"]
            )
            told += f"\n\n`{entry['arm']}`, own accuracy after KiB a node: {points}."
    parts = [f"## {row.title}", f"`{command}`", "\n".join(lines), told]
    return "\n\n".join([*parts, "\n".join(judged)] if judged else parts)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


INTRO = """# Evidence

Written by `make evidence`; every table can be made again by the command above it. Percent; own
accuracy of the predictor unless a column says otherwise; gains are over `best_alone`, the best
setting of the same pipeline without peers, chosen on the test set itself, which favours the
baseline. `harmed` is the share of nodes more than a point below it. Recipes were tuned on seeds
5-7 and are reported on seeds 0-4. The interval is Student's over seeds. Fashion-MNIST is averaged
to 14x14 with 60 training samples a node, CIFAR-10 to 16x16 with 300 (`cifar_native`: 32x32 with
1,000). Sums have a table of their own in `learning.md`.
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--data", default=None)
    parser.add_argument("--write", action="store_true", help="write the page")
    options = parser.parse_args()
    names = {name for row in ROWS for name in (row.recipe, row.title)}
    for name in options.only:
        if name not in names:
            parser.error(f"--only {name}: no such row on the page")
    wanted = set(options.only) or names
    chosen = [row for row in ROWS if {row.recipe, row.title} & wanted]
    total = sum(row.minutes for row in chosen)
    print(f"about {total // 60} h {total % 60} min on two cores, less what is kept", flush=True)
    sections = {}
    if options.only and PAGE.exists():
        for part in PAGE.read_text(encoding="utf-8").split("\n\n## ")[1:]:
            sections[part.partition("\n")[0]] = f"## {part.strip()}"
    for row in chosen:
        rows, audit = compare(row, options.data), audited(row, options.data)
        sections[row.title] = section(row, rows, audit)
        print(sections[row.title] + "\n", flush=True)
        if options.write:
            page = [sections[row.title] for row in ROWS if row.title in sections]
            PAGE.write_text(INTRO + "\n" + "\n\n".join(page) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
