"""What training costs beside a bare loop: `qsynth run`, and Flower's simulation, by turns.

    python tests/benchmarks/overhead.py --flower PYTHON [--steps 2000] [--repeat 3] [--json]

Eight nodes, digits, one MLP each: the same shards, model, batches a step and number of steps in all
arms.  `bare` is a loop of PyTorch that only does the steps.  `plain` arms of qsynth have neither
peers nor teaching, and one period, so that what the rules ask for is the arm beside them less this
one.  `start` does one step: what is spent before and after the training.  CPU seconds are those of
all processes of an arm, memory is the largest sum of their proportional set sizes, sampled.
PYTHON: of an environment with torch and flwr[simulation]; without it Flower's arm is left out.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

NODES, ROUNDS, BATCH, WIDTH = 8, 10, 16, 64
PR_SET_CHILD_SUBREAPER = 36
SAMPLE_S, MEMORY_S = 0.05, 0.5
TICKS = os.sysconf("SC_CLK_TCK")
# No peers: nothing leaves a node; no teaching: only the optimizer steps of its own samples.
PLAIN = ["peers=none", "synthesis.teach.weight=0", "trainer.period_steps=${trainer.max_steps}"]


def network() -> Any:
    """Return the MLP of the recipe, in plain PyTorch."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))


