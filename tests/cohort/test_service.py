"""Nodes of one situation find each other through the DHT, and each holds the others' sum."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from qsynth.cohort import masks, messages
from qsynth.cohort.held import Told
from qsynth.cohort.service import OFFER_S, SESSION_S, Cohorts
from qsynth.distill import distil, read_evidence
from qsynth.distill.analytic import Analytic
from qsynth.identity import Identity
from qsynth.mesh import MemoryNetwork, Request
from qsynth.packet import class_statistics
from qsynth.pipeline.publication import Publication
from qsynth.privacy import Budget
from qsynth.privacy.secure_sum import SecureSum
from qsynth.protocol import messages as wire
from qsynth.protocol.journal import COHORT
from qsynth.similarity import cosine, fingerprint_size
from qsynth.similarity.class_sketch import ClassSketch
from tests.protocol.test_node import GROUP_MEANS, Peer
from tests.security.test_peers import Fleet, certified

RULE = SecureSum(cohort=4, smallest=3)


def samples(group: int, seed: int, n: int = 60):
    rng = np.random.default_rng([seed, 2])
    y = np.arange(n) % 3
    x = (GROUP_MEANS[group][y] + rng.standard_normal((n, 16))).astype(np.float32)
    return x, y


def given(rule: SecureSum, group: int, seed: int, n: int = 60) -> Publication:
    x, y = samples(group, seed, n)
    made = rule.class_contribution(Analytic(), 16, [x], x, y, 3, bytes(32))
    made.budget = Budget(rule, None)
    return Publication.of_cohort(made, fingerprint_size(ClassSketch(), 3))


class Adder(Peer):
    """A node that adds to the sum of its group, which it has declared."""

    def __init__(self, network, number, rule=RULE, groups=2, **settings) -> None:
        super().__init__(network, number, **settings)
        self.group = number % groups
        situated = replace(rule, situation=f"ward {self.group}")
        self.publication = given(situated, self.group, number)
        self.cohorts = Cohorts(self.node, cosine, np.random.default_rng([number, 31]).bytes)
        self.node.services = [*self.node.services, self.cohorts]


def fleet(count: int, **settings):
    network = MemoryNetwork(0.01, seed=1)
    adders = [Adder(network, number, **settings) for number in range(count)]
    for number, adder in enumerate(adders):
        adder.join(*adders[:number][-2:])
        network.run_until(network.now + 0.2)
    return network, adders


def turns(network, adders, periods: int, seconds: float = 1.0) -> None:
    for period in range(periods):
        for adder in adders:
            adder.period(period=period)
        network.run_until(network.now + seconds)


def test_each_holds_the_exact_sum_of_the_others_of_its_situation() -> None:
    network, adders = fleet(8)
    turns(network, adders, 8)
    for adder in adders:
        (evidence,) = adder.cohorts.evidence().values()
        others = [o for o in adders if o.group == adder.group and o is not adder]
        x, y = (
            np.concatenate(part)
            for part in zip(*(samples(o.group, o.number) for o in others), strict=True)
        )
        exact = class_statistics(x, y, 3)
        made = evidence.evidence.features
        np.testing.assert_array_equal(made.counts, exact.counts)
        np.testing.assert_allclose(made.sums, exact.sums, atol=0.01)
        np.testing.assert_allclose(made.scatter, exact.scatter, atol=0.2)
        assert evidence.evidence.receipts is not None
        assert len(evidence.evidence.receipts.leaves) == 3
        assert adder.node.authors().keys() >= adder.cohorts.evidence().keys()
        assert adder.node.me not in adder.node.authors()
    collected = [a for a in adders if a.cohorts.told.collected]
    assert len(collected) == 2
    turns(network, adders, 1)
    for adder in adders:  # who has collected publishes for those who have no part in it
        assert (adder.node.own_packet is not None) == (adder in collected)


def test_nothing_but_masked_numbers_leaves() -> None:
    """No message has a node's counts or means in it, in the clear or in fixed point."""
    network, adders = fleet(4, groups=1)
    sent: list[bytes] = []
    for adder in adders:
        send = adder.transport.send
        adder.transport.send = lambda a, p, send=send: (sent.append(p), send(a, p))[1]
    turns(network, adders, 8)
    assert all(adder.cohorts.told for adder in adders)
    for adder in adders:
        contribution = adder.publication.contribution
        numbers = contribution.numbers([], bytes(16))
        words = masks.fixed(numbers, contribution.fraction_bits)
        plain = [
            masks.pack(words, masks.NUMBER_BYTES),
            numbers.tobytes(),
            numbers.astype(np.float32).tobytes(),
        ]
        for data in plain:
            assert not any(data[at : at + 32] in message for message in sent for at in (0, 64, 512))


