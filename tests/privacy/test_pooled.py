"""Contributions to sums: what one record changes, how large the noise is, what a sum says."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.distill import payload_statistics
from qsynth.distill.analytic import Analytic
from qsynth.distill.mosaic import Mosaic
from qsynth.errors import ConfigError, StateError
from qsynth.experiment.told import added
from qsynth.host.join import JoinMesh
from qsynth.packet import class_statistics, joint_statistics
from qsynth.privacy import Budget, Contribution, Sum
from qsynth.privacy.measured import leaning, measured_epsilon
from qsynth.privacy.secure_sum import SecureSum
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.types import Task

pytest.importorskip("dp_accounting", reason="needs the extra privacy")
from qsynth.privacy.dp import CLASSES, MOMENTS
from qsynth.privacy.dp_secure_sum import DpSecureSum

D, C = 10, 3
RULE = Analytic()


def world(seed: int, n: int = 80):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % C
    return (rng.standard_normal((n, D)) + np.eye(D)[y] * 2.0).astype(np.float32), y


def given(rule, seed: int, x=None, y=None, key: bytes | None = None) -> Contribution:
    if x is None:
        x, y = world(seed)
    made = rule.class_contribution(RULE, D, [x], x, y, C, key or bytes([seed] * 32))
    assert made is not None
    return made


@pytest.mark.parametrize("rule", [SecureSum(), DpSecureSum()])
def test_a_step_has_as_many_numbers_as_the_plan_says(rule) -> None:
    made = given(rule, 1)
    assert tuple(made.sizes) == rule.class_sizes(D, C)
    sums = added([made, given(rule, 2), given(rule, 3)])
    assert [len(each.numbers) for each in sums] == list(made.sizes)
    assert rule.member_bytes(made.sizes) > 9 * sum(made.sizes)


def test_an_exact_sum_less_ones_own_is_that_of_the_others() -> None:
    cohort = [given(SecureSum(), seed) for seed in range(4)]
    sums = added(cohort)
    for mine in range(4):
        x, y = (
            np.concatenate(part)
            for part in zip(*(world(s) for s in range(4) if s != mine), strict=True)
        )
        exact = class_statistics(x, y, C)
        said = cohort[mine].others(sums, bytes(16)).features
        np.testing.assert_array_equal(said.counts, exact.counts)
        np.testing.assert_allclose(said.sums, exact.sums, atol=1e-3)
        np.testing.assert_allclose(said.scatter, exact.scatter, atol=1e-3)
    read = payload_statistics(cohort[0].payload(sums))
    assert read.counts.sum() == 320


def test_classes_of_few_samples_are_not_added() -> None:
    x, y = world(1)
    few = np.concatenate([np.flatnonzero(y != 2), np.flatnonzero(y == 2)[:3]])
    rare = given(SecureSum(), 1, x[few], y[few])
    assert rare.numbers([], bytes(16))[2] == 0.0
    said = rare.steps.statistics(added([rare, rare]))
    assert said.counts[2] == 0.0
    kept = y[few] != 2
    exact = class_statistics(x[few][kept], y[few][kept], C)
    np.testing.assert_allclose(said.scatter, 2 * exact.scatter, atol=1e-3)


def test_joint_statistics_add_up_and_come_apart_in_the_same_way() -> None:
    cohort, both = [], []
    for seed in range(3):
        x, _ = world(seed)
        y = x[:, :2] @ np.float32([[1.0, 0.5], [-1.0, 2.0]])
        both.append((x, y))
        cohort.append(
            SecureSum().target_contribution(RULE, D, x, x, y, "values", bytes([seed] * 32))
        )
    sums = added(cohort)
    x, y = (np.concatenate(part) for part in zip(*both[1:], strict=True))
    exact = joint_statistics(x, y)
    said = cohort[0].others(sums, bytes(16))
    assert said.joint is not None
    assert said.joint.counts.tolist() == [160.0]
    np.testing.assert_allclose(said.joint.sums, exact.sums, atol=0.5)
    near = said.joint.scatter[:2, 2:]
    np.testing.assert_allclose(near, exact.scatter[:2, 2:], atol=0.02 * np.abs(near).max())


def test_joint_statistics_with_noise_point_the_right_way() -> None:
    rule, cohort = DpSecureSum(cohort=4, smallest=4, epsilon=8.0), []
    for seed in range(4):
        x, _ = world(seed, 1500)
        y = x[:, :1] - 0.5 * x[:, 1:2]
        cohort.append(rule.target_contribution(RULE, D, x, x, y, "values", bytes([seed] * 32)))
    said = cohort[0].others(added(cohort), bytes(16)).joint
    assert said is not None
    assert said.counts[0] == pytest.approx(4500, abs=200)
    weights = np.linalg.solve(said.scatter[1:, 1:], said.scatter[1:, 0])
    assert np.argmax(weights) == 0
    assert np.argmin(weights) == 1


def weighed(made: Contribution, first: Sum) -> np.ndarray:
    """All numbers of both steps, each times its weight, as the sensitivity counts them."""
    moments, classes = made.numbers([], bytes(16)), made.numbers([first], bytes(16))
    beside = np.where(np.eye(D)[np.triu_indices(D)] > 0, 1.0, math.sqrt(2.0))
    return np.concatenate(
        [
            MOMENTS[0] * moments[:1],
            MOMENTS[1] * moments[1 : 1 + D],
            MOMENTS[2] * moments[1 + D :] * beside,
            CLASSES[0] * classes[:C],
            CLASSES[1] * classes[C : C * (1 + D)],
            CLASSES[2] * classes[C * (1 + D) :] * beside,
        ]
    )


def test_one_record_changes_numbers_by_one_at_most(monkeypatch) -> None:
    monkeypatch.setattr(DpSecureSum, "share", 1e-9)
    x, y = world(0)
    first = added([given(DpSecureSum(), seed) for seed in range(3)])[0]
    whole, most = weighed(given(DpSecureSum(), 0), first), 0.0
    for out in range(0, 80, 5):
        rest = np.arange(80) != out
        less = weighed(given(DpSecureSum(), 0, x[rest], y[rest]), first)
        most = max(most, float(np.linalg.norm(whole - less)))
    assert 0.3 < most <= 1.0 + 1e-6


def test_the_noise_of_the_smallest_sum_less_the_colluding_is_enough() -> None:
    rule = DpSecureSum(cohort=8, smallest=6, colluding=2)
    assert rule.honest == 4
    assert math.sqrt(4) * rule.share == pytest.approx(rule.multiplier)
    x = np.zeros((0, D), np.float32)
    none = np.zeros(0, np.int64)
    rows = []
    for number in range(150):
        sums = [
            given(rule, 0, x, none, number.to_bytes(2, "big") * 15 + bytes([member, 0]))
            for member in range(4)
        ]
        rows.append(np.sum([each.numbers([], bytes(16)) for each in sums], axis=0))
    noise = np.array(rows)
    assert noise[:, 0].std() == pytest.approx(rule.multiplier / MOMENTS[0], rel=0.2)
    assert noise[:, 1 : 1 + D].std() == pytest.approx(rule.multiplier / MOMENTS[1], rel=0.06)


def test_noise_is_new_in_each_session_and_for_each_sum_before_it() -> None:
    made = given(DpSecureSum(), 1)
    first = added([made, given(DpSecureSum(), 2)])[0]
    other = Sum(first.numbers + 1.0, first.members)
    one, two = bytes(16), bytes([1] * 16)
    assert np.array_equal(made.numbers([], one), made.numbers([], one))
    for a, b in (
        (made.numbers([], one), made.numbers([], two)),
        (made.numbers([first], one), made.numbers([first], two)),
        (made.numbers([first], one), made.numbers([other], one)),
    ):
        assert (a != b).all()
    with pytest.raises(StateError, match="no secret"):
        DpSecureSum().class_contribution(RULE, D, [world(1)[0]], *world(1), C, b"")


@pytest.mark.slow
def test_what_an_attack_measures_is_below_what_is_stated_and_too_little_noise_is_found(
    monkeypatch,
) -> None:
    """Of the sum of the honest members alone: all other records are known."""
    rule, (x, y) = DpSecureSum(cohort=4, smallest=4, epsilon=1.0), world(3)
    away = -np.ones(D) / math.sqrt(D)
    far = np.concatenate([x, 100.0 * away[None].astype(np.float32)])

    def measured() -> float:
        def released(rows, labels):
            def make(key: bytes):
                cohort = [given(rule, 0, rows, labels, key)]
                for member in range(1, rule.honest):
                    secret = bytes([member]) + key[1:]
                    cohort.append(given(rule, 0, rows[:0], labels[:0], secret))
                return cohort[0].steps.statistics(added(cohort))

            return make

        with_ = leaning(released(far, np.append(y, 0)), away, 0, 600)
        return measured_epsilon(with_, leaning(released(x, y), away, 0, 600), 1e-5)

    assert measured() <= 1.0
    monkeypatch.setattr(DpSecureSum, "share", rule.share / 10.0)
    assert measured() > 1.0


def test_records_go_into_one_sum_and_the_file_says_so(tmp_path) -> None:
    made = given(SecureSum(), 1)
    assert not made.pay(b"a" * 16)  # before there is anything to count it against
    made.budget = Budget(SecureSum(), tmp_path)
    assert made.pay(b"a" * 16)
    assert not made.pay(b"b" * 16)
    again = given(SecureSum(), 1)
    again.budget = Budget(SecureSum(), tmp_path)
    assert not again.pay(b"b" * 16)
    assert again.pay(b"a" * 16)
    twice = DpSecureSum(releases=2)
    budget = Budget(twice, None)
    for session, fits in ((b"a", True), (b"b", True), (b"c", False)):
        mine = given(twice, 1)
        mine.budget = budget
        assert mine.pay(session * 16) is fits


def test_what_would_tell_more_is_refused() -> None:
    for rule in (SecureSum(), DpSecureSum()):
        name, sketch = rule.name, ClassSketch()
        for distill, similarity, words in (
            (Mosaic(), sketch, f"privacy={name} does not cover; use distill=analytic"),
            (Analytic(input_rank=4), sketch, "distill.input_rank=4"),
            (Analytic(coding="means"), sketch, "distill.coding=means"),
            (RULE, replace(sketch, query_support=1), "similarity.query_support=1"),
        ):
            with pytest.raises(ConfigError, match=words):
                rule.check_rules(distill, similarity)
        rule.check_rules(RULE, sketch)
        with pytest.raises(ConfigError, match=r"privacy.smallest=9: must be <= privacy.cohort=8"):
            replace(rule, cohort=8, smallest=9).check_rules(RULE, sketch)
        with pytest.raises(ConfigError, match=r"distill.d=200: a sum of"):
            rule.class_sizes(200, C)
        with pytest.raises(ConfigError, match=r"privacy.situation"):
            replace(rule, situation="{ward}").situated(group=1, site=None, node="a")
    with pytest.raises(ConfigError, match=r"privacy.colluding=6: must be < privacy.smallest=6"):
        DpSecureSum(cohort=8, colluding=6).check_rules(RULE, ClassSketch())
    with pytest.raises(ConfigError, match=r"privacy.most_samples=64: a node has 80"):
        given(SecureSum(most_samples=64), 1)
    for bad in ({"cohort": 2}, {"smallest": 2}, {"cohort": 65}):
        with pytest.raises(ConfigError):
            SecureSum(**bad)


def test_situations_and_settings_keep_nodes_apart() -> None:
    rule = SecureSum(situation="turned {group}")
    told = {
        given(rule.situated(group=group, site=None, node="a"), 1).cohort.terms for group in (0, 1)
    }
    told |= {given(replace(rule, cohort=8), 1).cohort.terms, given(DpSecureSum(), 1).cohort.terms}
    assert len(told) == 4


def test_a_plan_says_what_is_promised_and_what_it_costs(capsys) -> None:
    words = ["plan", "+recipe=digits_mesh", "privacy=dp_secure_sum", "privacy.cohort=8"]
    assert main([*words, "synthesis.teach.inputs=own_mix"]) == 0
    told = capsys.readouterr().out
    assert "(8, 1e-05)-differential privacy" in told
    assert "a member, sent and received" in told
    assert main([*words, "synthesis.teach.inputs=own_mix", "distill.d=200"]) == 2
    assert "distill.d=200: a sum of" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["secure_sum", "dp_secure_sum"])
def test_nodes_of_a_run_add_up_and_their_summary_says_so(
    tmp_path, capsys, rule, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["+recipe=digits_mesh", f"privacy={rule}", "privacy.cohort=8", "baselines=[]"]
    words += ["synthesis.teach.inputs=own_mix", "trainer.max_steps=160", "trainer.period_steps=20"]
    assert main(["run", *words, "placement=simulate", "partition=iid"]) == 0
    told = capsys.readouterr().out
    assert "nodes hold a sum of" in told
    (summary,) = tmp_path.glob("runs/*/summary.json")
    made = json.loads(summary.read_text())
    assert len(made["cohorts"]) >= 6
    assert made["packets"]["published"] <= 2  # the sum alone, by who has gathered it
    for ledger in tmp_path.glob("runs/*/nodes/*/privacy.jsonl"):
        assert len(ledger.read_text().splitlines()) == 1


def test_a_tag_that_is_not_known_a_small_message_and_sums_of_packets_are_refused(capsys) -> None:
    words = ["plan", "+recipe=digits_mesh", "privacy=secure_sum", "synthesis.teach.inputs=own_mix"]
    for more, told in (
        (["peers=sums"], "peers.name=sums: adds packets of single nodes"),
        (["mesh.max_message_bytes=40000"], "mesh.max_message_bytes=40000: must be >= 65536"),
        (["distill.d=110"], "distill.d=110: a sum of"),
    ):
        assert main([*words, *more]) == 2
        assert told in capsys.readouterr().err
    words[0] = "run"
    for more in (["partition=iid", "privacy.situation='{group}'"], ["privacy.situation='{ward}'"]):
        assert main([*words, *more, "placement=simulate"]) == 2
        assert "names what is not known here" in capsys.readouterr().err
    x, y = world(1)
    task = Task("t", 1, ("a", "b", "c"), "vector", (D,), "", 0.0, 1.0)
    rule = SecureSum(situation="{group}")
    with pytest.raises(ConfigError, match="names what is not known here"):
        JoinMesh(task, train=(x, y), validation=(x[:9], y[:9]), privacy=rule, home="home")


def test_what_its_owner_is_shown_of_many_samples_is_their_number() -> None:
    made = given(SecureSum(most_samples=200_000), 1, *world(1, 200_000))
    assert made.shown()["counts"].sum() == 200_000
