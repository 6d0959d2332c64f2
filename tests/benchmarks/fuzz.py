"""Feed every decoder with damaged input: none may crash, hang, or allocate without measure.

    PYTHONPATH=. python tests/benchmarks/fuzz.py [--seconds 60] [--executions N] [--seed 0]
        [--only DECODER ...]

Valid inputs are mutated: bits, bytes, numbers at their ends, cuts, repeats, splices; half of those
of deep decoders are signed or summed again, so that they get past the first checks.  What a decoder
may answer is its result, nothing, or its own refusal; anything else ends the run with the input.
Every fiftieth execution is measured for what it allocates; an execution that takes too much CPU
time, or fifty that do not end, fail the run.  One JSON object a decoder.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import random
import signal
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.cohort import messages as cohort
from qsynth.cohort.service import Cohorts
from qsynth.dht import Contact
from qsynth.dht.record import Record
from qsynth.distill import distil, read_evidence
from qsynth.distill.analytic import Analytic
from qsynth.distill.class_logits import ClassLogits, code_logits
from qsynth.distill.mosaic import Images, Mosaic, code_mosaic
from qsynth.distill.reference_logits import ReferenceLogits, code_answers
from qsynth.errors import PacketError
from qsynth.identity import Identity, verify
from qsynth.mesh.frames import DATA, LENGTH, MANY, messages_in
from qsynth.mesh.rpc import Rpc
from qsynth.mesh.tcp import Tcp
from qsynth.packet import OutcomePacket, Payload, decode_packet, encode_packet
from qsynth.protocol import messages
from qsynth.protocol.handlers import BODIES
from qsynth.protocol.journal import FRAME, Entry, State, entries_in
from qsynth.records.service import Records
from qsynth.similarity import fingerprint
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.sums.tree import SumTree
from qsynth.trust import Admission
from qsynth.trust.config import Checks
from qsynth.types import Task

ME, OTHER = Identity.seeded("fuzz", 1), Identity.seeded("fuzz", 2)
SLOWEST_S = 1.0  # CPU time of one execution: other jobs may hold the core meanwhile
HUNG_S = 60  # within which the next MEASURED executions end, or the run shows where it hangs
MEASURED = 50  # executions of which one is measured
ENDS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
TASK = Task("fuzz", 1, ("a", "b", "c", "d"), "image", (1, 4, 4), "", 0.0, 1.0)
NOW = 1000.0
Decoder = Callable[[bytes], Any]


# The bodies of all requests: the node's own, and those of its services.
KINDS = list((BODIES | dict(Records.bodies) | dict(SumTree.bodies) | dict(Cohorts.bodies)).values())
RULES = (ClassLogits(), ReferenceLogits(), Mosaic())  # that read more than statistics


@dataclass(frozen=True)
class Target:
    """A decoder, valid inputs, and what it may raise.

    sealed: turns a mutated input into one that passes the first checks, so that the deeper ones
    are reached too.
    """

    decode: Decoder
    seeds: tuple[bytes, ...]
    refusals: tuple[type[Exception], ...] = ()
    sealed: Callable[[bytes], bytes] | None = None


def payloads() -> list[Payload]:
    """Return a valid payload of every rule that codes by itself."""
    rng = np.random.default_rng(0)
    y = np.arange(80) % 4
    x = (rng.standard_normal((80, 16)) + y[:, None]).astype(np.float32)
    made = [
        distil(config, 16, x, x, y, 4)
        for config in (
            Analytic(rank=4, input_rank=2),
            Analytic(coding="means"),
            Analytic(coding="diagonal"),
        )
    ]
    few = distil(Analytic(max_bytes=1400, rank=4), 8, x, None, y * 20, 80)
    logits = made[1] | code_logits(rng.standard_normal((80, 4)), y, 4)
    answers = made[1] | code_answers(rng.standard_normal((20, 4)), bytes(8))
    images = Images(rng.random((6, 1, 8, 8)).astype(np.float32), np.arange(6) % 4)
    return [*made, few, logits, answers, made[1] | code_mosaic(images, 2000)]


def packet(payload: Payload) -> bytes:
    """Return a signed packet with a payload."""
    return encode_packet(
        OutcomePacket(
            b"t" * 16,
            b"e" * 16,
            OTHER.public_key,
            3,
            NOW - 1,
            3600,
            int(payload["counts"].sum()),
            payload,
        ),
        OTHER,
    )


def signed(data: bytes) -> bytes:
    """Return a packet's bytes with a signature that holds, whatever stands before it."""
    body = data[:-64] if len(data) > 64 else data
    return body + OTHER.sign(body)


