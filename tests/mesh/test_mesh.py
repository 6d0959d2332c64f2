from __future__ import annotations

import time

import pynng
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsynth.errors import MeshError
from qsynth.mesh import Answer, Faults, MemoryNetwork, Request, Rpc
from qsynth.mesh.frames import DATA, LENGTH, MANY, messages_in
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.mesh.transport import MeshOptions

ME, YOU = b"m" * 32, b"y" * 32


def pair() -> tuple[Rpc, Rpc]:
    return Rpc(ME, MeshOptions()), Rpc(YOU, MeshOptions())


def test_a_request_is_answered() -> None:
    mine, yours = pair()
    (send,) = mine.request(0.0, "you", "ping", b"body", tag="why")
    request = yours.receive("me", send.payload)
    assert isinstance(request, Request)
    assert (request.kind, request.sender, request.body) == ("ping", ME, b"body")
    answer = mine.receive("you", yours.answer(request, b"back").payload)
    assert answer == Answer("ping", YOU, b"back", "why", False)
    assert mine.wake_at is None


def test_a_refusal_is_an_answer_too() -> None:
    mine, yours = pair()
    (send,) = mine.request(0.0, "you", "ping", b"", None)
    request = yours.receive("me", send.payload)
    answer = mine.receive("you", yours.answer(request, b"no", refused=True).payload)
    assert answer.refused


def test_a_request_is_sent_again_and_then_given_up() -> None:
    mine, _ = pair()
    mine.request(0.0, "you", "ping", b"", "tag")
    assert mine.wake_at == 2.0
    assert mine.due(1.9) == ([], [])
    again, failed = mine.due(2.0)
    assert len(again) == 1
    assert failed == []
    again, failed = mine.due(4.0)
    assert again == []
    assert [(f.kind, f.tag) for f in failed] == [("ping", "tag")]
    assert mine.counts["timeout"] == 1
    assert mine.wake_at is None


def test_a_late_or_second_answer_is_counted_and_dropped() -> None:
    mine, yours = pair()
    (send,) = mine.request(0.0, "you", "ping", b"", None)
    answer = yours.answer(yours.receive("me", send.payload), b"").payload
    assert mine.receive("you", answer) is not None
    assert mine.receive("you", answer) is None
    assert mine.counts["late_answer"] == 1


def test_too_much_under_way_is_counted() -> None:
    mine = Rpc(ME, MeshOptions(max_pending=2))
    sends = [mine.request(0.0, "you", "ping", b"", None) for _ in range(3)]
    assert [len(s) for s in sends] == [1, 1, 0]
    assert mine.counts["too_many_requests"] == 1


def test_what_is_too_large_is_counted() -> None:
    mine, _ = pair()
    assert mine.receive("you", b"\x96" + b"x" * 70_000) is None
    assert mine.counts["oversize"] == 1


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_counted_and_dropped(data) -> None:
    mine, _ = pair()
    received = mine.receive("you", data)
    assert received is None or isinstance(received, Request)
    assert received is not None or sum(mine.counts.values()) == 1


def test_the_memory_network_is_the_same_twice() -> None:
    def run(seed: int) -> list[tuple[float, str, bytes]]:
        network = MemoryNetwork(0.1, seed)
        got: list[tuple[float, str, bytes]] = []
        transport = network.attach("a", lambda *_: None)
        network.attach("b", lambda now, sender, data: got.append((now, sender, data)))
        for i in range(10):
            transport.send("b", bytes([i]))
        network.run_until(1.0)
        return got

    assert run(1) == run(1) != run(2)
    assert len(run(1)) == 10
    assert [t for t, _, _ in run(1)] == sorted(t for t, _, _ in run(1))


def test_the_dead_get_nothing_and_lost_messages_do_not_arrive() -> None:
    network = MemoryNetwork(0.1, faults=Faults(loss=0.5))
    got: list[bytes] = []
    a = network.attach("a", lambda *_: None)
    b = network.attach("b", lambda now, sender, data: got.append(data))
    for i in range(200):
        a.send("b", bytes([i]))
    network.run_until(1.0)
    assert 60 < len(got) < 140
    b.close()
    before = len(got)
    a.send("b", b"x")
    network.run_until(2.0)
    assert len(got) == before
    assert not network.step()


