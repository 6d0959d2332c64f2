"""Real nodes that train, while others are replaced, paused, or for a long time.

    PYTHONPATH=. python tests/benchmarks/chaos.py churn [--nodes 32] [--minutes 5] [--share .3]
    PYTHONPATH=. python tests/benchmarks/chaos.py pause [--nodes 16]
    PYTHONPATH=. python tests/benchmarks/chaos.py revive [--nodes 8] [--kills 20]
    PYTHONPATH=. python tests/benchmarks/chaos.py soak [--nodes 16] [--minutes 30]

churn: each minute `share` of the nodes is killed with SIGKILL, and as many new ones begin, with the
same data and another identity.  A lookup has succeeded when at least half of the k most alike of
those alive are in its answer; own accuracy is of all that have a predictor at the end, beside that
of the same fleet without churn.  pause: when the others have trained, and how well, while one node
is stopped, or gets a tenth of its time.  revive: seconds from the start of a killed node, its
imports done, until it answers, and until it has gone through a period of training.  soak: private
memory and open files of every process.
fmnist_rotations with more nodes of each shape; each prints one JSON object.  No part of CI.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from fleet import Fleet, Member

YOUNG_S = 10.0  # lookups of younger nodes are not counted
GRACE_S = 60.0
SAMPLE_S = 15.0
SLOW_S = 0.2  # of which a slowed node gets a tenth


def words(nodes: int, more: list[str]) -> list[str]:
    """Return the overrides of a fleet of so many nodes."""
    groups = ("narrow", "wide", "deep", "broad")
    counts = [f"fleet.{group}.count={nodes // 4}" for group in groups]
    return ["+recipe=fmnist_rotations", *counts, *more]


def churn(nodes: int, minutes: float, share: float, more: list[str]) -> dict[str, Any]:
    """Return lookups and accuracy of a fleet in which nodes are replaced all the time."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder), words(nodes, more))
        try:
            fleet.start()
            began, replaced = time.monotonic(), 0
            every_s = 60.0 / (share * nodes) if share else minutes * 60.0
            while time.monotonic() - began < minutes * 60.0:
                time.sleep(max(0.0, began + (replaced + 1) * every_s - time.monotonic()))
                if share:
                    gone = rng.choice(fleet.alive)
                    gone.kill()
                    known = rng.sample(fleet.alive, 3)
                    fleet.begin(gone.share, [member.address() for member in known])
                    replaced += 1
            fleet.settle(GRACE_S)
            good, counted = lookups(fleet)
            return {
                "nodes": nodes,
                "replaced": replaced,
                "lookups": counted,
                "succeeded": round(good / max(counted, 1), 4),
                "own": round(fleet.own(fleet.alive), 4),
                "trained": sum(m.trained() is not None for m in fleet.alive),
            }
        finally:
            fleet.close()


def lookups(fleet: Fleet) -> tuple[int, int]:
    """Return how many lookups have succeeded, and of how many."""
    k = fleet.plan.peers.k
    said: list[tuple[float, str, np.ndarray]] = []
    lives: dict[str, Member] = {}
    for member in fleet.members:
        for event in member.events("started"):
            lives[event["id"]] = member
            for told in member.events("publish"):
                values = np.frombuffer(bytes.fromhex(told["fingerprint"]), np.int8)
                said.append((told["time"], event["id"], values.astype(float)))
    good = counted = 0
    for me, member in lives.items():
        for event in member.events("lookup"):
            if event["kind"] == "nearest" or event["began"] < member.began + YOUNG_S:
                continue
            prints = {
                who: values / np.linalg.norm(values)
                for at, who, values in sorted(said, key=_time)
                if at < event["began"] and (lives[who].ended or 1e18) > event["time"]
            }
            own = prints.pop(me, None)
            if own is None or len(prints) < k:
                continue
            true = sorted(prints, key=lambda who, own=own, p=prints: -float(p[who] @ own))[:k]
            found = {entry[0] for entry in event["found"]}
            counted += 1
            good += len(found & set(true)) >= k / 2
    return good, counted


def _time(said: tuple[float, str, np.ndarray]) -> float:
    return said[0]