def framed(data: bytes) -> bytes:
    """Return a journal of one entry with a checksum that holds."""
    body = data[FRAME.size :]
    return FRAME.pack(len(body), zlib.crc32(body)) + body


def targets(folder: Path) -> dict[str, Target]:
    """Return every decoder by name."""
    sketch = ClassSketch()
    admission = Admission(
        Checks(),
        TASK,
        b"t" * 16,
        b"e" * 16,
        read_evidence,
        lambda counts, sums: fingerprint(sketch, counts, sums),
    )
    packets = tuple(packet(payload) for payload in payloads())
    rpc = Rpc(ME.id, Tcp(), 0)
    sends = Rpc(OTHER.id, Tcp(), 1).request(0.0, "a", "hello", b"x" * 50, None)
    bodies = _bodies(packets[0])

    def arrays(data: bytes) -> Any:
        payload = decode_packet(data).payload
        for rule in RULES:
            with contextlib.suppress(PacketError):  # of this rule alone
                read_evidence(payload, rule)
        return read_evidence(payload)

    def body(data: bytes) -> Any:
        return messages.unpack(data[1:], KINDS[data[0] % len(KINDS)]) if data else None

    def record(data: bytes) -> Any:
        made = messages.unpack(data, messages.StoreRequest)
        return made.record.flaw(NOW * 1000) if made is not None else None

    def parcel(data: bytes) -> Any:
        made = messages.unpack(data, messages.Parcel)
        if made is None:
            return None
        sealed = made.sealed
        verify(sealed.author, ME.id + sealed.payload, sealed.signature)
        return rpc.receive("a", sealed.payload, OTHER.id)

    carried = messages.pack(
        messages.Parcel(
            ME.id,
            b"ticket",
            messages.Sealed(
                OTHER.public_key, sends[0].payload, OTHER.sign(ME.id + sends[0].payload)
            ),
        )
    )
    frames = (bytes([DATA]) + b"x" * 40, bytes([DATA | MANY]) + (LENGTH.pack(9) + b"x" * 9) * 5)
    with State(folder) as state:
        state.append([Entry("own", packets[0], None, 3), Entry("held", packets[1], None)])
    written = (folder / "journal").read_bytes()
    return {
        "packet": Target(decode_packet, packets, (PacketError,)),
        "admission": Target(
            lambda data: admission.admit(data, OTHER.id, -1, None, 0, NOW),
            packets,
            (PacketError,),
            signed,
        ),
        "evidence": Target(arrays, packets, (PacketError,), signed),
        "envelope": Target(lambda d: rpc.receive("a", d), tuple(send.payload for send in sends)),
        "body": Target(body, bodies),
        "parcel": Target(parcel, (carried,)),
        "record": Target(record, bodies),
        "frame": Target(messages_in, frames),
        "journal": Target(entries_in, (written,), sealed=framed),
    }


