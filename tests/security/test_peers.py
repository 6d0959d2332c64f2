"""Peers that attack with one certificate, or one connection: what like nodes are left with."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import msgspec
import numpy as np
import pytest

from qsynth.dht import Contact
from qsynth.dht.config import Rings
from qsynth.dht.contact import UNREACHABLE, prove
from qsynth.dht.record import record_key, sign_record
from qsynth.dht.record_store import MOST_OF_A_KEY, RecordStore
from qsynth.distill import Part
from qsynth.distill.analytic import Analytic
from qsynth.distill.receipts import AUTHOR_BYTES, leaf, leaf_author
from qsynth.encoder.config import SeededConv
from qsynth.errors import ConfigError
from qsynth.identity import Identity
from qsynth.identity.authority import Authority
from qsynth.identity.vouchers import Vouchers
from qsynth.mesh import Answer, MemoryNetwork, Request, Rpc
from qsynth.mesh.memory import Memory
from qsynth.mesh.rpc import ANSWER, REFUSAL, Envelope
from qsynth.mesh.tcp import Tcp
from qsynth.packet import OutcomePacket, decode_packet, encode_packet, packet_digest
from qsynth.peers.semantic import Semantic
from qsynth.pipeline.checks import check_node
from qsynth.privacy import NoPrivacy
from qsynth.protocol import messages
from qsynth.protocol.admit import fetched
from qsynth.protocol.effects import Effects
from qsynth.protocol.handlers import serve
from qsynth.protocol.membership import CALLED_S, MOST_CALLED, MOST_FLAWS
from qsynth.protocol.replication import MOST_OF_A_CONNECTION
from qsynth.records.service import Job, Records
from qsynth.similarity import cosine
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.sums.builder import MADE_FOR_ONE, Held
from qsynth.sums.depth import common_bits
from qsynth.sums.tree import SumTree
from qsynth.synthesis.analytic_head import AnalyticHead
from tests.protocol.test_node import Peer, publication, turn
from tests.sums.test_tree import CONFIG, sums_mesh

AUDITED = replace(CONFIG, audit_share=1.0)
COUNT, LIAR, PERIODS = 24, 4, 14
NOW_S = 1_700_000_000.0


class Fleet:
    """An authority, and the vouchers that it has given."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.authority = Authority.init(folder / "authority")

    def vouchers(self, node: bytes, days: float = 1.0) -> Vouchers:
        out = self.folder / node.hex()[:16]
        self.authority.issue(node, ["127.0.0.1"], days, out)
        return Vouchers.read(out)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet"))


def certified(fleet: Fleet | None, node) -> None:
    if fleet is not None:
        node.vouchers = fleet.vouchers(node.me, 36500.0)
        node.epoch_s = 1_795_000_000.0  # certificates hold from today on


def made(fleet: Fleet | None, behave, count: int = COUNT) -> list[Peer]:
    """Return a mesh of which one misbehaves from the beginning, after some periods."""
    network = MemoryNetwork(0.01, seed=1)
    peers = [Peer(network, i, peers=Semantic(k=3), ttl_s=1e9) for i in range(count)]
    for peer in peers:
        certified(fleet, peer.node)
    if behave is not None:
        behave(peers[LIAR], fleet)
    for i, peer in enumerate(peers):
        peer.join(*[peers[j] for j in {max(i - 1, 0), max(i - 2, 0)} if j < i])
        peer.period()
        network.run_until(network.now + 1.0)
    turn(network, peers, PERIODS)
    network.run_until(network.now + 30.0)
    turn(network, peers, 2)
    return peers


def honest_authors(peers: list[Peer]) -> int:
    """Return how many authors of the fleet, other than the liar, its like nodes learn from."""
    others = {p.node.me for p in peers if p.number != LIAR}
    like = [p for p in peers if p.number % 2 == LIAR % 2 and p.number != LIAR]
    return sum(len(others & set(p.node.authors())) for p in like)


def strangers(peers: list[Peer]) -> int:
    """Return how many authors that are not of the fleet its like nodes hold, the most of a node."""
    known = {p.node.me for p in peers}
    return max(len(set(p.node.held) - known) for p in peers if p.number != LIAR)


# -- behaviours of a liar ------------------------------------------------------------------------


