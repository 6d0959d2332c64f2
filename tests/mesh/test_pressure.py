"""Token buckets and the budget of bytes, against slow and obvious twins."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qsynth.mesh.pressure import BURST_S, MOST_PEERS, Buckets, Budget
from qsynth.mesh.rpc import Send


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 2)), max_size=60), st.integers(1, 5))
def test_no_peer_gets_more_than_its_rate_and_its_burst(events, rate) -> None:
    buckets, now = Buckets(float(rate)), 0.0
    taken: dict[str, list[float]] = {}
    for pause, peer in events:
        now += pause
        if buckets.take(now, str(peer)):
            taken.setdefault(str(peer), []).append(now)
    for times in taken.values():
        for start in range(len(times)):
            for end in range(start, len(times)):
                span = times[end] - times[start]
                assert end - start + 1 <= rate * BURST_S + rate * span + 1 + 1e-6


def test_peers_do_not_share_a_bucket_and_few_are_remembered() -> None:
    buckets = Buckets(1.0)
    assert [buckets.take(0.0, "a") for _ in range(3)] == [True, True, False]
    assert buckets.take(0.0, "b")
    for number in range(2 * MOST_PEERS):
        buckets.take(1.0, str(number))
    assert len(buckets._left) == MOST_PEERS


@given(st.lists(st.tuples(st.floats(0, 1000), st.integers(1, 40_000)), max_size=40))
def test_no_hour_has_more_bytes_than_two_budgets(events) -> None:
    """What was saved up, and what an hour brings."""
    per_hour, budget, now, sent = 65536, Budget(65536), 0.0, []
    for pause, size in events:
        now += pause
        kept = budget.within(now, [Send("a", b"x" * size, "k")])
        sent += [(now, size)] * len(kept)
    for start, _ in sent:
        hour = sum(size for at, size in sent if start <= at < start + 3600.0)
        assert hour <= 2 * per_hour + 1


def test_without_a_budget_all_is_sent_and_a_small_message_passes_a_large_one() -> None:
    sends = [Send("a", b"x" * 60_000, "k"), Send("a", b"x" * 9_000, "k"), Send("a", b"x", "k")]
    assert Budget(None).within(0.0, sends) == sends
    assert Budget(65536).within(0.0, sends) == [sends[0], sends[2]]