def test_who_comes_late_or_makes_no_cohort_learns_from_what_is_published() -> None:
    network, adders = fleet(5, groups=1)
    turns(network, adders, 14)
    late = [a for a in adders if a.cohorts.told is None]
    assert len(late) == 1
    collected = next(a for a in adders if a.cohorts.told and a.cohorts.told.collected)
    assert collected.node.own_packet is not None
    assert late[0].cohorts.evidence() == {}


def test_too_few_wait_and_say_nothing() -> None:
    network, adders = fleet(2, groups=1)
    turns(network, adders, 10)
    for adder in adders:
        assert adder.cohorts.told is None
        assert adder.publication.contribution.budget.spent == []
        assert not adder.events("cohort_began")


def test_nodes_of_other_terms_never_meet() -> None:
    network, adders = fleet(4, groups=1)
    other = replace(RULE, most_samples=4096, situation="ward 0")
    for adder in adders[2:]:
        adder.publication = given(other, 0, adder.number)
    turns(network, adders, 10)
    assert all(adder.cohorts.told is None for adder in adders)


def test_when_nobody_collects_any_more_members_are_free_and_find_another() -> None:
    network, adders = fleet(6, groups=1, rule=SecureSum(cohort=16, smallest=5))
    for adder in adders:
        adder.period()
    network.run_until(network.now + 1.0)
    first = min(adders, key=lambda a: messages.digest(b"", a.node.me))
    session = bytes(16)
    members = [a for a in adders if a is not first]
    roster = [a.cohorts._mine for a in adders]
    body = messages.Begin(first.node.contact(), session, roster)
    for member in members:
        member.node.clock(network.now)
        answer = member.cohorts.answer(request(first, body), body)
        assert isinstance(answer, messages.Begun)
        again = member.cohorts.answer(request(first, body), body)
        assert again == answer  # an answer that was lost is given again
    network.run_until(network.now + SESSION_S + OFFER_S)
    turns(network, members, 12)
    assert sum(a.cohorts.told is not None for a in members) == 5
    assert all(a.events("cohort_lost") for a in members)


def request(sender: Peer, body, kind: str = messages.BEGIN) -> Request:
    return Request("memory:x", 1, kind, sender.node.me, wire.pack(body))


def test_rosters_that_are_no_rosters_are_refused() -> None:
    network, adders = fleet(4, groups=1)
    turns(network, adders, 1)
    one, sender = adders[0], adders[1]
    roster = [a.cohorts._mine for a in adders]
    contact, name = sender.node.contact(), bytes(16)
    stale = msgspec.structs.replace(roster[2], expires_ms=1)
    stranger = Identity.seeded("stranger")
    alien = messages.make_offer(
        stranger, bytes(32), masks.public_key(masks.private_key(b"k" * 16)), 2**62, b""
    )
    for bad in (
        messages.Begin(contact, name, []),
        messages.Begin(contact, name, roster[:2]),
        messages.Begin(contact, name, roster[1:]),  # one is not in it
        messages.Begin(contact, name, [roster[0], *roster[2:]]),  # who asks is not
        messages.Begin(contact, name, [*roster, roster[3]]),
        messages.Begin(contact, name, [*roster[:2], stale, roster[3]]),
        messages.Begin(contact, name, [*roster, alien]),
        messages.Begin(contact, b"short", roster),
    ):
        answer = one.cohorts.answer(request(sender, bad), bad)
        assert isinstance(answer, wire.Refusal), bad
    for kind, body in (
        (messages.ADD, messages.Add(contact, name, 0, [], [])),
        (messages.OPEN, messages.Open(contact, name, 0, [], [], [])),
        (messages.END, messages.End(contact, name, None)),
    ):
        assert isinstance(one.cohorts.answer(request(sender, body, kind), body), wire.Refusal)
    good = messages.Begin(contact, name, roster)
    assert isinstance(one.cohorts.answer(request(sender, good), good), messages.Begun)
    other = messages.Begin(adders[2].node.contact(), b"o" * 16, roster)
    assert one.cohorts.answer(request(adders[2], other), other).reason == "cohort: busy"
    # Only who has begun it may go on with it.
    step = messages.Add(adders[2].node.contact(), name, 0, [], [])
    answer = one.cohorts.answer(request(adders[2], step, messages.ADD), step)
    assert isinstance(answer, wire.Refusal)