class Forger:
    """Identities that no authority has seen, and what they say."""

    def __init__(self, peer: Peer, fleet: Fleet | None) -> None:
        self.node, self.fleet, self.made = peer.node, fleet, 0
        self.packets: dict[bytes, bytes] = {}

    def identity(self) -> Identity:
        self.made += 1
        return Identity.seeded("made up", self.made)

    def contact(self, wanted, address: str = "memory:nowhere") -> Contact:
        identity = self.identity()
        told = Contact(identity.id, address, wanted.tobytes(), 1_800_000_000)
        return self.proved(told, identity)

    def proved(self, contact: Contact, identity: Identity) -> Contact:
        """Return a contact with the best proof that a forger can make."""
        node = self.node
        if node.vouchers is None:
            return contact
        scope, voucher = node.admission.task_digest, node.vouchers.own
        return prove(contact, identity, voucher, scope, node.wall_s())

    def author(self, version: int = 1_800_000_000) -> Contact:
        """Make an author up, with a packet that is exactly what like nodes want."""
        identity, node = self.identity(), self.node
        what = publication(LIAR % 2, 1000 + self.made)
        packet = OutcomePacket(
            task=node.admission.task_digest,
            encoder=node.admission.encoder_digest,
            author=identity.public_key,
            sequence=version,
            created_s=node.wall_s(),
            ttl_s=10**6,
            support=what.support,
            payload=what.payload,
        )
        self.packets[identity.id] = encode_packet(packet, identity)
        told = Contact(identity.id, "memory:nowhere", what.fingerprint.tobytes(), packet.sequence)
        return self.proved(told, identity)


def fills_lookups(peer: Peer, fleet) -> None:
    """Answer every lookup with nodes that are exactly what is asked for, and are not there."""
    forger = Forger(peer, fleet)
    table = peer.node.table
    table.alike = lambda wanted, m, *rest: [forger.contact(wanted) for _ in range(m)]
    table.nearest = lambda target, k, *rest: [forger.contact(peer.node.table.own) for _ in range(k)]


def fills_lookups_in_its_own_place(peer: Peer, fleet) -> None:
    """The same, at its own address: whoever is asked there answers."""
    forger, at = Forger(peer, fleet), peer.node.address
    peer.node.table.alike = lambda wanted, m, *rest: [forger.contact(wanted, at) for _ in range(m)]


def tells_of_orphans(peer: Peer, fleet) -> None:
    """Tell of authors that are gone and never were, ever new ones, and give their packets."""
    forger, node = Forger(peer, fleet), peer.node
    node.replication.orphans = lambda wanted, most: [forger.author() for _ in range(40)]
    fetch = node.replication.fetch
    node.replication.fetch = lambda author, after, asker: (
        forger.packets.get(author) or fetch(author, after, asker)
    )


def moves_others(peer: Peer, fleet) -> None:
    """Tell of real nodes with another address, fingerprint and version than they have."""
    alike = peer.node.table.alike

    def lies(wanted, m, *rest):
        return [
            msgspec.structs.replace(
                c, address="memory:nowhere", fingerprint=(-wanted).tobytes(), version=2**40
            )
            for c in alike(wanted, m, *rest)
        ]

    peer.node.table.alike = lies


def says_nothing_of_others(peer: Peer, fleet) -> None:
    """Answer every lookup with oneself alone."""
    peer.node.table.alike = lambda wanted, m, *rest: []
    peer.node.table.nearest = lambda target, k, *rest: []


BEHAVIOURS = (
    fills_lookups,
    fills_lookups_in_its_own_place,
    tells_of_orphans,
    moves_others,
    says_nothing_of_others,
)


@pytest.fixture(scope="module")
def quiet(fleet) -> dict[bool, int]:
    return {sure: honest_authors(made(fleet if sure else None, None)) for sure in (False, True)}


@pytest.mark.parametrize("behave", BEHAVIOURS, ids=lambda b: b.__name__)
@pytest.mark.parametrize("sure", [True, False], ids=["authority", "no authority"])
def test_like_nodes_keep_their_honest_authors(fleet, quiet, behave, sure) -> None:
    peers = made(fleet if sure else None, behave)
    assert honest_authors(peers) >= 0.9 * quiet[sure]
    assert strangers(peers) <= (0 if sure else 1)