def train(net: Any, x: Any, y: Any, steps: int, generator: Any) -> None:
    """Do so many steps of AdamW on shuffled batches."""
    import torch
    from torch.nn import functional as F

    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.0)
    order: list[Any] = []
    for _ in range(steps):
        if not order:
            drawn = torch.randperm(len(x), generator=generator)
            order = list(drawn[: len(drawn) // BATCH * BATCH].view(-1, BATCH))
        rows = order.pop(0)
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()


def shards(path: Path) -> list[tuple[Any, Any]]:
    import numpy as np
    import torch

    with np.load(path) as file:
        return [
            (torch.from_numpy(file[f"x{n}"]), torch.from_numpy(file[f"y{n}"])) for n in range(NODES)
        ]


def bare(path: Path, steps: int) -> None:
    """Only the steps."""
    import torch

    torch.set_num_threads(1)
    for number, (x, y) in enumerate(shards(path)):
        torch.manual_seed(number)
        train(network(), x, y, steps, torch.Generator().manual_seed(number))


def flower(path: Path, steps: int) -> None:
    """FedAvg in Flower's simulation: the same steps in ROUNDS rounds."""
    import torch
    from flwr.client import ClientApp, NumPyClient
    from flwr.common import Context, ndarrays_to_parameters
    from flwr.server import ServerApp, ServerAppComponents, ServerConfig
    from flwr.server.strategy import FedAvg
    from flwr.simulation import run_simulation

    rounds = min(ROUNDS, steps)

    def weights(net: Any) -> list[Any]:
        return [value.detach().numpy() for value in net.state_dict().values()]

    class Client(NumPyClient):  # type: ignore[misc]
        def __init__(self, number: int) -> None:
            torch.set_num_threads(1)
            self.number, (self.x, self.y) = number, shards(path)[number]
            self.net = network()

        def fit(self, parameters: list[Any], config: dict[str, Any]) -> tuple[Any, int, Any]:
            names = self.net.state_dict()
            self.net.load_state_dict(
                {k: torch.tensor(v) for k, v in zip(names, parameters, strict=True)}
            )
            generator = torch.Generator().manual_seed(self.number)
            train(self.net, self.x, self.y, steps // rounds, generator)
            return weights(self.net), len(self.x), {}

        def evaluate(self, parameters: list[Any], config: dict[str, Any]) -> tuple[float, int, Any]:
            return 0.0, len(self.x), {}

    def client(context: Context) -> Any:
        return Client(int(context.node_config["partition-id"])).to_client()

    def server(context: Context) -> Any:
        first = ndarrays_to_parameters(weights(network()))
        strategy = FedAvg(initial_parameters=first, fraction_evaluate=0.0)
        return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=rounds))

    run_simulation(
        server_app=ServerApp(server_fn=server),
        client_app=ClientApp(client_fn=client),
        num_supernodes=NODES,
        backend_config={"client_resources": {"num_cpus": 1}},
    )


def write_shards(path: Path) -> None:
    """Write the samples of the recipe's nodes, as a run deals them."""
    import numpy as np

    from qsynth.experiment.build import build
    from qsynth.recipe.compose import compose

    plan = build(compose([*recipe(1), "placement=simulate"]).config, path.parent)
    arrays: dict[str, Any] = {}
    for node in plan.nodes:
        samples = plan.samples(node)
        arrays |= {f"x{node.index}": samples.train_x, f"y{node.index}": samples.train_y}
    np.savez(path, **arrays)


def recipe(steps: int) -> list[str]:
    """Return the overrides of a run of eight MLPs on digits."""
    return [
        "+recipe=digits_mesh",
        f"fleet.mlp.count={NODES}",
        "fleet.cnn.count=0",
        "fleet.linear.count=0",
        "partition=iid",
        f"data.batch_size={BATCH}",
        f"trainer.max_steps={steps}",
        f"trainer.period_steps={max(1, steps // ROUNDS)}",
        "trainer.curve_points=0",
        "baselines=[]",
        "mesh.linger_s=2",
    ]


def tree() -> dict[int, int]:
    """Return every process below this one, and its clock ticks."""
    parents, ticks = {}, {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8") as file:
                    fields = file.read().rpartition(") ")[2].split()
            except OSError:
                continue
            parents[int(name)], ticks[int(name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    mine, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in mine} - mine
        grown, mine = bool(more), mine | more
    return {pid: ticks[pid] for pid in mine if pid != os.getpid() and pid in ticks}


def memory_mib(pids: Sequence[int]) -> float:
    """Return the sum of the proportional set sizes of some processes."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1024.0


def measured(command: list[str], folder: Path) -> dict[str, float]:
    """Return CPU seconds, wall seconds and peak MiB of a command and all that it starts."""
    began, spent, peak, next_memory = time.monotonic(), dict[int, int](), 0.0, 0.0
    log = folder / "log.txt"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "FLWR_TELEMETRY_ENABLED": "0",
    }
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=environment)
        while child.poll() is None:
            alive = tree()
            spent |= alive
            if time.monotonic() >= next_memory:
                next_memory = time.monotonic() + MEMORY_S
                peak = max(peak, memory_mib(list(alive)))
            time.sleep(SAMPLE_S)
    wall = time.monotonic() - began
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {child.returncode}\n{log.read_text()[-2000:]}")
    end = time.monotonic() + 30.0
    while (left := tree()) and time.monotonic() < end:  # daemons that end a little later
        spent |= left
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        time.sleep(SAMPLE_S)
    return {"cpu_s": sum(spent.values()) / TICKS, "wall_s": wall, "peak_mib": peak}


def arms(steps: int, path: Path, flower_python: str | None) -> dict[str, list[str]]:
    """Return the command of each arm."""
    me = str(Path(__file__).resolve())
    run = [
        sys.executable,
        "-m",
        "qsynth",
        "run",
        *recipe(steps),
        f"folder={path.parent}/runs",
        "--quiet",
    ]
    single, batched = ["placement=simulate"], ["placement=simulate", "placement.learner=batched"]
    crowd = ["placement=processes", "placement.nodes_per_process=4", "placement.learner=batched"]
    own = ["placement.learner=batched"]
    found = {
        "bare loop": [sys.executable, me, "--arm", "bare", str(path), "--steps", str(steps)],
        "simulate, batched, plain": [*run, *batched, *PLAIN],
        "simulate, batched": [*run, *batched],
        "simulate, plain": [*run, *single, *PLAIN],
        "simulate": [*run, *single],
        "processes of 4, batched, plain": [*run, *crowd, *PLAIN],
        "processes of 4, batched": [*run, *crowd],
        "processes, batched, plain": [*run, *own, *PLAIN],
        "processes, batched": [*run, *own],
        "processes, plain": [*run, *PLAIN],
        "processes": run,
    }
    if flower_python:
        found["Flower"] = [flower_python, me, "--arm", "flower", str(path), "--steps", str(steps)]
    return found


def both(steps: int, path: Path, flower_python: str | None) -> Iterator[tuple[str, list[str]]]:
    """Yield the arms with one step, then those with all."""
    for name, command in arms(1, path, flower_python).items():
        yield f"{name}: start", command
    yield from arms(steps, path, flower_python).items()


def compared(steps: int, repeat: int, flower_python: str | None) -> dict[str, dict[str, float]]:
    """Return the median of each figure by arm; arms take turns."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    seen: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shards.npz"
        subprocess.run([sys.executable, __file__, "--arm", "shards", str(path)], check=True)
        for _ in range(repeat):
            for which, command in both(steps, path, flower_python):
                seen.setdefault(which, []).append(measured(command, Path(folder)))
                print(which, seen[which][-1], file=sys.stderr, flush=True)
    return {
        name: {key: statistics.median(each[key] for each in runs) for key in runs[0]}
        for name, runs in seen.items()
    }


def table(found: dict[str, dict[str, float]]) -> str:
    """Return the table: whole, start, steps alone, and these over the bare loop's."""
    heads = ["arm", "CPU s", "of them start", "steps", "steps over bare", "wall s", "peak MiB"]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    base = _steps(found, "bare loop")
    for name in (n for n in found if not n.endswith(": start")):
        row, spent = found[name], _steps(found, name)
        start = found[f"{name}: start"]["cpu_s"]
        figures = [row["cpu_s"], start, spent, row["wall_s"]]
        cells = [name, *(f"{figure:.1f}" for figure in figures)]
        cells[4:4] = [f"{spent / base:.2f}"]
        cells.append(f"{row['peak_mib']:.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    if "Flower" in found:
        bare_s = found["bare loop"]["cpu_s"]
        flower_s = found["Flower"]["cpu_s"] - bare_s
        shares = ", ".join(
            f"{name} {(row['cpu_s'] - bare_s) / flower_s:.2f}"
            for name, row in found.items()
            if name not in ("Flower", "bare loop") and not name.endswith(": start")
        )
        lines += ["", f"Overhead over the bare loop, as a share of Flower's: {shares}."]
    return "\n".join(lines)


def _steps(found: dict[str, dict[str, float]], name: str) -> float:
    return found[name]["cpu_s"] - found[f"{name}: start"]["cpu_s"]


def main() -> int:
    """Be an arm, or compare all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--arm", choices=("bare", "flower", "shards"))
    parser.add_argument("path", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--flower")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.arm == "shards":
        write_shards(options.path)
    elif options.arm:
        {"bare": bare, "flower": flower}[options.arm](options.path, options.steps)
    else:
        found = compared(options.steps, options.repeat, options.flower)
        print(json.dumps(found) if options.json else table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