def test_a_sum_is_remembered_and_what_was_added_is_not_added_again() -> None:
    network, adders = fleet(4, groups=1)
    turns(network, adders, 8)
    one = adders[0]
    before = one.cohorts.evidence()
    (entry,) = [e for e in one.cohorts.entries() if e.kind == COHORT]
    again = Adder(network, 0, groups=1)
    again.cohorts.restore(entry)
    again.period()
    assert again.cohorts.evidence().keys() == before.keys()
    for author, held in again.cohorts.evidence().items():
        np.testing.assert_array_equal(
            held.evidence.features.sums, before[author].evidence.features.sums
        )
    network.run_until(network.now + 1.0)
    assert not again.events("cohort_began")


def test_without_a_sum_nor_budget_it_says_so_once_and_asks_nobody() -> None:
    network, adders = fleet(4, groups=1)
    contribution = adders[1].publication.contribution
    assert contribution.pay(b"x" * 16)
    assert contribution.pay(b"x" * 16)  # the same session costs nothing more
    assert not contribution.pay(b"y" * 16)
    turns(network, adders, 10)
    assert adders[1].cohorts.told is None
    assert adders[1].cohorts.spent
    assert len(adders[1].events("privacy_spent")) == 1
    assert sum(a.cohorts.told is not None for a in adders) == 3


def test_whom_one_forgets_takes_the_sum_along() -> None:
    network, adders = fleet(4, groups=1)
    turns(network, adders, 8)
    one, other = adders[:2]
    assert one.cohorts.evidence()
    one.cohorts.forget(Identity.seeded("nobody").id)
    assert one.cohorts.evidence()
    one.cohorts.forget(other.node.me)
    assert one.cohorts.evidence() == {}
    turns(network, adders, 4)
    collected = next(a for a in adders if a.cohorts.told.collected)
    assert collected.node.me not in one.node.authors()  # nor the same sum as a packet
    (entry,) = [e for e in one.cohorts.entries() if e.kind == COHORT]
    again = Adder(network, 0, groups=1)
    again.cohorts.restore(entry)
    again.cohorts.forget(other.node.me)
    again.period()
    assert again.cohorts.evidence() == {}


def test_other_data_begin_anew() -> None:
    network, adders = fleet(4, groups=1)
    turns(network, adders, 8)
    for adder in adders:
        adder.publication = given(replace(RULE, situation="ward 0"), 1, 100 + adder.number)
    turns(network, adders, 1)
    assert all(a.cohorts.told is None for a in adders)
    turns(network, adders, 12, seconds=20.0)
    assert sum(a.cohorts.told is not None for a in adders) >= 3


@pytest.mark.parametrize("kind", sorted(Cohorts.bodies))
def test_bytes_that_are_no_request_are_refused(kind, rng) -> None:
    network, adders = fleet(3, groups=1)
    turns(network, adders, 1)
    one, sender = adders[0], adders[1]
    contact = sender.node.contact()
    values = [0, -1, 2**63 - 1, b"", b"x" * 40, [], [[]], None, "text", [contact], {}]
    bodies = [rng.bytes(int(rng.integers(0, 60))) for _ in range(60)]
    for _ in range(200):
        count = int(rng.integers(0, 7))
        chosen = [values[int(rng.integers(len(values)))] for _ in range(count)]
        bodies.append(msgspec.msgpack.encode([contact, *chosen]))
    for number, body in enumerate(bodies):
        payload = sender.node.rpc.request(network.now, one.node.address, kind, body, None)
        for send in payload:
            effects = one.node.message(network.now + number, "memory:1", send.payload)
            assert all(len(s.payload) < 2000 for s in effects.sends)
    assert one.cohorts._member is None


def test_a_published_sum_is_a_packet_that_any_node_reads() -> None:
    """It is of the samples of all members."""
    network, adders = fleet(4, groups=1)
    turns(network, adders, 9)
    collected = next(a for a in adders if a.cohorts.told.collected)
    packet, _ = collected.node.own_packet
    x, y = (np.concatenate(p) for p in zip(*(samples(0, a.number) for a in adders), strict=True))
    said = read_evidence(packet.payload).features
    np.testing.assert_array_equal(said.counts, np.bincount(y))
    twin = read_evidence(distil(Analytic(), 16, x, None, y, 3)).features
    np.testing.assert_allclose(said.sums, twin.sums, atol=0.02 * np.abs(twin.sums).max())


def test_who_begins_and_does_not_end_holds_a_node_up_once() -> None:
    network, adders = fleet(4, groups=1, rule=SecureSum(cohort=16, smallest=4))
    turns(network, adders, 1)
    one, sender = adders[0], adders[1]

    def asked(name: bytes):
        body = messages.Begin(sender.node.contact(), name, [a.cohorts._mine for a in adders])
        return one.cohorts.answer(request(sender, body), body)

    assert isinstance(asked(bytes(16)), messages.Begun)
    network.run_until(network.now + SESSION_S + 1.0)
    one.period()
    assert one.events("cohort_lost")
    network.run_until(network.now + 0.5)
    assert asked(b"b" * 16).reason == "cohort: denied"
    network.run_until(network.now + 1.0)