def test_an_honest_fleet_with_an_authority_hears_of_those_that_are_gone(fleet) -> None:
    """Orphans still count where the authority vouches for their authors."""
    peers = made(fleet, None, 8)
    gone = peers[2]
    kept = [p for p in peers if gone.node.me in p.node.replication.kept and p is not gone]
    assert kept
    holder = kept[0].node
    holder.membership.drop(gone.node.me)
    (orphan,) = holder.replication.orphans(gone.node.table.own, 4)
    newcomer = next(p.node for p in peers if gone.node.me not in p.node.held and p is not gone)
    newcomer.table.remove(gone.node.me)
    newcomer.replication.offered([orphan], holder.contact())
    assert newcomer.replication.holder(orphan) is not None
    forged = msgspec.structs.replace(orphan, version=orphan.version + 1)
    newcomer.replication.lost(holder.me)
    newcomer.replication.offered([forged], holder.contact())
    assert newcomer.replication.holder(forged) is None
    assert newcomer.counts["unproved_contact"] == 1


# -- contacts and vouchers -----------------------------------------------------------------------


def test_a_contact_counts_as_whom_it_names_has_said_it_and_for_its_fleet_alone(
    fleet, tmp_path
) -> None:
    identity, other = Identity.seeded("a"), Identity.seeded("b")
    vouchers, foreign = fleet.vouchers(identity.id), Fleet(tmp_path).vouchers(other.id)
    now_s, scope = time.time(), b"t" * 16
    bare = Contact(identity.id, "memory:1", b"\x01" * 4, 7)
    own = prove(bare, identity, vouchers.own, scope, now_s)
    assert own.stamp == int(1000 * now_s)
    assert own.proved(vouchers, scope, now_s)
    assert not own.proved(foreign, scope, now_s)
    assert not own.proved(vouchers, b"u" * 16, now_s)  # of another task
    assert not own.proved(vouchers, scope, now_s - 7200)  # signed in the future
    assert not own.proved(vouchers, scope, now_s + 2 * 86400)  # the certificate is over
    for changed in (
        {"address": "memory:2"},
        {"version": 8},
        {"fingerprint": b"\x02" * 4},
        {"finished": True},
        {"density": 3},
        {"id": other.id},
        {"proof": b""},
        {"proof": own.proof[:-1]},
        {"proof": own.proof + b"x"},
        {"proof": bytes(196)},
        {"proof": own.proof[:96] + bytes(8) + own.proof[104:]},
    ):
        assert not msgspec.structs.replace(own, **changed).proved(vouchers, scope, now_s), changed
    # With another's key, and the voucher that is not its own.
    theirs = Contact(other.id, "memory:1", b"\x01" * 4, 7)
    stolen = prove(theirs, other, vouchers.own, scope, now_s)
    assert not stolen.proved(vouchers, scope, now_s)


def test_who_is_revoked_is_vouched_for_no_more(tmp_path) -> None:
    fleet = Fleet(tmp_path)
    good, bad = Identity.seeded("good"), Identity.seeded("bad")
    voucher = fleet.vouchers(bad.id).own
    assert fleet.vouchers(good.id).vouches(bad.id, voucher, time.time())
    fleet.authority.revoke(bad.id)
    assert not fleet.vouchers(good.id).vouches(bad.id, voucher, time.time())


def test_who_is_revoked_while_nodes_run_is_forgotten_with_all_it_has_sent(tmp_path) -> None:
    fleet = Fleet(tmp_path)
    peers = made(fleet, None, count=8)
    bad = peers[LIAR].node.me
    others = [peer for peer in peers if peer.number != LIAR]
    knew = [peer for peer in others if bad in peer.node.table.contacts]
    held = [peer for peer in others if bad in peer.node.held]
    assert len(knew) == 7
    assert held
    before = {peer.number: set(peer.node.held) - {bad} for peer in others}
    fleet.authority.revoke(bad)
    for peer in others:
        renewed = fleet.vouchers(peer.node.me, 36500.0)
        act = partial(_renew, peer.node, renewed)
        _, effects = peer.node.serve(peer.network.now, act)
        assert [r["node"] for r in effects.records if r["event"] == "revoked"] == [bad.hex()]
        peer.apply(effects)
        assert set(peer.node.held) == before[peer.number]
        assert not peer.node.membership.renew(renewed, Effects())  # and again: nothing more
    turn(peers[0].network, peers, 4)
    for peer in others:
        assert bad not in peer.node.table.contacts
        assert bad not in peer.node.held
        assert bad not in peer.node.replication.kept
        assert peer.node.held
    # With a certificate of its own again, it is one of them again.
    _renew(peers[LIAR].node, fleet.vouchers(bad, 36500.0), 0.0, Effects())
    peers[LIAR].join(peers[0])
    turn(peers[0].network, peers, PERIODS)
    assert any(bad in peer.node.held for peer in others)


