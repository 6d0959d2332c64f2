"""Run a plan from start to summary, and make a summary again from a run folder."""

from __future__ import annotations

import datetime
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import yaml

from qsynth.config.run import RunConfig
from qsynth.data import DataSet
from qsynth.data.base import layout_of_data
from qsynth.errors import ConfigError, DataError, RunError
from qsynth.experiment.build import build
from qsynth.experiment.lock import Locked, check_data, check_plan, make_lock, packets_digest
from qsynth.experiment.lone_arms import Measured, unseen
from qsynth.experiment.summary import read_results, summarise_run
from qsynth.files import write_json
from qsynth.identity.seal import seal
from qsynth.placement import check_placement, make_placement
from qsynth.placement.base import run_placed
from qsynth.protocol.journal import owned
from qsynth.report.estimate import forecast
from qsynth.report.events import all_events
from qsynth.report.page import write_report
from qsynth.simulation.simulate import simulate
from qsynth.simulation.snapshot import Snapshots
from qsynth.training.fit import single_threaded
from qsynth.training.plan import RunPlan
from qsynth.training.provenance import check_same
from qsynth.types import config_digest


class Watcher(Protocol):
    """Whoever is shown how a run goes: `qsynth.cli.show.Display`, for one."""

    def announce(self, plan: RunPlan) -> None:
        """Say what is about to happen, before the nodes start."""

    def progress(self, plan: RunPlan, seconds: float) -> None:
        """Show how far the nodes are, now and then."""

    def measured(self, arm: str, done: int, of: int) -> None:
        """Show how many nodes of a baseline are done."""


