"""Nodes that can only dial out: reached through a peer that relays, which cannot cheat."""

from __future__ import annotations

import time

import msgspec
import pytest

from qsynth.dht import Contact
from qsynth.dht.contact import UNREACHABLE, relay_address, relayed
from qsynth.host.mesh_host import MeshHost
from qsynth.host.recorder import Recorder
from qsynth.identity import Identity
from qsynth.identity.authority import Authority
from qsynth.mesh import MemoryNetwork, Rpc
from qsynth.mesh.memory import Memory
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.mesh.tcp import Tcp
from qsynth.mesh.tls import Tls
from qsynth.protocol import messages
from qsynth.protocol.relays import MOST_TICKETS, PROMISED_S, RENEW_S, seal
from tests.protocol.test_node import Peer, mesh, turn

PATIENCE_S = 30.0


class Behind(Peer):
    """A node that nobody can dial."""

    def __init__(self, network, number, **settings) -> None:
        super().__init__(network, number, **settings)
        network.hide(f"memory:{number}")
        self.node.address = UNREACHABLE
        self.node.relays.wanted = True


def hidden_mesh(direct: int, behind: int):
    network, peers = mesh(direct)
    for number in range(direct, direct + behind):
        peer = Behind(network, number)
        peer.join(*peers[:2])
        peer.period()
        network.run_until(network.now + 3.0)
        peers.append(peer)
    return network, peers


def test_a_node_that_nobody_can_dial_is_asked_and_learned_from() -> None:
    network, peers = hidden_mesh(3, 3)
    turn(network, peers, 6)
    for peer in peers:
        authors = peer.node.authors()
        numbers = {p.number for p in peers if p.node.me in authors}
        assert len(numbers) == 2  # of three alike, so also of those that are hidden
        assert all(number % 2 == peer.number % 2 for number in numbers)
        assert len(peer.node.table) == len(peers) - 1
    for peer in peers[3:]:
        inner = relayed(peer.node.address)
        assert inner is not None
        assert inner[0] == peer.node.me
        assert [e["through"] for e in peer.events("relayed")]
    assert sum(peer.node.counts["relayed"] for peer in peers[:3]) > 0
    assert not any(peer.events("reject") for peer in peers)


def test_a_relay_that_dies_is_replaced() -> None:
    network, peers = hidden_mesh(3, 2)
    turn(network, peers, 3)
    hidden = peers[3]
    first = hidden.events("relayed")[-1]["through"]
    dead = next(p for p in peers if p.node.me.hex() == first)
    dead.transport.close()
    rest = [p for p in peers if p is not dead]
    for _ in range(int(RENEW_S) + 10):
        turn(network, rest, 1)
    assert hidden.events("relayed")[-1]["through"] != first
    for peer in rest:
        assert hidden is peer or hidden.node.me in peer.node.table.contacts
        if peer is not hidden:
            assert peer.node.table.contacts[hidden.node.me].address == hidden.node.address


def test_a_relay_takes_so_many_and_those_who_go_silent_make_room() -> None:
    network, peers = hidden_mesh(2, 2)
    one, two = peers[0].node, peers[1].node
    assert one.relays._clients or two.relays._clients
    for node in (one, two):
        node.relays.most = 1
    third = Behind(network, 9)
    third.join(*peers[:2])
    network.run_until(network.now + 10.0)
    clients = len(one.relays._clients) + len(two.relays._clients)
    assert clients == 2 + (relayed(third.node.address) is not None)
    peers[2].transport.close()
    peers[3].transport.close()
    for peer in (peers[2], peers[3]):
        peer.node.relays.wanted = False
    network.run_until(network.now + 2 * PROMISED_S)
    assert relayed(third.node.address) is not None


def test_a_relay_can_neither_make_nor_change_nor_redirect_a_message() -> None:
    network, peers = hidden_mesh(2, 1)
    hidden, other = peers[2].node, peers[0].node
    mallory = Identity.seeded("mallory")
    inner = Rpc(other.me, Memory(), 1).request(0.0, "x", messages.NOTICE, b"", None)[0].payload
    at_ms = int(1000 * hidden.wall_s())
    good = seal(other.identity, hidden.me, inner, at_ms)
    forged = [
        msgspec.structs.replace(good, payload=good.payload + b"x"),
        msgspec.structs.replace(good, signature=bytes(64)),
        msgspec.structs.replace(good, author=mallory.public_key),
        msgspec.structs.replace(good, at_ms=at_ms + 1),
        seal(other.identity, mallory.id, inner, at_ms),
    ]
    rpc = Rpc(peers[1].node.me, Memory(), 2)
    for sealed in forged:
        before = hidden.counts["relay_signature"]
        parcel = messages.pack(messages.Parcel(hidden.me, b"", sealed))
        effects = hidden.message(network.now, "memory:1", rpc.wrap(parcel, False))
        assert effects.sends == []
        assert hidden.counts["relay_signature"] == before + 1
    # Signed by mallory in another's name: the sender inside is not who has signed.
    sealed = seal(mallory, hidden.me, inner, at_ms)
    parcel = messages.pack(messages.Parcel(hidden.me, b"", sealed))
    before = hidden.rpc.counts["impostor"]
    assert hidden.message(network.now, "memory:1", rpc.wrap(parcel, False)).sends == []
    assert hidden.rpc.counts["impostor"] == before + 1
    # A message inside a message inside a message goes nowhere.
    nested = rpc.wrap(parcel, True)
    sealed = seal(other.identity, hidden.me, nested, at_ms)
    parcel = messages.pack(messages.Parcel(hidden.me, b"", sealed))
    assert hidden.message(network.now, "memory:1", rpc.wrap(parcel, False)).sends == []