def _bodies(data: bytes) -> tuple[bytes, ...]:
    contact = Contact(OTHER.id, "tcp://10.0.0.1:7700", b"\x01" * 64, 3)
    stored = Record(b"k" * 32, OTHER.public_key, 1, int(NOW * 1000) + 5000, b"value", b"s" * 64)
    made = [
        messages.Hello(contact, {"name": b"t" * 8}, b"e" * 16),
        messages.Search(contact, b"\x01" * 64, 3, 0),
        messages.Fetch(contact, OTHER.id, 1),
        messages.Notice(contact),
        messages.Gossip(contact, 1, [contact]),
        messages.Keep(contact, data),
        messages.StoreRequest(contact, stored),
        messages.Relay(contact, messages.Sealed(OTHER.public_key, b"t" * 8, b"s" * 64)),
    ]
    offer = cohort.Offer(OTHER.public_key, b"k" * 32, int(NOW * 1000) + 5000, b"s" * 64)
    joined = cohort.Joined(0, [b"k" * 32], [b"b" * 32], b"s" * 64)
    check = (5, b"s" * 64)
    total = cohort.Opening([0], b"t" * 20, [b"s" * 16], [(1, b"s" * 16)], [b"c" * 32], [check], b"")
    made += [
        cohort.Begin(contact, b"n" * 16, [offer]),
        cohort.Add(contact, b"n" * 16, 1, [joined], [b"x" * 48], total),
        cohort.Agree(contact, b"n" * 16, 0, [0, 1]),
        cohort.Open(contact, b"n" * 16, 0, [0], [b"c" * 32], [(0, b"s" * 64)]),
        cohort.Show(contact, b"n" * 16, 0, 0, b"x" * 40, b"s" * 64),
        cohort.End(contact, b"n" * 16, total),
    ]
    return tuple(bytes([KINDS.index(type(body))]) + messages.pack(body) for body in made)


def mutated(rng: random.Random, seeds: tuple[bytes, ...]) -> bytes:
    """Return a valid input with one to six damages."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 6)):
        at, how = rng.randrange(len(data) + 1), rng.randrange(7)
        if not data or how == 0:
            data[at:at] = rng.randbytes(rng.randint(1, 8))
        elif how == 1:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif how == 2:
            data[at % len(data)] = rng.randrange(256)
        elif how == 3:
            wide = rng.choice((1, 2, 4))
            data[at : at + wide] = (rng.choice(ENDS) & (256**wide - 1)).to_bytes(wide, "little")
        elif how == 4:
            del data[at : at + rng.randint(1, 40)]
        elif how == 5:
            data[at:at] = data[at : at + rng.randint(1, 40)]
        else:
            other = rng.choice(seeds)
            data[at:] = other[rng.randrange(len(other)) :]
    return bytes(data[:65536])


def fuzz(
    name: str, target: Target, rng: random.Random, seconds: float, executions: int
) -> dict[str, Any]:
    """Return how many inputs were decoded and refused, and the worst of time and memory."""
    done = refused = most = 0
    slowest, began = 0.0, time.monotonic()
    tracemalloc.start()
    tracemalloc.stop()
    # Shows where, then ends.  No watchdog thread: its memory is freed while tracemalloc stops.
    faulthandler.register(signal.SIGALRM, chain=True)
    while done < executions and time.monotonic() - began < seconds:
        data = mutated(rng, target.seeds)
        if target.sealed is not None and done % 2:
            data = target.sealed(data)
        measured = done % MEASURED == 0
        if measured:
            signal.alarm(HUNG_S)
            tracemalloc.start()
        start = time.thread_time()
        try:
            target.decode(data)
        except target.refusals:
            refused += 1
        except BaseException:
            print(f"{name}: {data.hex()}", file=sys.stderr)
            raise
        if measured:
            most = max(most, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        else:
            slowest = max(slowest, time.thread_time() - start)
        if slowest > SLOWEST_S:
            raise SystemExit(f"{name}: {slowest:.1f} s for {data.hex()}")
        done += 1
    signal.alarm(0)
    return {
        "decoder": name,
        "executions": done,
        "refused": refused,
        "most_bytes": most,
        "slowest_ms": round(1000 * slowest, 1),
        "per_s": round(done / (time.monotonic() - began)),
    }


def main() -> int:
    """Print a line a decoder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--executions", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    seconds = options.seconds or (60.0 if options.executions is None else 1e9)
    with tempfile.TemporaryDirectory() as folder:
        for name, target in targets(Path(folder)).items():
            if not options.only or name in options.only:
                rng = random.Random(f"{options.seed}/{name}")
                made = fuzz(name, target, rng, seconds, options.executions or 10**12)
                print(json.dumps(made), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