def new_folder(config: RunConfig, values: dict[str, Any]) -> Path:
    """Make and return `runs/<date>-<name>-<hash6>`."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    digest = config_digest(values).hex()[:6]
    base = Path(config.folder).expanduser().absolute() / f"{stamp}-{config.name}-{digest}"
    for number in range(1000):
        folder = base if number == 0 else base.with_name(f"{base.name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(f"folder={config.folder}: cannot be written ({error})") from None
    raise RunError(f"{base}: too many runs in one second")


def check_folder(config: RunConfig) -> None:
    """Raise ConfigError where run folders cannot be made: before anything is computed."""
    base = Path(config.folder).expanduser().absolute()
    if base.exists() and not base.is_dir():
        raise ConfigError(f"folder={config.folder}: is a file; give a folder")
    place = base
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ConfigError(f"folder={config.folder}: cannot be made or written in {place}")


def execute(
    config: RunConfig,
    values: dict[str, Any],
    overrides: tuple[str, ...],
    watcher: Watcher,
    recipe: Path | None = None,
    locked: Locked | None = None,
    data: DataSet | None = None,
) -> tuple[RunPlan, dict[str, Any]]:
    """Run a config; return the plan and the summary.

    watcher: who is shown how it goes.
    recipe: the file that was composed.  locked: what the run must be the same as; RunError where
    a simulated one has turned out another.  data: of the config, where they have been read before.
    """
    if config.publish == "ask":
        raise ConfigError("publish=ask: is for `qsynth node up`; a run has nobody to ask")
    for key, value in config.mesh.alone_settings().items():
        if value:
            raise ConfigError(f"mesh.{key}={value}: is for `qsynth node up`; a run needs none")
    check_folder(config)
    plan = build(config, Path(), data)  # a mistake found here leaves no folder behind
    if locked is not None:
        check_plan(locked, plan)
    check_placement(plan.placement, plan.mesh, len(plan.nodes))
    folder = new_folder(config, values)
    plan = replace(plan, folder=folder)
    _write_inputs(plan, values, overrides, recipe)
    watcher.announce(plan)
    summary = _carry_out(config, plan, config_digest(values), watcher)
    packets = locked and config.placement.simulated and locked.lock.get("packets")
    if packets and packets != packets_digest(folder):
        raise RunError(f"{folder}: its packets are not those of the locked run")
    return plan, summary


def resume(
    config: RunConfig, values: dict[str, Any], folder: Path, watcher: Watcher
) -> tuple[RunPlan, dict[str, Any]]:
    """Go on with a run that was interrupted; one that has ended is reported again.

    Raises StateError where its folder is not what it left, or a run is still under way there.
    """
    plan = build(config, folder)
    check_data(plan)
    check_same(plan)
    # A cluster may have given tasks up: their nodes can still go on.
    lost = config.placement.machines and len(read_results(plan)) < len(plan.nodes)
    if (folder / "summary.json").exists() and not lost:
        return plan, report(config, folder, watcher.measured)
    watcher.announce(plan)
    return plan, _carry_out(config, plan, config_digest(values), watcher)


def _carry_out(config: RunConfig, plan: RunPlan, digest: bytes, watcher: Watcher) -> dict[str, Any]:
    folder, logs = plan.folder, [plan.folder / "nodes" / "*" / "log.txt"]
    single_threaded()  # what measures in the end forks workers
    if config.placement.simulated:
        snapshots = Snapshots(folder / "snapshot", plan.trainer.checkpoint_s, digest)
        with owned(folder):
            times = simulate(plan, None, snapshots, lambda seconds: watcher.progress(plan, seconds))
        if (folder / "recipe.lock").exists():
            _lock_packets(folder)
    else:
        placement = make_placement(plan)
        times = run_placed(plan, placement, lambda seconds: watcher.progress(plan, seconds))
        logs = placement.logs(plan.nodes[0].name)
    times["ended"] = time.time()
    write_json(folder / "times.json", times)
    summary = summarise_run(plan, config.recipe, config.baselines, times, watcher.measured)
    _write_page(config, plan, summary)
    if not read_results(plan):
        raise RunError(f"no node has finished; see {', '.join(map(str, logs))}")
    if len(summary["failures"]) == len(plan.nodes):
        raise RunError(f"all nodes have failed: {summary['failures'][0]['reason']}")
    return summary


def report(config: RunConfig, folder: Path, measured: Measured = unseen) -> dict[str, Any]:
    """Make the summary of a run again from its folder, also after its runner has died.

    measured: called as the nodes of a baseline that must be run again are done.
    """
    plan = build(config, folder)
    check_data(plan)
    check_same(plan)
    try:
        times = json.loads((folder / "times.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        times = {}  # the runner has died: nobody knows the wall time
    if not isinstance(times, dict):
        raise DataError(f"{folder}/times.json: must hold an object; take it away")
    summary = summarise_run(plan, config.recipe, config.baselines, times, measured)
    _write_page(config, plan, summary)
    return summary


def _write_page(config: RunConfig, plan: RunPlan, summary: dict[str, Any]) -> None:
    try:
        # Those of features say nothing of the inputs that a plan begins with.
        layout = None if config.data.features else layout_of_data(plan.data)
        fedavg = forecast(config, layout=layout)["instead"]["fedavg_bytes"]
    except DataError:
        fedavg = None  # the data have moved since: the page does without
    recipe = (plan.folder / "config.yaml").read_text(encoding="utf-8")
    write_report(plan.folder, summary, all_events(plan.folder), fedavg, recipe)


def _write_inputs(
    plan: RunPlan, values: dict[str, Any], overrides: tuple[str, ...], recipe: Path | None
) -> None:
    folder = plan.folder
    (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    seal(folder / "config.yaml")
    (folder / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    text = recipe.read_bytes() if recipe is not None else b""
    (folder / "recipe.yaml").write_bytes(text)
    _write_lock(folder, make_lock(plan, values, overrides, text))


def _write_lock(folder: Path, lock: dict[str, Any]) -> None:
    (folder / "recipe.lock").write_text(yaml.safe_dump(lock, sort_keys=False))


def _lock_packets(folder: Path) -> None:
    """Add to the lock of a simulated run what it has published: another one must do the same."""
    path = folder / "recipe.lock"
    lock = yaml.safe_load(path.read_text(encoding="utf-8"))
    _write_lock(folder, lock | {"packets": packets_digest(folder)})
