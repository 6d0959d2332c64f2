"""What leaves a site, under which guarantee, and what attacks find: a page to be signed."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qsynth.config.run import RunConfig
from qsynth.data.base import Layout
from qsynth.errors import ConfigError
from qsynth.experiment.audit import audit
from qsynth.host.ledger import NAME as LEDGER
from qsynth.host.ledger import read_ledger
from qsynth.privacy import Budget
from qsynth.report.estimate import forecast
from qsynth.training.plan import RunPlan

ATTACKS = {
    "membership_auc": "telling who is in it, by class means: AUC",
    "scatter_auc": "telling who is in it, by the scatter: AUC",
    "fingerprint_auc": "telling who is in it, by the fingerprint: AUC",
    "mosaic_auc": "telling who is in it, by the images: AUC",
    "inversion_rate": "a class mean picks the record out of all candidates",
    "difference_rate": "two packets give away the record that came between",
}


def privacy_report(
    config: RunConfig, plan: RunPlan, layout: Layout | None, home: Path | None
) -> dict[str, Any]:
    """Return the report of a plan's sites as plain values.

    home: of a node that has been on duty: what it has spent, and sent.  Where no attack can be run
    it says why.  Raises StateError where a file of the home is damaged.
    """
    attacked: dict[str, Any] | None = None
    reason = None
    try:
        attacked = audit(plan)
    except ConfigError as error:  # labels or values; or too few samples are left for an attacker
        reason = str(error)
    leaves = forecast(config, layout=layout)["leaves"]
    rule = config.privacy
    return {
        "name": plan.name,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "sites": len(plan.nodes),
        "privacy": rule.name,
        "leaves": leaves["said"],
        "never": leaves["never"],
        "guaranteed": rule.said(),
        "not_promised": rule.not_promised(),
        "audit": attacked,
        "not_attacked": reason,
        "spent": None if home is None else Budget(rule, home).told(),
        "sent": None if home is None else _sent(home / LEDGER),
    }


def _sent(ledger: Path) -> int:
    return len(read_ledger(ledger)) if ledger.exists() else 0


def rows(made: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the report's sections: a heading, and what stands below it."""
    sections = [
        ("What leaves", [*made["leaves"], f"never: {made['never']}"]),
        ("What is guaranteed", made["guaranteed"] or ["nothing: privacy=none"]),
        ("What is not promised", made["not_promised"]),
        ("What attacks find here", _found(made["audit"], made["not_attacked"])),
    ]
    spent = made["spent"]
    if made["sent"] is not None:
        left = [f"{made['sent']} packets or parts in sums have left, each in the ledger"]
        if spent is not None:
            left.append(
                f"epsilon {spent['spent']:.3g} of {spent['epsilon']:g} is spent in "
                f"{spent['releases']} releases, {spent['left']:.3g} is left"
            )
        sections.append(("So far", left))
    return sections


def _found(audited: dict[str, Any] | None, reason: str | None) -> list[str]:
    """Return what attacks have found, a line each; or why none was run."""
    if audited is None:
        return [f"none was run: {reason}"]
    found = []
    for key, name in ATTACKS.items():
        if audited[key] is not None:
            within = audited.get(f"{key}_interval")
            wide = f" ({within[0]:.2f} to {within[1]:.2f})" if within else ""
            found.append(f"{name}: {audited[key]:.2f}{wide}")
    found.append(
        "AUC .5: nothing learned, 1: certainty; intervals hold 95 %; stronger attacks may exist "
        f"({audited['references']} reference samples, {audited['candidates']} candidates)"
    )
    if audited["epsilon"] is not None:
        found.append(
            f"epsilon {audited['epsilon']:g} is stated; who knows all records but one refutes each "
            f"below {audited['epsilon_refuted']:.2f}"
        )
    return found


def page(made: dict[str, Any]) -> str:
    """Return the report as a page of HTML, without scripts."""
    body = "".join(
        f"<h2>{html.escape(heading)}</h2><ul>"
        + "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        + "</ul>"
        for heading, lines in rows(made)
    )
    title = html.escape(f"Privacy of {made['name']}")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem; }}
li {{ overflow-wrap: anywhere; }}
</style></head><body><h1>{title}</h1>
<p>{made["date"]}; {made["sites"]} sites with privacy={html.escape(made["privacy"])}; figures are
means over the sites of this configuration.</p>
{body}</body></html>
"""
