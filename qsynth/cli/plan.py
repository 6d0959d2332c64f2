"""`qsynth plan`: what a run will cost and what leaves each node, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qsynth.cli.options import parse
from qsynth.recipe.compose import compose


def main(words: list[str]) -> int:
    """Print the plan of a composed config; needs no torch, but with --measure."""
    options = parse(words, flags=("--measure",))
    composed = compose(options.overrides, options.trusted).with_data()
    from qsynth.data.base import layout_of_data
    from qsynth.report.estimate import forecast

    read = None if composed.data is None else layout_of_data(composed.data)
    made = forecast(composed.config, layout=read)
    if "--measure" in options.own:
        from qsynth.experiment.build import build
        from qsynth.experiment.measured import measured

        made = forecast(composed.config, measured(build(composed.config, Path())), read)
    if options.json:
        print(json.dumps(made))
        return 0
    for line in lines(made):
        print(line)
    return 0


def lines(made: dict[str, Any]) -> list[str]:
    """Return the plan as text."""
    shown = [
        f"{made['name']}: {made['nodes']} nodes, "
        f"{_count(made['samples_per_node'])} training samples each",
        "",
    ]
    shown.append(f"{'nodes':>5}  {'group':16} {'model':8} {'parameters':>10} {'weights':>10}")
    for group in made["groups"]:
        shown.append(
            f"{group['nodes']:5}  {group['group']:16.16} {group['model']:8} "
            f"{_count(group['parameters']):>10} {_bytes(group['bytes']):>10}"
        )
    for row in made.get("measured", []):
        shown.append(f"measured: {row['group']}: {1000 * row['step_s']:.1f} ms a step")
    packet, traffic = made["packet"], made["traffic"]
    shown += ["", "What leaves each node"]
    shown += [f"  - {said}" for said in made["leaves"]["said"]]
    shown.append(f"  never: {made['leaves']['never']}")
    if packet:
        shown.append(f"  a packet: {packet['features']} features, {_bytes(packet['bytes'])}")
        if packet["cohort_bytes"]:
            shown.append(
                f"  to add up: {_bytes(packet['cohort_bytes'])} a member, sent and received"
            )
    for audit in made["leaves"]["audit"] or []:
        shown.append(
            f"  not anonymous: of packets with {audit['features']} features from "
            f"{audit['samples']} samples an attack told members with an AUC of "
            f"{audit['auc']:.2f} (.5: nothing); yours: qsynth packet audit"
        )
    shown += ["", "What it costs (estimates)"]
    if traffic:
        shown.append(
            f"  a node sends {_bytes(traffic['bytes_per_node'])} in {traffic['messages_per_node']} "
            f"messages over the run, {_bytes(traffic['serving_bytes_per_hour'])} an hour in "
            f"{traffic['serving_messages_per_hour']} when it serves on (node up)"
        )
    shown.append(
        f"  memory: {_count(made['memory_mib'])} MiB; training: {_count(made['cpu_s'])} "
        "CPU seconds for all nodes"
    )
    instead = made["instead"]
    if instead["architectures"] > 1:
        shown.append(
            "  FedAvg, gossip of weights: not possible with "
            f"{instead['architectures']} architectures"
        )
    elif instead["fedavg_bytes"] is None:
        shown.append("  FedAvg, gossip of weights: unknown")
    else:
        shown.append(
            f"  FedAvg of weights: {_bytes(instead['fedavg_bytes'])} a node in 20 rounds; "
            f"gossip of weights: {_bytes(instead['gossip_bytes'])}"
        )
    return [*shown, "", made["advice"]]


def _count(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}"


def _bytes(value: float | None) -> str:
    if value is None:
        return "unknown"
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024 or unit == "MiB":
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError
