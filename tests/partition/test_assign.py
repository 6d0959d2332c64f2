from __future__ import annotations

import numpy as np
import pytest

from qsynth.errors import ConfigError
from qsynth.partition import assign_samples
from qsynth.partition.dirichlet import Dirichlet
from qsynth.partition.even import in_shares
from qsynth.partition.iid import Iid
from qsynth.partition.label_groups import LabelGroups
from qsynth.partition.label_swap import LabelSwap
from qsynth.partition.natural import Natural
from qsynth.partition.rotations import Rotations

LABELS = np.tile(np.arange(10), 120)
SITE = np.arange(1200) % 6
SHAPE = (1, 8, 8)
CONFIGS = [
    Iid(),
    Iid(samples_per_node=50, audit_share=0.1),
    Dirichlet(),
    Dirichlet(samples_per_node=80),
    LabelGroups(groups=3, samples_per_node=60),
    Rotations(samples_per_node=75),
    LabelSwap(samples_per_node=75),
    Natural(),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_nothing_overlaps_and_the_seed_decides(config) -> None:
    shares = assign_samples(config, LABELS, 10, 6, 3, SITE, SHAPE)
    parts = [p for s in shares for p in (s.train, s.validation, s.audit)]
    everything = np.concatenate(parts)
    assert len(np.unique(everything)) == len(everything)
    again = assign_samples(config, LABELS, 10, 6, 3, SITE, SHAPE)
    other = assign_samples(config, LABELS, 10, 6, 4, SITE, SHAPE)
    assert all(np.array_equal(a.train, b.train) for a, b in zip(shares, again, strict=True))
    assert not all(np.array_equal(a.train, b.train) for a, b in zip(shares, other, strict=True))
    for share in shares:
        total = len(share.train) + len(share.validation) + len(share.audit)
        assert len(share.validation) == round(config.validation_share * total)
        assert len(share.audit) == round(config.audit_share * total)
        if config.samples_per_node:
            assert total == config.samples_per_node


def test_the_partitions_own_seed_wins() -> None:
    a = assign_samples(Iid(seed=1), LABELS, 10, 4, 3)
    b = assign_samples(Iid(seed=1), LABELS, 10, 4, 9)
    assert all(np.array_equal(x.train, y.train) for x, y in zip(a, b, strict=True))


def test_rotations_balance_labels_in_training_too() -> None:
    shares = assign_samples(Rotations(samples_per_node=75), LABELS, 10, 8, 0, None, SHAPE)
    for share in shares:
        assert np.bincount(LABELS[share.train], minlength=10).min() >= 5
    assert [s.group for s in shares] == [0, 1, 2, 3] * 2
    image = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)
    assert np.array_equal(shares[1].inputs(image), np.rot90(image, 1, axes=(2, 3)))
    assert shares[0].inputs(image) is image


def test_label_groups_hold_only_their_labels() -> None:
    shares = assign_samples(LabelGroups(groups=2, labels_per_group=5), LABELS, 10, 4, 0)
    sets = [frozenset(LABELS[s.train]) for s in shares]
    assert all(len(labels) == 5 for labels in sets)
    assert sets[0] == sets[2] != sets[1]
    assert sets[0] | sets[1] == frozenset(range(10))


def test_label_swaps_are_permutations_and_the_first_group_keeps_its_names() -> None:
    shares = assign_samples(LabelSwap(groups=3, swapped=4), LABELS, 10, 6, 0)
    for share in shares:
        assert sorted(share.label_map) == list(range(10))
    assert np.array_equal(shares[0].label_map, np.arange(10))
    assert (shares[1].label_map != np.arange(10)).sum() == 4
    assert np.array_equal(shares[1].labels(np.arange(10)), shares[1].label_map)


def test_dirichlet_is_more_skewed_with_a_smaller_alpha() -> None:
    def skew(alpha: float) -> float:
        shares = assign_samples(Dirichlet(alpha=alpha, min_samples=1), LABELS, 10, 5, 0)
        tops = [np.bincount(LABELS[s.train], minlength=10).max() / len(s.train) for s in shares]
        return float(np.mean(tops))

    assert skew(0.1) > skew(1.0) > skew(100.0)


def test_natural_follows_the_sites() -> None:
    shares = assign_samples(Natural(), LABELS, 10, 6, 0, SITE)
    for site, share in enumerate(shares):
        assert set(SITE[share.train]) == {site}
        assert share.site == site


@pytest.mark.parametrize(
    ("config", "nodes", "site", "shape", "message"),
    [
        (Iid(samples_per_node=5000), 4, None, (), "samples_per_node=5000"),
        (Dirichlet(alpha=0.01, min_samples=299), 4, None, (), "raise alpha"),
        (Dirichlet(alpha=9.0, min_samples=400), 4, None, (), "for each of 4 nodes; lower it"),
        (Rotations(), 4, None, (5,), "square images"),
        (Rotations(), 4, None, (1, 8, 9), "square images"),
        (LabelGroups(labels_per_group=11), 4, None, (), "labels_per_group"),
        (LabelSwap(swapped=11), 4, None, (), "swapped"),
        (Natural(), 4, None, (), "no `node` array"),
        (Natural(), 4, SITE, (), "6 sites"),
    ],
)
def test_what_cannot_be_dealt_is_one_clear_error(config, nodes, site, shape, message) -> None:
    with pytest.raises(ConfigError, match=message):
        assign_samples(config, LABELS, 10, nodes, 0, site, shape)


def test_shares_that_leave_nothing_to_train_on_cannot_be_made() -> None:
    with pytest.raises(ConfigError, match="audit_share"):
        Iid(validation_share=0.8, audit_share=0.8)


def test_labels_within_groups_follow_a_dirichlet() -> None:
    labels = np.arange(4000) % 10
    config = Rotations(groups=4, samples_per_node=100, label_alpha=0.3)
    shares = assign_samples(config, labels, 10, 8, 0, shape=(1, 8, 8))
    for share in shares:
        counts = np.bincount(labels[np.concatenate([share.train, share.validation])], minlength=10)
        assert counts.sum() == 100
        assert counts.max() > 25
    subsets = assign_samples(
        LabelGroups(groups=2, labels_per_group=3, samples_per_node=60, label_alpha=0.5),
        labels,
        10,
        4,
        0,
    )
    for share in subsets:
        assert len(np.unique(labels[share.train])) <= 3
    with pytest.raises(ConfigError, match=r"needs partition\.samples_per_node"):
        assign_samples(Rotations(label_alpha=0.5), labels, 10, 4, 0, shape=(1, 8, 8))
    with pytest.raises(ConfigError, match="more of some class than there is"):
        assign_samples(
            Rotations(label_alpha=0.1, samples_per_node=900), labels, 10, 4, 0, shape=(1, 8, 8)
        )


def test_groups_have_the_sizes_asked_for() -> None:
    labels = np.arange(2000) % 10
    config = Rotations(groups=3, group_sizes=(1, 2, 4), samples_per_node=40)
    shares = assign_samples(config, labels, 10, 7, 0, shape=(1, 8, 8))
    assert [share.group for share in shares] == [0, 1, 1, 2, 2, 2, 2]
    with pytest.raises(ConfigError, match="add up to the fleet's 8 nodes"):
        assign_samples(config, labels, 10, 8, 0, shape=(1, 8, 8))


def test_liars_name_every_label_by_the_next_one() -> None:
    labels = np.arange(2000) % 10
    shares = assign_samples(Iid(samples_per_node=40, liar_share=0.25), labels, 10, 8, 0)
    liars = [share for share in shares if not share.honest]
    assert len(liars) == 2
    for share in liars:
        assert share.labels(np.arange(10)).tolist() == [*range(1, 10), 0]
    assert all(s.labels(np.arange(10)).tolist() == [*range(10)] for s in shares if s.honest)


def test_unlabelled_samples_are_nobody_elses() -> None:
    labels = np.arange(1000) % 10
    shares = assign_samples(Iid(samples_per_node=40, unlabelled_per_node=60), labels, 10, 8, 0)
    parts = [p for s in shares for p in (s.train, s.validation, s.audit, s.unlabelled)]
    together = np.concatenate(parts)
    assert len(together) == len(np.unique(together)) == 800
    assert all(len(share.unlabelled) == 60 for share in shares)
    with pytest.raises(ConfigError, match="nodes need 800 samples, 680 are left"):
        assign_samples(Iid(samples_per_node=40, unlabelled_per_node=100), labels, 10, 8, 0)


def test_one_group_is_the_whole_fleet() -> None:
    labels = np.arange(1000) % 10
    shares = assign_samples(Dirichlet(alpha=0.5, one_group=True), labels, 10, 4, 0)
    assert {share.group for share in shares} == {0}


def test_who_lies_lies_after_drifting_too_and_keeps_its_unlabelled_samples() -> None:
    labels = np.arange(4000) % 10
    config = Rotations(
        samples_per_node=40, liar_share=0.5, unlabelled_per_node=30, drift_period=1, drift_share=1.0
    )
    shares = assign_samples(config, labels, 10, 8, 0, shape=(1, 8, 8))
    for share in shares:
        assert share.later.honest == share.honest
        assert np.array_equal(share.later.label_map, share.label_map)
        assert np.array_equal(share.later.unlabelled, share.unlabelled)
    parts = [p for s in shares for p in (s.train, s.validation, s.unlabelled)]
    parts += [p for s in shares for p in (s.later.train, s.later.validation)]
    together = np.concatenate(parts)
    assert len(together) == len(np.unique(together))


def test_one_node_at_least_is_honest() -> None:
    shares = assign_samples(Iid(samples_per_node=40, liar_share=0.9), np.arange(500) % 10, 10, 1, 0)
    assert shares[0].honest


def test_rare_labels_are_dealt_in_the_shares_asked_for() -> None:
    labels = (np.arange(3000) % 10 == 0).astype(np.int64)
    config = Rotations(samples_per_node=250, label_shares=(0.98, 0.02), validation_share=0.2)
    for share in assign_samples(config, labels, 2, 8, 1, None, SHAPE):
        assert np.bincount(labels[share.train]).tolist() == [196, 4]
        assert np.bincount(labels[share.validation]).tolist() == [49, 1]
    thirds = assign_samples(Iid(samples_per_node=100, label_shares=(1 / 3, 2 / 3)), labels, 2, 2, 1)
    held = np.concatenate([thirds[0].train, thirds[0].validation])
    assert np.bincount(labels[held]).tolist() == [33, 67]


def test_newcomers_are_the_last_nodes_and_have_few_samples() -> None:
    config = Rotations(samples_per_node=100, newcomer_share=0.25, newcomer_samples=20)
    shares = assign_samples(config, LABELS, 10, 8, 1, None, SHAPE)
    sizes = [len(s.train) + len(s.validation) for s in shares]
    assert config.newcomers(8) == [6, 7]
    assert sizes == [100] * 6 + [20] * 2
    assert Iid().newcomers(8) == []
    assert Natural().newcomers(8) == []
    assert Iid(samples_per_node=9, newcomer_share=0.9).newcomers(2) == [1]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Iid(label_shares=(0.5, 0.5), samples_per_node=10), "needs 10 numbers"),
        (Iid(label_shares=(0.2,) * 10, samples_per_node=10), "add up to 1"),
        (Iid(label_shares=(0.1,) * 10), "needs partition.samples_per_node"),
        (
            Rotations(label_shares=(0.1,) * 10, samples_per_node=9, label_alpha=1.0),
            "no label_alpha",
        ),
        (Iid(newcomer_share=0.5), "needs partition.samples_per_node"),
        (Rotations(newcomer_share=0.5, samples_per_node=9, label_alpha=1.0), "no label_alpha"),
    ],
)
def test_shares_that_cannot_be_are_one_clear_error(config, said) -> None:
    with pytest.raises(ConfigError, match=said):
        assign_samples(config, LABELS, 10, 4, 0, None, SHAPE)


def test_a_group_without_a_share_of_its_labels_is_refused() -> None:
    config = LabelGroups(samples_per_node=20, label_shares=(0.5, 0.5, 0.0, 0.0))
    allowed = np.array([[True, True, False, False], [False, True, True, False]])
    assert in_shares(allowed, 20, config.label_shares).tolist() == [[10, 10, 0, 0], [0, 20, 0, 0]]
    with pytest.raises(ConfigError, match="no share of any"):
        in_shares(~allowed, 20, config.label_shares)
