"""The audit finds what is there to find, and nothing where there is nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.experiment.audit import _Attacker, auc, difference, inversion, vouchers
from qsynth.packet import class_statistics

SMALL = ["encoder.fit_images=300", "encoder.dimensions=64", "encoder.filters=8"]


def draw(rng, n, d=40, classes=3):
    y = np.arange(n) % classes
    return rng.standard_normal((n, d)).astype(np.float32), y


def test_members_of_a_small_class_are_found_and_of_a_large_one_are_not(rng) -> None:
    attacker = _Attacker.of(*draw(rng, 3000), 3)
    for n, low, high in ((30, 0.85, 1.0), (3000, 0.4, 0.65)):
        x, y = draw(rng, n)
        packet = class_statistics(x, y, 3)
        others, labels = draw(rng, 1500)
        found = auc(vouchers(attacker, packet, x, y), vouchers(attacker, packet, others, labels))
        assert low <= found <= high, (n, found)


def test_strangers_alone_are_a_coin_toss(rng) -> None:
    attacker = _Attacker.of(*draw(rng, 3000), 3)
    packet = class_statistics(*draw(rng, 60), 3)
    a, b = draw(rng, 1500), draw(rng, 1500)
    assert 0.45 < auc(vouchers(attacker, packet, *a), vouchers(attacker, packet, *b)) < 0.55


def test_a_class_with_one_sample_ships_that_sample(rng) -> None:
    x, y = draw(rng, 3)
    strangers, _ = draw(rng, 600)
    assert inversion(class_statistics(x, y, 3), x, y, strangers) == 1.0
    x, y = draw(rng, 300)
    assert inversion(class_statistics(x, y, 3), x, y, strangers) < 0.2


def test_auc_is_the_chance_of_ranking_right() -> None:
    assert auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert auc(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == 0.0
    assert auc(np.array([1.0]), np.array([1.0])) == 0.5


def test_the_verb_prints_one_object(capsys) -> None:
    assert main(["packet", "audit", *SMALL, "placement=simulate", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["nodes"] == 8
    assert 0.5 < made["membership_auc"] <= 1.0
    assert 0.0 <= made["inversion_rate"] <= 1.0
    assert main(["packet", "audit", *SMALL]) == 0
    assert "membership" in capsys.readouterr().out
    assert main(["packet", "audid"]) == 2
    assert "did you mean audit?" in capsys.readouterr().err


def test_a_stated_epsilon_holds_and_hides_who_is_there(capsys) -> None:
    pytest.importorskip("dp_accounting", reason="needs the extra privacy")
    words = ["packet", "audit", *SMALL, "privacy=dp", "synthesis.teach.inputs=own_mix", "--json"]
    assert main([*words, "privacy.epsilon=1"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["epsilon"] == 1.0
    assert made["epsilon_refuted"] <= 1.0
    for key in ("membership_auc", "scatter_auc", "fingerprint_auc"):
        assert made[key] is None or made[key] < 0.6  # no class may be sure enough to be told
    assert made["difference_rate"] < 0.2


def test_two_packets_give_the_new_sample_away_unless_a_class_is_kept_back(rng) -> None:
    from dataclasses import replace

    from qsynth.experiment.build import build
    from qsynth.host.plan_node import make_pipeline
    from qsynth.recipe.compose import compose

    plan = build(compose([*SMALL, "partition=iid", "distill.min_support=1"]).config, Path())
    pipeline = make_pipeline(plan, plan.nodes[0])
    strangers = plan.encoder.encode(plan.data.test_x[:300], pipeline.d)
    assert difference(plan, pipeline, pipeline.d, strangers, rng) > 0.5
    distill = replace(plan.rules.distill, min_support=10_000)
    kept = replace(plan, rules=replace(plan.rules, distill=distill))
    assert difference(kept, pipeline, pipeline.d, strangers, rng) == 0.0