def test_what_a_relay_brings_twice_or_late_is_not_heard() -> None:
    network, peers = hidden_mesh(2, 1)
    hidden = peers[2].node
    through = next(at for at in (0, 1) if peers[at].node.me == hidden.relays._through)
    relay, other = peers[through].node, peers[1 - through].node
    rpc = Rpc(relay.me, Memory(), 2)
    inner = Rpc(other.me, Memory(), 3).request(
        0.0, "x", messages.NOTICE, messages.pack(messages.Notice(other.contact())), None
    )
    now_ms = int(1000 * hidden.wall_s())
    for at_ms, heard in ((now_ms, 1), (now_ms - 10_000_000, 0), (-1, 0), (2**63, 0)):
        sealed = seal(other.identity, hidden.me, inner[0].payload, max(at_ms, 0))
        sealed = msgspec.structs.replace(sealed, at_ms=at_ms)
        parcel = messages.pack(messages.Parcel(hidden.me, b"t", sealed))
        for again in range(2):
            effects = hidden.message(network.now, relay.address, rpc.wrap(parcel, False))
            assert len(effects.sends) == (heard if again == 0 else 0)
    assert hidden.counts["relay_replay"] >= 5
    # Nor after a flood of others' messages, or of newer ones of its own.
    first = messages.pack(
        messages.Parcel(
            hidden.me, b"t", seal(other.identity, hidden.me, inner[0].payload, now_ms + 1)
        )
    )
    assert hidden.message(network.now, relay.address, rpc.wrap(first, False)).sends
    for at, who in enumerate([other.identity] * 100 + [peers[0].node.identity] * 100):
        more = seal(who, hidden.me, b"%d" % at, now_ms + 2 + at)
        hidden.message(
            network.now,
            relay.address,
            rpc.wrap(messages.pack(messages.Parcel(hidden.me, b"", more)), False),
        )
    assert not hidden.message(network.now, relay.address, rpc.wrap(first, False)).sends


def test_requests_are_carried_to_who_asked_to_be_reached_so_and_by_its_relay_alone() -> None:
    """Else one connection could speak in any number of names."""
    network, peers = hidden_mesh(2, 1)
    hidden = peers[2].node
    relay = next(p.node for p in peers[:2] if p.node.me == hidden.relays._through)
    other = next(p.node for p in peers[:2] if p.node is not relay)
    for receiver, carrier, heard in (
        (relay, other, False),
        (hidden, other, False),
        (hidden, relay, True),
    ):
        who = Identity.seeded("anybody")
        contact = Contact(who.id, "memory:9", hidden.table.own.tobytes(), 1)
        inner = Rpc(who.id, Memory(), 3).request(
            0.0, "x", messages.NOTICE, messages.pack(messages.Notice(contact)), None
        )
        sealed = seal(who, receiver.me, inner[0].payload, int(1000 * receiver.wall_s()))
        parcel = messages.pack(messages.Parcel(receiver.me, b"t", sealed))
        effects = receiver.message(
            network.now, carrier.address, Rpc(carrier.me, Memory(), 1).wrap(parcel, False)
        )
        assert any(send.address == carrier.address for send in effects.sends) == heard
        assert receiver.counts["relay_unasked"] == (not heard)
        receiver.counts.clear()


def test_a_request_to_be_carried_for_has_a_time_of_eight_bytes() -> None:
    network, peers = hidden_mesh(2, 1)
    relay, who = peers[0].node, Identity.seeded("who")
    contact = Contact(who.id, "none:", relay.table.own.tobytes(), 1)
    for said in (b"", b"\xff" * 7, b"\xff" * 9, b"\xff" * 4000):
        body = messages.pack(messages.Relay(contact, seal(who, relay.me, said, 0)))
        ask = Rpc(who.id, Memory(), 5).request(network.now, "x", messages.RELAY, body, None)[0]
        (answer,) = relay.message(network.now, "memory:77", ask.payload).sends
        assert b"malformed" in answer.payload
    assert who.id not in relay.relays._clients


