"""`privacy=dp`: what it costs, what it refuses, what it forgets never, and what an attack finds."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from qsynth.cli.main import main
from qsynth.distill import payload_statistics, read_evidence
from qsynth.distill.analytic import Analytic
from qsynth.distill.mosaic import Mosaic
from qsynth.errors import ConfigError, StateError
from qsynth.host.join import JoinMesh
from qsynth.privacy import Budget, NoPrivacy, Release, bound, check_home, key_of
from qsynth.privacy.dp import DifferentialPrivacy
from qsynth.privacy.measured import epsilon_bound, leaning, measured_epsilon
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.types import Task

pytest.importorskip("dp_accounting", reason="needs the extra privacy")
from qsynth.privacy.accountant import epsilon_of, noise_multiplier

D, C, DELTA = 12, 3, 1e-5


def gaussian_epsilon(mu: float, delta: float = DELTA) -> float:
    """The exact curve of the Gaussian mechanism (Balle & Wang 2018; Dong, Roth & Su 2022)."""

    def excess(epsilon: float) -> float:
        high = norm.cdf(-epsilon / mu + mu / 2.0)
        return high - math.exp(epsilon) * norm.cdf(-epsilon / mu - mu / 2.0) - delta

    return float(brentq(excess, 1e-9, 200.0))


@pytest.mark.parametrize(("epsilon", "releases"), [(1.0, 1), (8.0, 1), (3.0, 5), (8.0, 30)])
def test_the_noise_is_what_the_exact_curve_asks_for(epsilon, releases) -> None:
    multiplier = noise_multiplier(epsilon, DELTA, releases)
    exact = gaussian_epsilon(math.sqrt(releases) / multiplier)
    assert exact == pytest.approx(epsilon, rel=1e-6)
    assert exact <= epsilon * 1.0001  # never too little
    assert epsilon_of([multiplier] * releases, DELTA) == pytest.approx(exact, rel=1e-6)


def test_different_releases_add_up_as_their_squares() -> None:
    mu = math.sqrt(1.0 / 1.5**2 + 2.0 / 2.5**2)
    assert epsilon_of([1.5, 2.5, 2.5], DELTA) == pytest.approx(gaussian_epsilon(mu), rel=1e-6)
    assert epsilon_of([], DELTA) == 0.0


def test_what_releases_cost_is_what_privacy_loss_distributions_say() -> None:
    """The slow way, by the library's accountant: on a grid that rounds up."""
    events, pld = pytest.importorskip("dp_accounting"), pytest.importorskip("dp_accounting.pld")
    accountant = pld.PLDAccountant()
    for multiplier, count in ((1.5, 1), (2.5, 2)):
        accountant.compose(events.GaussianDpEvent(multiplier), count)
    assert accountant.get_epsilon(DELTA) == pytest.approx(
        epsilon_of([1.5, 2.5, 2.5], DELTA), rel=1e-3
    )


def world(seed: int = 0, n: int = 300):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % C
    features = rng.standard_normal((n, D)) + 2.0 * np.eye(D)[labels]
    return features.astype(np.float32), labels


def told(rule: DifferentialPrivacy, x, y, key: bytes = bytes(32), coding: str = "low_rank"):
    payload, made = rule.class_payload(Analytic(d=D, coding=coding), D, [x], None, y, C, key)
    (release,) = made
    return payload, release


@pytest.mark.parametrize("coding", ["low_rank", "diagonal", "means"])
def test_a_packet_is_one_that_receivers_read_and_the_same_records_make_the_same(coding) -> None:
    rule, (x, y) = DifferentialPrivacy(), world()
    payload, release = told(rule, x, y, coding=coding)
    again, same = told(rule, x.copy(), y.copy(), coding=coding)
    assert release == same
    assert all(np.array_equal(payload[key], again[key]) for key in payload)
    read = payload_statistics(payload)
    assert read.dimensions == D
    assert 0 < read.counts.sum() <= 400
    other, new = told(rule, x[1:], y[1:], coding=coding)
    assert new.digest != release.digest
    assert any(not np.array_equal(payload[key], other[key]) for key in payload)
    strange, theirs = told(rule, x, y, key=bytes([1] * 32), coding=coding)
    assert theirs.digest != release.digest
    assert any(not np.array_equal(payload[key], strange[key]) for key in payload)


def test_less_noise_is_nearer_to_the_records(monkeypatch) -> None:
    x, y = world()
    exact = np.stack([x[y == c].mean(axis=0) for c in range(C)])
    off = []
    for multiplier in (3.0, 0.6, 0.02):
        monkeypatch.setattr(DifferentialPrivacy, "multiplier", multiplier)
        errors = []
        for number in range(5):
            made = told(DifferentialPrivacy(norm=2.0), x, y, bytes([number] * 32))
            read = payload_statistics(made[0])
            here = read.counts > 0
            errors.append(np.square(read.means() - exact)[here].mean() if here.any() else 10.0)
        off.append(float(np.mean(errors)))
    assert off[0] > off[1] > off[2]
    assert off[2] < 0.05


def test_packets_of_numbers_are_read_and_point_the_right_way() -> None:
    x, _ = world(1, 2000)
    y = (x[:, :1] - 0.5 * x[:, 1:2]).astype(np.float32)
    payload, release = DifferentialPrivacy(norm=2.0).target_payload(
        Analytic(d=D), D, x, x, y, "values", bytes(32)
    )
    assert release is not None
    joint = read_evidence(payload).joint
    assert joint is not None
    assert joint.counts[0] == pytest.approx(2000, abs=60)
    weights = np.linalg.solve(joint.scatter[1:, 1:], joint.scatter[1:, 0])
    assert np.argmax(weights) == 0
    assert np.argmin(weights) == 1


def test_what_would_tell_more_is_refused() -> None:
    rule, sketch = DifferentialPrivacy(), ClassSketch()
    rule.check_rules(Analytic(), sketch)
    with pytest.raises(ConfigError, match=r"distill.name=mosaic.*distill=analytic"):
        rule.check_rules(Mosaic(), sketch)
    with pytest.raises(ConfigError, match=r"distill.input_rank=8.*own_mix"):
        rule.check_rules(Analytic(input_rank=8), sketch)
    with pytest.raises(ConfigError, match=r"query_support=2"):
        rule.check_rules(Analytic(), replace(sketch, query_support=2))
    assert rule.told_samples(17) == rule.told_samples(100_000)
    assert NoPrivacy().told_samples(17) == 17


def test_the_command_line_says_so_too(capsys) -> None:
    words = ["run", "+recipe=digits_mesh", "privacy=dp"]
    assert main([*words]) == 2
    assert "privacy=dp does not cover statistics of raw inputs" in capsys.readouterr().err
    assert main([*words, "privacy.epsilon=0"]) == 2
    assert "privacy.epsilon=0: must be >= 0.01" in capsys.readouterr().err
    assert main(["plan", *words[1:], "synthesis.teach.inputs=own_mix"]) == 0
    assert "(8, 1e-05)-differential privacy" in capsys.readouterr().out


def test_a_budget_outlives_its_node_and_a_spent_one_publishes_nothing(tmp_path) -> None:
    rule = DifferentialPrivacy(epsilon=3.0, releases=2)
    one, two, three = (Release(name, rule.multiplier) for name in "abc")
    budget = Budget(rule, tmp_path / "home")
    assert budget.takes([one])
    assert budget.takes([one])  # sent again
    assert budget.spent == [rule.multiplier]
    again = Budget(rule, tmp_path / "home")
    assert again.takes([two])
    assert not again.takes([three])
    assert not Budget(rule, tmp_path / "home").takes([three])
    assert Budget(rule, tmp_path / "home").takes([two])
    said = again.told()
    assert said["spent"] == pytest.approx(3.0, rel=2e-3)
    assert said["releases"] == 2
    # Whoever asks for more epsilon later has what is left of it, not all of it.
    larger = Budget(replace(rule, epsilon=4.0), tmp_path / "home")
    assert not larger.takes([Release("d", DifferentialPrivacy(epsilon=4.0).multiplier)])
    assert Budget(NoPrivacy(), None).takes([])
    assert Budget(NoPrivacy(), None).told() is None


def test_a_line_that_was_torn_has_told_nobody_of_anything(tmp_path) -> None:
    rule = DifferentialPrivacy(releases=2)
    assert Budget(rule, tmp_path).takes([Release("a", rule.multiplier)])
    path = tmp_path / "privacy.jsonl"
    with path.open("a") as file:
        file.write('{"release": "b", "mul')
    again = Budget(rule, tmp_path)
    assert len(again.spent) == 1
    assert again.takes([Release("c", rule.multiplier)])
    assert len(Budget(rule, tmp_path).spent) == 2


def test_exact_statistics_that_have_left_are_not_forgotten(tmp_path) -> None:
    with pytest.raises(StateError, match="has published exact statistics"):
        check_home(DifferentialPrivacy(), True, tmp_path)
    check_home(DifferentialPrivacy(), False, tmp_path)
    check_home(NoPrivacy(), True, tmp_path)
    Budget(DifferentialPrivacy(), tmp_path).takes([Release("a", 1.0)])
    check_home(DifferentialPrivacy(), True, tmp_path)


def test_what_the_numbers_follow_from_is_in_the_name_of_a_release(monkeypatch) -> None:
    x, y = world()
    rule = DifferentialPrivacy()
    names = {told(rule, x, y)[1].digest}
    monkeypatch.setattr("qsynth.privacy.dp.MOMENTS", (0.2, 0.3, 0.4))
    names.add(told(rule, x, y)[1].digest)
    names.add(told(replace(rule, norm=2.0), x, y)[1].digest)
    names.add(told(rule, x, y, bound(bytes(32), b"another encoder"))[1].digest)
    assert len(names) == 4


def test_without_a_secret_nothing_is_released() -> None:
    x, y = world()
    with pytest.raises(StateError, match="no secret"):
        told(DifferentialPrivacy(), x, y, bound(b"", b"an encoder"))


def test_extreme_settings_make_packets_that_are_read() -> None:
    x, y = world()
    rule = DifferentialPrivacy(epsilon=0.05, norm=1000.0)
    for number in range(10):
        payload_statistics(told(rule, x, y, bytes([number] * 32))[0])


def test_a_script_needs_a_home() -> None:
    task = Task("t", 1, ("a", "b", "c"), "vector", (D,), "numbers", -9.0, 9.0)
    x, y = world()
    with pytest.raises(ConfigError, match="privacy=dp: needs home=FOLDER"):
        JoinMesh(task, (x[:60], y[:60]), (x[60:], y[60:]), privacy=DifferentialPrivacy())


@pytest.mark.parametrize(
    "text", ["{\n", '{"release": 1}\n', '{"release": "a", "multiplier": "x"}\n']
)
def test_a_torn_budget_is_told_and_never_forgotten(tmp_path, text) -> None:
    (tmp_path / "privacy.jsonl").write_text(text)
    with pytest.raises(StateError, match="cannot be read"):
        Budget(DifferentialPrivacy(), tmp_path)


def test_a_node_keeps_its_key(tmp_path) -> None:
    key = key_of(tmp_path / "home")
    assert len(key) == 32
    assert key_of(tmp_path / "home") == key
    assert key_of(tmp_path / "other") != key
    assert (tmp_path / "home" / "noise.key").stat().st_mode & 0o077 == 0
    (tmp_path / "home" / "noise.key").write_bytes(b"short")
    with pytest.raises(StateError, match="must hold 32 bytes"):
        key_of(tmp_path / "home")


def attacked(rule: DifferentialPrivacy, scale: float, times: int, monkeypatch) -> float:
    """The epsilon that an attack refutes; `scale` times the noise that there should be."""
    x, y = world(3, 60)
    far = np.zeros((1, D), np.float32)
    far[0, -1] = 1e3  # cut to the norm: as far from all others as a record can be
    more_x, more_y = np.concatenate([x, far]), np.append(y, 2)
    multiplier = rule.multiplier
    monkeypatch.setattr(DifferentialPrivacy, "multiplier", scale * multiplier)

    def release(features, labels):
        return lambda key: payload_statistics(told(rule, features, labels, key)[0])

    with_ = leaning(release(more_x, more_y), far[0] / 1e3, 2, times)
    without = leaning(release(x, y), far[0] / 1e3, 2, times)
    return measured_epsilon(with_, without, rule.delta)


def test_an_attack_finds_no_more_than_epsilon_and_finds_noise_that_is_too_small(
    monkeypatch,
) -> None:
    rule = DifferentialPrivacy(epsilon=1.0, delta=1e-5)
    assert attacked(rule, 1.0, 900, monkeypatch) <= 1.0
    monkeypatch.undo()
    assert attacked(rule, 0.1, 900, monkeypatch) > 1.0


def test_an_epsilon_is_refuted_by_scores_that_differ_and_by_no_others() -> None:
    rng = np.random.default_rng(0)
    draw = rng.standard_normal
    same = [epsilon_bound(draw(600), draw(600), DELTA) for _ in range(40)]
    assert np.mean(np.array(same) > 0.0) <= 0.1
    apart = epsilon_bound(rng.standard_normal(4000) + 3.0, rng.standard_normal(4000), DELTA)
    assert 2.0 < apart < gaussian_epsilon(3.0)


@pytest.mark.slow
def test_a_run_says_what_it_has_spent_and_the_same_run_is_the_same(tmp_path, capsys) -> None:
    words = [
        "run",
        "+recipe=digits_mesh",
        "privacy=dp",
        "synthesis.teach.inputs=own_mix",
        "placement=simulate",
        "fleet.mlp.count=2",
        "fleet.cnn.count=1",
        "fleet.linear.count=1",
        "trainer.max_steps=40",
        "trainer.period_steps=20",
        "baselines=[]",
        f"folder={tmp_path}",
        "--json",
        "--quiet",
    ]
    made = []
    for _ in range(2):
        assert main(words) == 0
        made.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    for summary in made:
        assert summary["privacy"]["epsilon"] == 8.0
        assert summary["privacy"]["spent"] == pytest.approx(8.0, rel=1e-2)
        assert summary["privacy"]["releases"] == 1
        assert summary["packets"]["rejected"] == {}
        assert summary["packets"]["admitted"] > 0
    assert made[0]["accuracy"] == made[1]["accuracy"]
    homes = sorted(tmp_path.glob("*/nodes/mlp-0/privacy.jsonl"))
    assert len(homes) == 2
    page = next(tmp_path.glob("*/report.html")).read_text()
    assert "epsilon 8, delta 1e-05" in page
