"""What a run rests on, by hashes: enough to run it again and to see that it was the same."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from qsynth.errors import ConfigError, DataError
from qsynth.training.plan import RunPlan
from qsynth.types import config_digest

PACKAGES = ("qsynth", "torch", "pytorch-lightning", "numpy", "numba", "pynng", "hydra-core")
ELSEWHERE = ("folder", "recipe")  # of a config: where it stands, not what it is


def versions() -> dict[str, str]:
    """Return the versions of the packages that figures depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def make_lock(
    plan: RunPlan, values: dict[str, Any], overrides: Sequence[str], recipe: bytes
) -> dict[str, Any]:
    """Return the lock of a plan.  recipe: the bytes of its recipe's file."""
    kept = [o for o in overrides if o.lstrip("+").split("=")[0] not in ELSEWHERE]
    return {
        "recipe_sha256": hashlib.sha256(recipe).hexdigest(),
        "overrides": kept,
        "config": _digest(values),
        "data": plan.data.digest().hex(),
        "task": plan.data.task.digest().hex(),
        "encoder": plan.encoder.digest.hex(),
        "seed": plan.seed,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": versions(),
    }


def _digest(values: dict[str, Any]) -> str:
    return config_digest({k: v for k, v in values.items() if k not in ELSEWHERE}).hex()


def packets_digest(folder: Path) -> str:
    """Return one hash of all packets that a run's nodes have published, node by node."""
    lines = []
    for path in sorted((folder / "nodes").glob("*/events.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["event"] == "publish":
                lines.append(f"{event['node']} {event['digest']}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Locked:
    """Hold a lock and the recipe that it is of."""

    lock: dict[str, Any]
    recipe: bytes
    source: str


def check_values(locked: Locked, values: dict[str, Any]) -> None:
    """Raise ConfigError where the composed config is not the locked one."""
    if "config" in locked.lock and locked.lock["config"] != _digest(values):
        raise ConfigError(f"--locked {locked.source}: the composed config is another one here")


def check_data(plan: RunPlan) -> None:
    """Raise DataError where the data of a run folder's plan are not those that the run began with.

    A split is a property of the data: with others, test samples may have been trained on.
    """
    try:
        lock = yaml.safe_load((plan.folder / "recipe.lock").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return  # of an older version, or taken away
    begun = lock.get("data") if isinstance(lock, dict) else None
    if begun is not None and begun != plan.data.digest().hex():
        raise DataError(
            f"{plan.folder}: the data are not those that this run began with; give them back as "
            "they were, or run anew"
        )


def check_plan(locked: Locked, plan: RunPlan) -> None:
    """Raise ConfigError, which names what differs, where a run would not be the locked one."""
    now = make_lock(plan, {}, (), locked.recipe)
    differing: list[str] = [
        key
        for key in ("data", "task", "encoder", "seed", "python", "machine")
        if key in locked.lock and locked.lock[key] != now[key]
    ]
    for package, version in dict(locked.lock.get("versions", {})).items():
        if now["versions"].get(package) != version:
            differing.append(f"{package} {version} (here {now['versions'].get(package)})")
    if differing:
        raise ConfigError(f"--locked {locked.source}: differs here: {', '.join(differing)}")