def pause(nodes: int, more: list[str]) -> dict[str, Any]:
    """Return what a stopped and a slowed node cost the others."""
    made: dict[str, Any] = {"nodes": nodes}
    for how in ("none", "stopped", "slowed", "none again"):
        with tempfile.TemporaryDirectory() as folder:
            fleet = Fleet(Path(folder), words(nodes, more))
            ended = threading.Event()
            try:
                began = time.time()
                fleet.start()
                victim, others = fleet.members[1], [fleet.members[0], *fleet.members[2:]]
                time.sleep(2.0)
                if how == "stopped":
                    os.kill(victim.pid, signal.SIGSTOP)
                elif how == "slowed":
                    threading.Thread(target=_slow, args=(victim.pid, ended), daemon=True).start()
                while not all(member.trained() for member in others):
                    time.sleep(0.5)
                times = [(member.trained() or 0.0) - began for member in others]
                time.sleep(5.0)
                made[how] = {"trained_s": round(float(np.mean(times)), 1), "own": fleet.own(others)}
            finally:
                ended.set()
                os.kill(fleet.members[1].pid, signal.SIGCONT)
                fleet.close()
    return made


def _slow(pid: int, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            os.kill(pid, signal.SIGCONT)
            time.sleep(SLOW_S / 10)
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            return
        time.sleep(SLOW_S * 9 / 10)


def revive(nodes: int, kills: int, more: list[str]) -> dict[str, Any]:
    """Return how soon killed nodes answer and train again."""
    rng, answers, trains = random.Random(0), list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        long = ["trainer.max_steps=200000", "trainer.checkpoint_s=1", *more]
        fleet = Fleet(Path(folder), words(nodes, long))
        try:
            fleet.start()
            for _ in range(kills):
                gone = rng.choice(fleet.alive)
                while not (gone.home / "checkpoint.ckpt").exists() or not gone.events("period"):
                    time.sleep(0.05)
                time.sleep(rng.uniform(0.0, 2.0))
                known = [m.address() for m in fleet.alive if m is not gone][:3]
                gone.kill()
                assert gone.ended is not None
                again = fleet.begin(gone.share, known, gone.home)
                for kind, times in (("lookup", answers), ("period", trains)):
                    while not (late := [e for e in again.events(kind) if e["time"] > gone.ended]):
                        time.sleep(0.02)
                    times.append(late[0]["time"] - again.began)
        finally:
            fleet.close()
    return {
        "nodes": nodes,
        "kills": kills,
        "answers_s": [round(float(np.median(answers)), 2), round(max(answers), 2)],
        "trains_s": [round(float(np.median(trains)), 2), round(max(trains), 2)],
    }


def soak(nodes: int, minutes: float, more: list[str]) -> dict[str, Any]:
    """Return the slopes of memory and open files, after the first third."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder), words(nodes, more))
        try:
            fleet.start()
            began, rows = time.monotonic(), []
            while time.monotonic() - began < minutes * 60.0:
                time.sleep(SAMPLE_S)
                rows.append((time.monotonic() - began, *_sizes(fleet)))
            late = np.array([row for row in rows if row[0] > minutes * 20.0])
            slope = np.polyfit(late[:, 0] / 3600.0, late[:, 1], 1)[0]
            return {
                "nodes": nodes,
                "minutes": minutes,
                "mib": [round(float(late[0, 1]), 1), round(float(late[-1, 1]), 1)],
                "mib_an_hour": round(float(slope), 2),
                "worst_mib_an_hour": round(_worst(late), 2),
                "files": [float(late[:, 2].min()), float(late[:, 2].max())],
                "messages": sum(len(m.events("lookup")) for m in fleet.members),
            }
        finally:
            fleet.close()


def _worst(late: np.ndarray) -> float:
    return max(float(np.polyfit(late[:, 0] / 3600.0, column, 1)[0]) for column in late[:, 3:].T)


def _sizes(fleet: Fleet) -> list[float]:
    """Return mean private MiB, mean open files, and the MiB of each."""
    sizes, files = [], []
    for member in fleet.members:
        text = Path(f"/proc/{member.pid}/smaps_rollup").read_text()
        private = [line.split()[1] for line in text.splitlines() if line.startswith("Private_")]
        sizes.append(sum(map(int, private)) / 1024.0)
        files.append(len(os.listdir(f"/proc/{member.pid}/fd")))
    return [float(np.mean(sizes)), float(np.mean(files)), *sizes]


def main() -> int:
    """Do one of the four, and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("churn", "pause", "revive", "soak"))
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.3)
    options = parser.parse_intermixed_args()
    more = options.overrides
    if options.what == "churn":
        made = churn(options.nodes or 32, options.minutes or 5.0, options.share, more)
    elif options.what == "pause":
        made = pause(options.nodes or 16, more)
    elif options.what == "revive":
        made = revive(options.nodes or 8, options.kills, more)
    else:
        made = soak(options.nodes or 16, options.minutes or 30.0, more)
    print(json.dumps({"what": options.what, **made}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
