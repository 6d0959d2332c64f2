"""One sentence on whether the mesh helped, and by how much over what."""

from __future__ import annotations

from typing import Any

SPOKEN = {
    "local": "the plain networks",
    "alone": "the pipeline without peers",
    "linear": "a linear model on the inputs",
}
FIGURES = {
    "classes": "points",
    "labels": "points of balanced accuracy",
    "values": "points of variance explained",
}


def verdict(summary: dict[str, Any]) -> str:
    """Return the sentence that a run's figures begin with.

    It compares with the best of the baselines that were run, and claims no more than its 95 %
    interval does.
    """
    best = summary["gain"].get("over_best")
    if summary["accuracy"] is None:
        return "No node has left a predictor: there is nothing to measure."
    if best is None:
        return (
            "Whether the mesh helped is not known: no baseline was run "
            "(baselines=[local,alone,linear])."
        )
    low, high, mean = (100 * best[key] for key in ("low", "high", "mean"))
    points = FIGURES[summary.get("kind", "classes")]
    ran = sum(found is not None for found in summary.get("baseline", {}).values())
    among = (
        f"the best of {ran} baselines without it" if ran > 1 else "the one baseline that was run"
    )
    said = f"{mean:+.1f} {points} over {SPOKEN[best['arm']]}, {among}"
    counted = (
        f"{best['better']} of {best['of']} nodes are better; 95 % interval {low:+.1f} to "
        f"{high:+.1f}, {best['samples']:,} test samples"
    )
    if low > 0.0:
        return f"The mesh helped: {said}; {counted}."
    if high < 0.0:
        return f"The mesh did not help, it harmed: {said}; {counted}."
    if mean > 0.0:
        return f"It is not sure that the mesh helped: {said}; {counted}."
    return f"The mesh did not help, as far as these samples tell: {said}; {counted}."


def gains_line(summary: dict[str, Any]) -> str:
    """Return one line with the gain over each baseline, in points."""
    said = []
    for arm in SPOKEN:
        gain = summary["gain"].get(f"over_{arm}")
        if gain and gain["own"]:
            own = gain["own"]
            said.append(f"{arm} {100 * own['mean']:+.1f} (least {100 * own['worst']:+.1f})")
    return f"points over {', '.join(said)}" if said else ""


def lost_line(summary: dict[str, Any]) -> str:
    """Return one line that names the nodes whose networks are lost, or nothing."""
    lost = summary.get("lost", [])
    if not lost:
        return ""
    many = "networks are" if len(lost) > 1 else "network is"
    return (
        f"{', '.join(lost)}: the {many} lost, with answers that are no finite numbers; the head "
        "answers alone"
    )