def test_what_would_cut_a_client_off_is_not_carried_and_what_it_costs_its_sender_pays() -> None:
    network, peers = hidden_mesh(2, 1)
    hidden = peers[2].node
    relay = next(
        p.node for p in peers[:2] if hidden.me == p.node.me or p.node.me == hidden.relays._through
    )
    other = next(p.node for p in peers[:2] if p.node is not relay)
    most, rpc = Memory().max_message_bytes, Rpc(other.me, Memory(), 1)
    at_ms = int(1000 * relay.wall_s())
    bare = (
        len(
            rpc.wrap(
                messages.pack(
                    messages.Parcel(
                        hidden.me, b"", seal(other.identity, hidden.me, b"x" * 60_000, at_ms)
                    )
                ),
                True,
            )
        )
        - 60_000
    )
    for size, carried in ((most - bare, 0), (most - bare - 16, 1)):
        sealed = seal(other.identity, hidden.me, b"x" * size, at_ms)
        message = rpc.wrap(messages.pack(messages.Parcel(hidden.me, b"", sealed)), True)
        assert len(message) <= most
        sends = relay.message(network.now, other.address, message).sends
        assert len(sends) == carried
        assert all(len(send.payload) <= most for send in sends)
    assert relay.counts["relay_size"] == 1
    for number in range(40):  # costly requests in a row: the relay stays connected
        inner = Rpc(other.me, Memory(), number).request(
            0.0, "x", messages.KEEP, messages.pack(messages.Keep(other.contact(), b"")), None
        )
        sealed = seal(other.identity, hidden.me, inner[0].payload, at_ms + number)
        parcel = messages.pack(messages.Parcel(hidden.me, b"t", sealed))
        effects = hidden.message(
            network.now, relay.address, Rpc(relay.me, Memory(), 1).wrap(parcel, False)
        )
        assert effects.forget == []
    assert hidden.counts["refused_busy"] > 0


def test_a_promise_that_is_over_cannot_be_had_again_by_its_old_words() -> None:
    network, peers = hidden_mesh(2, 1)
    relay, victim = peers[0].node, peers[2].node
    said = int(1000 * relay.wall_s() + 5000).to_bytes(8, "big")
    body = messages.pack(messages.Relay(victim.contact(), seal(victim.identity, relay.me, said, 0)))
    ask = (
        Rpc(victim.me, Memory(), 5).request(network.now, "x", messages.RELAY, body, None)[0].payload
    )
    relay.message(network.now, "memory:2", ask)
    assert victim.me in relay.relays._clients
    relay.relays._clients.clear()  # as when it has not renewed it
    relay.message(network.now, "memory:66", ask)
    assert victim.me not in relay.relays._clients


def test_who_forwards_much_costs_others_no_ticket_and_a_client_not_its_relay() -> None:
    network, peers = hidden_mesh(3, 1)
    hidden = peers[3].node
    relay = next(p.node for p in peers[:3] if hidden.me in p.node.relays._clients)
    sealed = seal(peers[1].node.identity, hidden.me, b"x", int(1000 * relay.wall_s()))
    parcel = messages.pack(messages.Parcel(hidden.me, b"", sealed))
    now = network.now
    relay.message(now, "memory:1", Rpc(peers[1].node.me, Memory(), 1).wrap(parcel, True))
    (honest,) = [t for t, (place, _) in relay.relays._tickets.items() if place == "memory:1"]
    carried = 0
    for number in range(3000):  # each time in another name, over one connection
        message = Rpc(Identity.seeded("n", number).id, Memory(), 1).wrap(parcel, True)
        now += 0.004
        carried += len(relay.message(now, "memory:77", message).sends)
    assert carried > MOST_TICKETS
    assert honest in relay.relays._tickets
    assert len(relay.relays._tickets) <= MOST_TICKETS
    many = [Rpc(Identity.seeded("m", number).id, Memory(), 1) for number in range(8)]
    sent = [
        relay.message(now, f"memory:{900 + at}", rpc.wrap(parcel, True)).sends
        for _ in range(300)
        for at, rpc in enumerate(many)
    ]
    assert sum(map(len, sent)) <= 1000.0  # half of what makes a node hang up
    assert relay.counts["relay_rate"] > 0