def receive(transport, *others, seconds: float = 10.0) -> list[tuple[str, bytes]]:
    """Messages, or nothing once the time is over: bounded, and never a sleep.

    others: transports whose loop turns meanwhile, as a mesh thread would turn it.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for other in others:
            assert other.receive(0.0) == []
        if messages := transport.receive(0.002):
            return messages
    return []


@pytest.fixture(params=["ipc", "tcp"])
def transports(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    made = [
        PynngTransport(
            f"ipc://{folder}/{i}" if request.param == "ipc" else "tcp://127.0.0.1:0", 65536
        )
        for i in range(2)
    ]
    yield made
    for transport in made:
        transport.close()


def test_a_connection_works_in_both_directions(transports) -> None:
    listener, dialer = transports
    dialer.send(listener.address, b"hello")
    ((back, data),) = receive(listener, dialer)
    assert data == b"hello"
    listener.send(back, b"answer")  # over the connection that the other one dialled
    ((_, data),) = receive(dialer, listener)
    assert data == b"answer"
    assert listener.shed == {}
    assert dialer.shed == {}


@pytest.mark.parametrize("burst", [1, 40])
def test_bursts_arrive_whole_and_in_order(transports, burst) -> None:
    listener, dialer = transports
    got: list[int] = []
    for start in range(0, 400, burst):
        for i in range(start, start + burst):
            dialer.send(listener.address, i.to_bytes(2, "big") + b"x" * 500)
        while len(got) < start + burst and (messages := receive(listener, dialer)):
            got += [int.from_bytes(data[:2], "big") for _, data in messages]
    assert got == list(range(400))
    assert dialer.shed == {}


def test_both_sides_talk_at_once_and_nothing_is_lost(transports) -> None:
    listener, dialer = transports
    dialer.send(listener.address, b"first")
    ((back, _),) = receive(listener, dialer)
    for i in range(100):
        dialer.send(listener.address, bytes([i]))
        listener.send(back, bytes([i]))
    got: list[list[bytes]] = [[], []]
    end = time.monotonic() + 20.0
    while min(map(len, got)) < 100 and time.monotonic() < end:
        for side, transport in enumerate(transports):
            got[side] += [data for _, data in transport.receive(0.002)]
    assert got == [[bytes([i]) for i in range(100)]] * 2


def test_what_cannot_be_sent_is_counted(transports) -> None:
    transport = transports[0]
    transport.send("pipe:12345", b"x")
    assert transport.shed["disconnected"] == 1
    transport.send("nonsense://x", b"x")
    assert transport.shed["undialable"] == 1
    local = transport.address.startswith("ipc://")
    nowhere = "ipc:///tmp/qsynth-nobody-listens-here" if local else "tcp://127.0.0.1:1"
    for _ in range(70):
        transport.send(nowhere, b"x")
    assert transport.shed["queue_full"] == 6
    transport.forget(nowhere)
    assert transport.shed["unreachable"] == 64


def test_who_speaks_tcp_is_not_sent_to_a_socket_of_its_machine(transports) -> None:
    """Peers tell addresses; the other way round likewise."""
    transport = transports[0]
    local = transport.address.startswith("ipc://")
    transport.send("tcp://127.0.0.1:1" if local else "ipc:///tmp/qsynth-somebody-listens", b"x")
    assert transport.shed["undialable"] == 1
    assert not transport._dialled


def test_a_connection_that_comes_up_after_its_address_was_forgotten_is_no_error(transports) -> None:
    listener, dialer = transports
    dialer.send(listener.address, b"x")
    end = time.monotonic() + 10.0
    while not dialer._arrived and time.monotonic() < end:
        listener.receive(0.002)
    assert dialer._arrived
    dialer.forget(listener.address)
    assert dialer.receive(0.0) == []
    dialer.send(listener.address, b"again")
    assert [data for _, data in receive(listener, dialer)] == [b"again"]


def test_an_oversize_message_never_arrives(transports) -> None:
    listener, dialer = transports
    dialer.send(listener.address, b"x" * 100_000)
    assert receive(listener, dialer, seconds=0.5) == []


def test_a_waiting_receive_is_woken(transports) -> None:
    transport = transports[0]
    transport.wake()
    began = time.monotonic()
    assert transport.receive(30.0) == []
    assert time.monotonic() - began < 20.0


def test_addresses_that_cannot_be_bound_are_one_clear_error(tmp_path) -> None:
    with pytest.raises(MeshError, match="at most 107"):
        PynngTransport("ipc:///" + "x" * 120, 65536)
    with pytest.raises(MeshError, match="cannot be listened on"):
        PynngTransport("tcp://203.0.113.1:1", 65536)


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20))
def test_messages_that_share_a_frame_come_out_as_they_went_in(sent) -> None:
    frame = bytes([DATA | MANY]) + b"".join(LENGTH.pack(len(m)) + m for m in sent)
    assert messages_in(frame) == sent
    assert messages_in(bytes([DATA]) + sent[0]) == [sent[0]]
    assert messages_in(frame[:-1]) is None


@given(st.binary(max_size=200))
def test_any_frame_is_messages_or_refused(frame) -> None:
    found = messages_in(frame)
    assert found is None or sum(map(len, found)) < max(len(frame), 1)


def test_who_sends_rubbish_is_hung_up_on(transports) -> None:
    """And so is who the node says sends too much; others are served as before."""
    listener, dialer = transports
    with pynng.Pair1(polyamorous=True, send_timeout=100) as rude:
        rude.dial(listener.address, block=True)
        end = time.monotonic() + 10.0
        while not listener.shed.get("hung_up") and time.monotonic() < end:
            listener.receive(0.002)
            for pipe in rude.pipes:
                try:
                    rude.send_msg(pynng.Message(b"\x77rubbish", pipe), block=False)
                except pynng.NNGException:
                    pass  # hung up on
        assert listener.shed["hung_up"] == 1
    dialer.send(listener.address, b"hello")
    ((back, _),) = receive(listener, dialer)
    listener.forget(back)
    listener.forget(back)  # once more than there is
    assert listener.shed["hung_up"] <= 3
    dialer.send(listener.address, b"again")


def test_what_waits_goes_together_and_never_beyond_the_limit(transports) -> None:
    listener, dialer = transports
    dialer.send(listener.address, b"first")
    receive(listener, dialer)
    sizes = [30_000, 30_000, 5_000, 65_536, 1, 60_000, 5_520, 5_529, 9]
    for size in sizes:
        dialer.send(listener.address, b"x" * size)
    got: list[int] = []
    while len(got) < len(sizes) and (messages := receive(listener, dialer)):
        got += [len(data) for _, data in messages]
    assert got == sizes
    assert listener.shed == {}