def test_the_packet_of_a_revoked_author_is_not_taken_from_who_has_no_list_yet(tmp_path) -> None:
    """A stolen host is off; another keeps its packet, and has offered it."""
    fleet = Fleet(tmp_path)
    peers = made(fleet, None, count=6)
    lost, holder, asker = peers[LIAR].node, peers[2], peers[0]
    kept = holder.node.replication.kept[lost.me]
    for left in (asker.node.held, asker.node.replication.kept):
        left.pop(lost.me, None)
    asker.node.replication._offers[lost.me] = (kept.author, holder.node.contact())
    fleet.authority.revoke(lost.me)
    _renew(asker.node, fleet.vouchers(asker.node.me, 36500.0), 0.0, Effects())
    assert lost.me not in asker.node.replication._offers
    # An answer that was under way all the while.
    body = messages.pack(messages.Packet(kept.data))
    answer = Answer("packet", holder.node.me, body, None, False)
    fetched(asker.node, answer, kept.author, Effects())
    assert lost.me not in asker.node.held
    turn(peers[0].network, [p for p in peers if p.number != LIAR], 4)
    assert lost.me not in asker.node.held


def test_records_of_a_revoked_author_are_dropped(tmp_path) -> None:
    fleet = Fleet(tmp_path)
    peers = made(fleet, None, count=5)
    bad, reader = peers[LIAR].node, peers[0]
    key = record_key("kept by all")
    records = bad.service(Records)
    peers[LIAR].apply(
        bad.serve(reader.network.now, lambda now, e: records.store(now, key, b"evil", 900.0, e))[1]
    )
    reader.network.run_until(reader.network.now + 10.0)
    assert reader.node.service(Records).kept.get(key, reader.node.wall_s())
    fleet.authority.revoke(bad.me)
    _renew(reader.node, fleet.vouchers(reader.node.me, 36500.0), 0.0, Effects())
    own = reader.node.service(Records)
    assert not own.kept.get(key, reader.node.wall_s())
    ticket, effects = reader.node.serve(reader.network.now, lambda now, e: own.get(now, key, e))
    reader.apply(effects)
    reader.network.run_until(reader.network.now + 15.0)
    assert dict(reader.done)[ticket] == []  # others keep it still: they have no list


def _renew(node, vouchers: Vouchers, _now: float, effects: Effects) -> None:
    node.membership.renew(vouchers, effects)


def test_a_voucher_of_rubbish_convinces_nobody(fleet) -> None:
    identity = Identity.seeded("a")
    vouchers = fleet.vouchers(identity.id)
    rng, now_s = np.random.default_rng(0), time.time()
    assert vouchers.vouches(identity.id, vouchers.own, now_s)
    for at in range(len(vouchers.own)):
        flipped = bytearray(vouchers.own)
        flipped[at] ^= 1 << int(rng.integers(8))
        assert not vouchers.vouches(identity.id, bytes(flipped), now_s), at
    for size in (0, 1, 91, 92, 93, 500):
        assert not vouchers.vouches(identity.id, rng.bytes(size), now_s)
    assert not vouchers.vouches(identity.id, vouchers.own[:28] + bytes(64), now_s)


# -- records -------------------------------------------------------------------------------------


def record(number: int, key: bytes, voucher: bytes = b"", value: bytes = b"v"):
    identity = Identity.seeded("author", number)
    return sign_record(identity, key, value, 1, int(1000 * (NOW_S + 1000)), voucher)


def test_nobody_fills_a_key_over_one_connection() -> None:
    store, key = RecordStore(bytes(32), 4096, 600.0), record_key("wanted")
    for number in range(3 * MOST_OF_A_KEY):
        store.put(record(number, key), NOW_S, b"squatter")
    assert store.put(record(1000, key), NOW_S, b"squatter") == "key_full"
    assert store.put(record(1001, key), NOW_S, b"honest") is None
    assert store.put(record(1002, key), NOW_S, b"honest too") is None
    assert len(store.get(key, NOW_S)) == MOST_OF_A_KEY
    kept = {r.author for r in store.get(key, NOW_S)}
    assert {Identity.seeded("author", n).public_key for n in (1001, 1002)} <= kept


def test_nobody_fills_a_store_over_one_connection() -> None:
    most = 64
    store = RecordStore(bytes(32), most, 600.0)
    near = [b"\x00" * 31 + bytes([n]) for n in range(most)]  # as near to it as keys can be
    for number, key in enumerate(near):
        store.put(record(number, key), NOW_S, b"squatter")
    assert len(store) == most
    for number in range(most // 2):
        key = record_key(str(number))
        assert store.put(record(2000 + number, key), NOW_S, b"honest %d" % number) is None
        assert store.get(key, NOW_S)
    assert len(store) == most


def asked(peer: Peer, sender: Identity, kind: str, body, address: str):
    """Return the answer of a node to a request."""
    payload = messages.pack(body)
    answer, _ = serve(peer.node, Request(address, 1, kind, sender.id, payload))
    return msgspec.msgpack.decode(answer.payload, type=Envelope)


def test_with_an_authority_a_record_has_an_author_of_the_fleet(fleet) -> None:
    peers = made(fleet, None, 4)
    node, other = peers[0].node, peers[1].node
    key, expires = record_key("k"), int(1000 * (node.wall_s() + 100))
    made_up = Identity.seeded("made up")
    for identity, voucher, kept in (
        (other.identity, other.vouchers.own, True),
        (other.identity, b"", False),
        (made_up, other.vouchers.own, False),
        (made_up, b"", False),
    ):
        told = sign_record(identity, key, b"v", 1, expires, voucher)
        body = messages.StoreRequest(other.contact(), told)
        answer = asked(peers[0], other.identity, messages.STORE, body, other.address)
        assert (answer.type == ANSWER) == kept
    assert [r.author for r in node.service(Records).kept.get(key, node.wall_s())] == [
        other.identity.public_key
    ]
    # Nor is one believed that somebody answers with.
    job = Job(key, None, 0.0)
    node.service(Records)._read([sign_record(made_up, key, b"v", 1, expires)], job)
    assert job.found == []
    assert node.counts["bad_record"] == 1


# -- packets to keep -----------------------------------------------------------------------------


def test_one_connection_gets_few_authors_kept_and_seldom() -> None:
    peers = made(None, None, 4)
    node = peers[0].node
    forger, now = Forger(peers[1], None), peers[0].network.now
    before, busy = len(node.replication.kept), 0
    for number in range(200):
        contact = forger.author(version=int(node.wall_s()) - 10)
        body = messages.pack(messages.Keep(contact, forger.packets[contact.id]))
        rpc = Rpc(contact.id, Memory(), number)
        (send,) = rpc.request(now, "x", messages.KEEP, body, None)
        effects = node.message(now + 0.005 * number, "memory:99", send.payload)
        answers = [msgspec.msgpack.decode(s.payload, type=Envelope) for s in effects.sends]
        busy += sum(a.type == REFUSAL and b"busy" in a.body for a in answers)
        written = sum(len(entry.data) for entry in effects.entries)
        assert written <= 40_000
    assert len(node.replication.kept) - before <= MOST_OF_A_CONNECTION
    assert busy >= 180  # ten at once and five a second, whatever it says


def test_made_up_leaves_of_a_sum_do_not_pass_an_audit(fleet) -> None:
    """A sum of authors whom no authority knows is dropped by who audits it."""
    network, peers = sums_mesh(0)
    peers = []
    for number in range(8):
        peer = Peer(network, number, peers=AUDITED)
        certified(fleet, peer.node)
        peer.node.services.append(SumTree(peer.node, AUDITED, cosine, 16, 0, 8192, number))
        peers.append(peer)
    liar = peers[LIAR].node
    forger = Forger(peers[LIAR], fleet)
    chain, make = liar.service(SumTree).builder, liar.service(SumTree).builder._make

    def padded(parts):
        """Add the packet of an author that is made up, of the same prefix as the first part."""
        first = leaf_author(parts[-1].part.leaves[0])
        while True:
            contact = forger.author()
            if common_bits(contact.id, first) >= common_bits(first, liar.me) + 1:
                break
        data = forger.packets[contact.id]
        evidence = liar.admission.opened(data, liar.wall_s()).evidence
        digest = packet_digest(data)
        part = Part(digest, (leaf(contact.id, digest),), evidence)
        return (
            make([*parts, Held(part, decode_packet(data), data)])
            if len(parts) > 1
            else (make(parts))
        )

    chain._make = padded
    for number, peer in enumerate(peers):
        peer.join(*peers[:number][-3:])
        peer.period()
        network.run_until(network.now + 0.2)
    turn(network, peers, 12)
    fakes = {identity[:AUTHOR_BYTES] for identity in forger.packets}
    assert fakes
    unproved = sum(p.node.counts["unproved_leaf"] for p in peers)
    assert unproved > 0
    for peer in peers:
        if peer.node is not liar:
            leaves = {
                leaf_author(r)
                for part in peer.node.service(SumTree).parts().values()
                for r in part.leaves
            }
            assert not leaves & fakes


# -- contacts in a flood --------------------------------------------------------------------------


def noticed(node, sender: Identity, contact: Contact, address: str, now: float):
    rpc = Rpc(sender.id, Memory(), None)
    (send,) = rpc.request(now, "x", messages.NOTICE, messages.pack(messages.Notice(contact)), None)
    return node.message(now, address, send.payload)


def test_strangers_count_once_they_have_answered_and_few_are_asked_at_once() -> None:
    peers = made(None, None, 4)
    node, now = peers[0].node, peers[0].network.now
    forger = Forger(peers[1], None)
    known, asked = set(node.table.contacts), 0
    for number in range(100):
        contact = forger.contact(node.table.own)
        effects = noticed(
            node, Identity.seeded("made up", forger.made), contact, f"memory:{500 + number}", now
        )
        asked += sum(send.address == contact.address for send in effects.sends)
    assert set(node.table.contacts) == known
    assert asked == MOST_CALLED
    assert node.counts["stranger_later"] == 100 - MOST_CALLED
    # Nobody has answered: there is room for others, and still nobody is known.
    for later in range(1, 12):
        node.timer(now + later)
    assert set(node.table.contacts) == known
    effects = noticed(
        node,
        Identity.seeded("late"),
        Contact(Identity.seeded("late").id, "memory:2", node.table.own.tobytes(), 1),
        "memory:2",
        now + 12,
    )
    assert any(
        send.address == "memory:2" and send.kind == messages.NOTICE for send in effects.sends
    )


def test_gossip_is_taken_as_far_as_an_answer_would_be() -> None:
    peers = made(None, None, 4)
    node, other = peers[0].node, peers[1].node
    forger = Forger(peers[1], None)
    many = [forger.contact(node.table.own) for _ in range(64)]
    node.membership.learn([other.contact(), *many])
    most = 2 * node.dht.reply_contacts
    assert node.counts["untaken_contact"] == 64 - most
    told = {contact.id for contact in many}
    assert len(told & set(node.table.contacts)) == most
    # Two of them do not answer: nothing that their teller has told, and tells, counts.
    for contact in many[:2]:
        node.membership.drop(contact.id)
    assert not told & set(node.table.contacts)
    assert node.membership.doubted(many[5].id)
    node.membership.learn([other.contact(), *[forger.contact(node.table.own) for _ in range(5)]])
    assert node.counts["distrusted_teller"] == 5
    # By another's word one of them may still turn out to be there.
    node.membership.learn([peers[2].node.contact(), many[5]])
    assert not node.membership.doubted(many[5].id)


def test_with_an_authority_made_up_gossip_is_not_read_to_its_end(fleet) -> None:
    peers = made(fleet, None, 4)
    node, other = peers[0].node, peers[1].node
    forger = Forger(peers[1], fleet)
    known = set(node.table.contacts)
    node.membership.learn([other.contact(), *[forger.contact(node.table.own) for _ in range(64)]])
    assert node.counts["unproved_contact"] == MOST_FLAWS
    assert set(node.table.contacts) == known
    # One that is not proved, of a node whose certificate has been revoked, hides nobody else.
    forged = forger.contact(node.table.own)
    late = Identity.seeded("late")
    newcomer = prove(
        Contact(late.id, "memory:3", node.table.own.tobytes(), 1),
        late,
        fleet.vouchers(late.id, 36500.0).own,
        node.admission.task_digest,
        node.wall_s(),
    )
    node.membership.learn([other.contact(), forged, newcomer])
    assert late.id in node.table.contacts


def test_a_connection_speaks_in_one_name() -> None:
    peers = made(None, None, 4)
    node, now = peers[0].node, peers[0].network.now
    one, other = Identity.seeded("one"), Identity.seeded("other")
    for identity, answered in ((one, True), (other, False), (one, True)):
        contact = Contact(identity.id, "memory:3", node.table.own.tobytes(), 1)
        effects = noticed(node, identity, contact, "pipe:7", now)
        assert any(send.address == "pipe:7" for send in effects.sends) == answered
    assert node.rpc.counts["impostor"] == 1


def test_a_no_of_strangers_keeps_others_out_for_a_while_only() -> None:
    peers = made(None, None, 4)
    node, now = peers[0].node, peers[0].network.now
    forger = Forger(peers[1], None)
    calls: list = []
    for number in range(MOST_CALLED):
        contact = forger.contact(node.table.own, f"memory:{700 + number}")
        who = Identity.seeded("made up", forger.made)
        effects = noticed(node, who, contact, contact.address, now)
        (call,) = [s for s in effects.sends if s.address == contact.address and s.kind == "notice"]
        calls.append((who, contact, msgspec.msgpack.decode(call.payload, type=Envelope)))
    for who, contact, call in calls:  # each answers its call with a refusal
        no = Rpc(who.id, Memory(), None).answer(
            Request(contact.address, call.number, call.kind, node.me, b""),
            messages.pack(messages.Refusal("no")),
            True,
        )
        node.message(now, contact.address, no.payload)
    late = Contact(Identity.seeded("late").id, "memory:2", node.table.own.tobytes(), 1)
    for after, asked in ((1.0, False), (CALLED_S + 1.0, True)):
        effects = noticed(node, Identity.seeded("late"), late, "memory:2", now + after)
        assert (
            any(s.kind == messages.NOTICE and s.address == "memory:2" for s in effects.sends)
            == asked
        )


def test_the_word_of_who_cannot_be_asked_is_nothing() -> None:
    peers = made(None, None, 4)
    node, now = peers[0].node, peers[0].network.now
    forger, who = Forger(peers[1], None), Identity.seeded("unreachable")
    known = set(node.table.contacts)
    contact = Contact(who.id, UNREACHABLE, node.table.own.tobytes(), 1)
    made_up = [forger.contact(node.table.own) for _ in range(5)]
    for _ in range(3):
        body = messages.pack(messages.Gossip(contact, 0, made_up))
        (send,) = Rpc(who.id, Memory(), None).request(now, "x", messages.GOSSIP, body, None)
        node.message(now, "memory:9", send.payload)
    assert set(node.table.contacts) == known
    # Nor is it met by having spoken so, wherever it says to be next.
    moved = msgspec.structs.replace(contact, address="memory:nowhere")
    noticed(node, who, moved, "memory:9", now)
    assert set(node.table.contacts) == known


# -- replays and frames ---------------------------------------------------------------------------


def test_an_old_word_of_a_node_does_not_undo_its_newer_one(fleet) -> None:
    """Also where its version has gone back: it shares nothing any more, or has lost its state."""
    peers = made(fleet, None, 4)
    node, victim, other = peers[0].node, peers[1].node, peers[2].node
    old = victim.contact()
    assert old.version > 0
    scope, voucher = victim.admission.task_digest, victim.vouchers.own
    back = Contact(victim.me, "memory:elsewhere", bytes(node.size), 0)
    new = prove(back, victim.identity, voucher, scope, victim.wall_s() + 1.0)
    node.membership.learn([new])
    assert node.table.contacts[victim.me] == new
    for _ in range(3):
        node.membership.learn([other.contact(), old])
        assert node.table.contacts[victim.me] == new
    # Its next word is taken from others as well.
    later = prove(
        msgspec.structs.replace(back, address="memory:there"),
        victim.identity,
        voucher,
        scope,
        victim.wall_s() + 2.0,
    )
    node.membership.learn([other.contact(), later])
    assert node.table.contacts[victim.me] == later


@pytest.mark.parametrize("sure", [True, False], ids=["authority", "no authority"])
def test_a_node_that_says_different_things_makes_no_liars_of_others(fleet, sure) -> None:
    peers = made(fleet if sure else None, None, 8)
    node, liar = peers[0].node, peers[LIAR].node
    tellers = [p.node for p in peers if p.node not in (node, liar)]
    for again in range(5):
        for teller in tellers:
            told = msgspec.structs.replace(liar.contact(), version=2**40 + again, proof=b"")
            said = msgspec.structs.replace(liar.contact(), version=1, proof=b"")
            if sure:
                scope, voucher = liar.admission.task_digest, liar.vouchers.own
                told, said = (
                    prove(c, liar.identity, voucher, scope, liar.wall_s() + again)
                    for c in (told, said)
                )
            node.membership.learn([teller.contact(), told])
            node.membership.learn([said])
    assert not any(node.membership._unbelieved(teller.me) for teller in tellers)


def test_a_holder_that_gives_nothing_is_asked_once(fleet) -> None:
    """It may have the signed contacts of many that have left."""
    peers = made(fleet, None, 4)
    node, holder = peers[0].node, peers[1].node
    gone = Identity.seeded("gone")
    contact = prove(
        Contact(gone.id, "memory:nowhere", node.table.own.tobytes(), 5),
        gone,
        fleet.vouchers(gone.id, 36500.0).own,
        node.admission.task_digest,
        node.wall_s(),
    )
    node.replication.offered([contact], holder.contact())
    assert node.replication.holder(contact) is not None
    node.replication.barren(gone.id)
    node.replication.offered([contact], holder.contact())
    assert node.replication.holder(contact) is None
    node.replication.offered([contact], peers[2].node.contact())
    assert node.replication.holder(contact) is not None


def test_one_author_has_one_withdrawal_that_waits_to_be_told() -> None:
    peers = made(None, None, 4)
    node, now = peers[0].node, peers[0].network.now

    def withdrawn(peer: Peer, sequence: int) -> None:
        author = peer.node.identity
        said = author.sign(node.withdrawals._said(sequence))
        node.withdrawals.take(
            messages.Withdraw(
                peer.node.contact(), messages.Withdrawal(author.public_key, sequence, said)
            )
        )

    withdrawn(peers[2], peers[2].node.sequence)
    for number in range(200):
        withdrawn(peers[1], 10 + number)
    effects = Effects()
    for _ in range(2):
        node.withdrawals.period(now, effects)
    told = {record["author"] for record in effects.records if record["event"] == "withdrawn"}
    assert told == {peers[1].node.me.hex(), peers[2].node.me.hex()}


def test_who_asks_for_ever_other_sums_leaves_some_to_others() -> None:
    network, peers = sums_mesh(16)
    turn(network, peers, 12)
    node = peers[0].node
    node.service(SumTree).builder.period()
    asker, honest = peers[2].node, peers[6].node
    greedy = [
        node.service(SumTree).offer(
            messages.SumQuery(asker.contact(), 0, 1, b"", [bytes([n]) * 16], 0)
        )
        for n in range(100)
    ]
    assert sum(offer.leaves > 0 for offer in greedy) <= MADE_FOR_ONE
    assert (
        node.service(SumTree).offer(messages.SumQuery(honest.contact(), 0, 1, b"", [], 0)).leaves
        > 1
    )


def test_all_that_is_told_of_a_key_is_taken_where_many_keep_a_record() -> None:
    peers = made(None, None, 4)
    node, other = peers[0].node, peers[1].node
    forger = Forger(peers[1], None)
    node.table.config = replace(node.dht, reply_contacts=1, record_replicas=20)
    many = [forger.contact(node.table.own) for _ in range(20)]
    assert len(node.membership.learn([other.contact(), *many])) == 21


@pytest.mark.parametrize(("tls", "fits"), [("", True), ("folder", False)])
def test_what_a_contact_is_longer_by_with_tls_fits_into_a_message(tls, fits) -> None:
    dht = Rings(reply_contacts=45)
    rules = (
        Analytic(),
        ClassSketch(),
        AnalyticHead(),
        Semantic(),
        dht,
        Tcp(tls=tls),
        False,
        SeededConv(),
        NoPrivacy(),
    )
    if fits:
        check_node(*rules)
        return
    with pytest.raises(ConfigError, match="max_message_bytes"):
        check_node(*rules)