def test_nobody_registers_in_anothers_name() -> None:
    network, peers = hidden_mesh(2, 1)
    relay, victim = peers[0].node, peers[2].node
    mallory = Identity.seeded("mallory")
    now = network.now
    said = int(1000 * relay.wall_s() + 5000).to_bytes(8, "big")
    claim = seal(mallory, relay.me, said, 0)
    body = messages.pack(messages.Relay(victim.contact(), claim))
    before = dict(relay.relays._clients)
    ask = Rpc(victim.me, Memory(), 5).request(now, "x", messages.RELAY, body, None)[0].payload
    relay.message(now, "memory:66", ask)
    assert relay.relays._clients == before
    assert relay.counts["refused_relay"] >= 1
    # What the victim itself has said once, long ago or already, is not taken again.
    for late in (0, -10_000_000):
        said = int(1000 * relay.wall_s() + late).to_bytes(8, "big")
        body = messages.pack(
            messages.Relay(victim.contact(), seal(victim.identity, relay.me, said, 0))
        )
        ask = Rpc(victim.me, Memory(), 5).request(now, "x", messages.RELAY, body, None)[0].payload
        relay.message(now, "memory:2", ask)
        known = dict(relay.relays._clients)
        relay.message(now, "memory:66", ask)
        assert relay.relays._clients == known


def test_what_nobody_has_promised_is_not_carried() -> None:
    network, peers = mesh(3)
    relay, asker = peers[0].node, peers[1].node
    sealed = messages.Sealed(b"k" * 32, b"x", b"s" * 64)
    for ticket in (b"", b"unknown!"):
        parcel = messages.pack(messages.Parcel(peers[2].node.me, ticket, sealed))
        message = Rpc(asker.me, Memory(), 1).wrap(parcel, True)
        assert relay.message(network.now, "memory:1", message).sends == []
    assert relay.counts["relay_unknown"] == 2
    flood = [relay.message(network.now, "memory:1", message) for _ in range(900)]
    assert not any(effects.sends for effects in flood)
    assert relay.counts["relay_rate"] > 0


@pytest.mark.parametrize(
    ("address", "valid"),
    [
        (relay_address(b"i" * 32, "tcp://10.0.0.1:7700"), True),
        (relay_address(b"i" * 32, "tls+tcp://host:7700"), True),
        (relay_address(b"j" * 32, "tcp://10.0.0.1:7700"), False),
        (relay_address(b"i" * 32, relay_address(b"i" * 32, "tcp://h:1")), False),
        (relay_address(b"i" * 32, "pipe:3"), False),
        ("relay:zz@tcp://h:1", False),
        ("relay:", False),
        ("back:00.00@pipe:1", False),
        ("pipe:3", False),
        (UNREACHABLE, True),
    ],
)
def test_a_contact_tells_of_no_address_but_its_own(address: str, valid: bool) -> None:
    assert Contact(b"i" * 32, address, b"\x01" * 4, 1).valid(4) == valid


@pytest.mark.parametrize("secure", [False, True])
def test_over_sockets_and_over_tls(tmp_path, secure: bool) -> None:
    authority = Authority.init(tmp_path / "authority") if secure else None
    network = MemoryNetwork()
    hosts: list[MeshHost] = []
    try:
        for number in range(3):
            peer = Peer(network, number)
            node = peer.node
            tls = None
            if authority is not None:
                authority.issue(node.me, ["127.0.0.1"], 1.0, tmp_path / str(number))
                tls = Tls(tmp_path / str(number))
            scheme = "tls+tcp" if secure else "tcp"
            listen = f"{scheme}://127.0.0.1:0" if number == 0 else ""
            transport = PynngTransport(listen, Tcp().max_message_bytes, tls)
            node.address, node.relays.wanted = transport.address, not listen
            node.epoch_s = time.time() - time.monotonic()
            node.clock(time.monotonic())
            join = [host.node.address for host in hosts[:1]]
            recorder = Recorder(str(number), None, watched=True)
            hosts.append(MeshHost(node, transport, recorder, lambda join=join: join))
            hosts[-1].start()
            hosts[-1].end_period(0, peer.publication, 1.0)
        until(lambda: all(relayed(host.node.address) for host in hosts[1:]))
        key = b"k" * 32
        # The two that only dial out talk to each other: through the first.
        until(
            lambda: (
                [h.end_period(1, None, 1.0) for h in hosts]
                and hosts[2].node.me in hosts[1].node.table.contacts
            )
        )
        assert hosts[1].store(key, b"value", 60.0).result(PATIENCE_S) >= 1
        found = hosts[2].get(key).result(PATIENCE_S)
        assert [record.value for record in found] == [b"value"]
        until(
            lambda: (
                [h.end_period(1, None, 1.0) for h in hosts]
                and 1 in [len(h.node.held) for h in hosts[2:]]
            )
        )
        assert hosts[0].node.counts["relayed"] > 0
        assert not any(host.node.rpc.counts["impostor"] for host in hosts)
    finally:
        for host in hosts:
            host.close()


def until(condition) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