def test_what_is_only_repeated_does_not_hold_a_member_and_another_beginning_is_refused() -> None:
    network, adders = fleet(4, groups=1, rule=SecureSum(cohort=16, smallest=4))
    turns(network, adders, 1)
    one, sender = adders[0], adders[1]
    body = messages.Begin(sender.node.contact(), bytes(16), [a.cohorts._mine for a in adders])
    first = one.cohorts.answer(request(sender, body), body)
    assert isinstance(first, messages.Begun)
    until = one.cohorts._until_s
    one.node.clock(network.now + 50.0)
    assert one.cohorts.answer(request(sender, body), body) == first
    assert one.cohorts._until_s == until
    for other in (
        msgspec.structs.replace(body, contact=replace_contact(sender)),
        msgspec.structs.replace(body, roster=[]),
    ):
        assert one.cohorts.answer(request(sender, other), other).reason == "cohort: replay"


def replace_contact(sender: Peer):
    return msgspec.structs.replace(sender.node.contact(), density=7)


def test_offers_with_keys_that_share_nothing_do_not_stop_a_cohort() -> None:
    network, adders = fleet(5, groups=1)
    liar = adders[4]

    def weak(now, records, effects) -> None:
        offered = liar.cohorts.situation
        offer = messages.make_offer(liar.node.identity, offered, bytes(32), 2**62, b"")
        value = msgspec.msgpack.encode(messages.Place(offer, liar.node.contact()))
        liar.cohorts._mine, liar.cohorts._offered_s = offer, liar.node.wall_s()
        records.store(now, offered, value, OFFER_S, effects)

    liar.cohorts._offer = weak
    turns(network, adders, 14)
    assert sum(a.cohorts.told is not None for a in adders[:4]) == 4


def test_data_that_change_while_a_cohort_adds_up_end_ones_part_in_it() -> None:
    network, adders = fleet(4, groups=1, rule=SecureSum(cohort=16, smallest=4))
    turns(network, adders, 1)
    one, sender = adders[0], adders[1]
    body = messages.Begin(sender.node.contact(), bytes(16), [a.cohorts._mine for a in adders])
    assert isinstance(one.cohorts.answer(request(sender, body), body), messages.Begun)
    one.publication = given(replace(RULE, situation="ward 0"), 1, 77)
    one.period()
    assert one.cohorts._member is None
    told = one.cohorts.told
    assert told is None
    late = Adder(network, 9, groups=1)
    late.publication = given(SecureSum(cohort=4, smallest=3, situation="ward 0"), 1, 78)
    entry = Told(b"s" * 32, b"r" * 32, False, sender.node.identity.public_key, 0.0, [], [])
    late.cohorts.told = entry
    late.period()
    assert late.cohorts.told is None  # of other records than it has


def test_in_a_fleet_with_an_authority_only_its_nodes_add_up(tmp_path) -> None:
    authority = Fleet(tmp_path)
    network = MemoryNetwork(0.01, seed=1)
    adders = [Adder(network, number, groups=1) for number in range(5)]
    for adder in adders[:4]:
        certified(authority, adder.node)
    stranger = adders[4]
    stranger.node.epoch_s = adders[0].node.epoch_s
    for number, adder in enumerate(adders):
        adder.join(*adders[:number][-2:])
        network.run_until(network.now + 0.2)
    turns(network, adders, 10)
    assert all(adder.cohorts.told for adder in adders[:4])
    assert stranger.cohorts.told is None
    for adder in adders[:4]:
        assert stranger.node.me not in adder.cohorts.told.others
    # Nor into a roster that one of the fleet makes.
    one, liar = Adder(network, 7, groups=1), adders[1]
    certified(authority, one.node)
    one.period()
    bare = messages.make_offer(
        stranger.node.identity, one.cohorts.situation, bytes([9] + [0] * 31), 2**62, b""
    )
    mine = one.cohorts._mine
    roster = [liar_offer(liar, one.cohorts.situation), mine, bare]
    body = messages.Begin(liar.node.contact(), bytes(16), roster)
    assert one.cohorts.answer(request(liar, body), body).reason == "cohort: denied"


def liar_offer(liar: Adder, situation: bytes) -> messages.Offer:
    key = masks.public_key(masks.private_key(b"l" * 16))
    own = liar.node.vouchers.own
    return messages.make_offer(liar.node.identity, situation, key, 2**62, own)
