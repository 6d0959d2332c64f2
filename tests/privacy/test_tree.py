"""Growing records under a guarantee: few sums a record, the right noise, a budget that holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qsynth.distill import payload_statistics, read_evidence
from qsynth.distill.analytic import Analytic
from qsynth.privacy import Budget
from qsynth.privacy.budget import most_of_a_record
from qsynth.privacy.tree import Interval, added_up, cover, intervals, levels
from tests.privacy.test_dp import C, D, DifferentialPrivacy, world

pytest.importorskip("dp_accounting", reason="needs the extra privacy")
KEY = bytes(range(32))
DAYS = 12
ENDS = tuple(range(300, 300 + 10 * DAYS, 10))


def packet(rule, x, y, ends, key=KEY):
    payload, releases = rule.class_payload(Analytic(d=D), D, [x], None, y, C, key, ends)
    return payload_statistics(payload), releases


@pytest.mark.parametrize("batches", range(1, 40))
def test_intervals_hold_every_batch_once_and_few_hold_the_same(batches) -> None:
    held = [b for each in cover(batches) for b in range(batches)[_batches(each)]]
    assert held == list(range(batches))
    for batch in range(batches):
        within = [each for each in intervals(batches) if batch in range(batches)[_batches(each)]]
        assert len(within) <= levels(batches)
        assert len({each.level for each in within}) == len(within)


def _batches(interval: Interval) -> slice:
    return slice(interval.place << interval.level, (interval.place + 1) << interval.level)


@pytest.mark.parametrize("batches", [1, 2, 3, 7, 8, 13])
def test_a_total_is_right_on_average_and_as_noisy_as_it_says(batches) -> None:
    """Against the obvious way: many draws of noise, added up."""
    rng = np.random.default_rng(0)
    ends = np.cumsum(rng.integers(1, 5, batches))
    records = rng.standard_normal(ends[-1])
    drawn, said = [], 0.0
    for _ in range(4000):
        noise = {each: rng.standard_normal() for each in intervals(batches)}

        def released(interval, noise=noise):
            return (np.array([records[interval.rows(ends)].sum() + noise[interval]]),)

        (total,), said = added_up(batches, released)
        drawn.append(float(total[0]))
    assert np.mean(drawn) == pytest.approx(records.sum(), abs=4 * np.sqrt(said / 4000))
    assert np.var(drawn) == pytest.approx(said, rel=0.1)
    assert said <= len(cover(batches))


def test_no_days_are_a_single_release_and_days_are_few_sums() -> None:
    rule, (x, y) = DifferentialPrivacy(), world()
    one, releases = packet(rule, x, y, ())
    same, again = packet(rule, x, y, (100, 200, 300))
    assert releases == again, "without updates the records are one batch"
    np.testing.assert_array_equal(one.sums, same.sums)
    assert replace(rule, updates=90).sums_of_a_record == 7
    assert replace(rule, updates=1).multiplier == replace(rule, releases=2).multiplier
    assert replace(rule, updates=90).multiplier < replace(rule, releases=91).multiplier / 3


def test_the_same_days_make_the_same_packet_and_all_of_them_fit_the_budget(tmp_path) -> None:
    rule = DifferentialPrivacy(updates=DAYS - 1)
    x, y = world(n=ENDS[-1])
    budget, last = Budget(rule, tmp_path), None
    for day in range(1, DAYS + 1):
        ends = ENDS[:day]
        said, releases = packet(rule, x[: ends[-1]], y[: ends[-1]], ends)
        assert budget.takes(releases)
        assert budget.takes(packet(rule, x[: ends[-1]], y[: ends[-1]], ends)[1]), "sent again"
        assert last is None or not np.array_equal(said.sums, last.sums)
        last = said
        told = Budget(rule, tmp_path).told()
        assert told == budget.told()
        assert told["releases"] == day
        assert told["spent"] <= rule.epsilon
    assert told["spent"] == pytest.approx(rule.epsilon, rel=1e-3)
    # What a record is in at most, counted one by one.
    batches = dict.fromkeys(range(DAYS), 0)
    for each in {(r.level, r.place) for r in budget._spent.values()}:
        for b in range(each[1] << each[0], (each[1] + 1) << each[0]):
            batches[b] += 1
    assert max(batches.values()) == len(budget.spent) == rule.sums_of_a_record
    # Days that nobody has budgeted for publish nothing, once they need a level more.
    longer = (*ENDS, *range(ENDS[-1] + 10, ENDS[-1] + 50, 10))
    x, y = world(n=longer[-1])
    x[: ENDS[-1]], y[: ENDS[-1]] = world(n=ENDS[-1])
    assert len(longer) == 16
    assert not budget.takes(packet(rule, x, y, longer)[1])


def test_records_that_have_changed_count_in_every_sum() -> None:
    rule, (x, y) = DifferentialPrivacy(updates=3), world()
    _, first = packet(rule, x, y, (200, 250, 300))
    other = x.copy()
    other[220] += 1.0
    _, second = packet(rule, other, y, (200, 250, 300))
    both = {r.digest: r for r in (*first, *second)}
    assert len(most_of_a_record(first)) == 2
    assert len(most_of_a_record(both.values())) == len(both)
    # Another first batch is another tree: each counts by itself.
    changed = x.copy()
    changed[0] += 1.0
    _, third = packet(rule, changed, y, (200, 250, 300))
    assert not {r.digest for r in first} & {r.digest for r in third}
    assert len(most_of_a_record((*first, *third))) == 4


def test_many_days_are_less_noisy_in_a_tree_than_each_by_itself() -> None:
    x, y = world(n=300)
    exact = np.stack([x[y == c].mean(axis=0) for c in range(C)])
    ends = tuple(range(176, 301, 4))
    off = {}
    for name, rule in (
        ("tree", DifferentialPrivacy(epsilon=20.0, norm=2.0, updates=len(ends) - 1)),
        ("apart", DifferentialPrivacy(epsilon=20.0, norm=2.0, releases=len(ends))),
    ):
        errors = []
        for number in range(20):
            said, _ = packet(rule, x, y, ends, bytes([number] * 32))
            here = said.counts > 0
            errors.append(np.square(said.means() - exact)[here].mean() if here.any() else 4.0)
        off[name] = np.mean(errors)
    assert off["tree"] < 0.6 * off["apart"]


def test_values_grow_as_well() -> None:
    x, _ = world(1, 2000)
    y = (x[:, :1] - 0.5 * x[:, 1:2]).astype(np.float32)
    rule = DifferentialPrivacy(norm=2.0, updates=4)
    payload, releases = rule.target_payload(
        Analytic(d=D), D, x, x, y, "values", KEY, (1000, 1500, 2000)
    )
    assert len(releases) == 4
    joint = read_evidence(payload).joint
    assert joint.counts[0] == pytest.approx(2000, abs=150)
    weights = np.linalg.solve(joint.scatter[1:, 1:], joint.scatter[1:, 0])
    assert np.argmax(weights) == 0
    assert np.argmin(weights) == 1
