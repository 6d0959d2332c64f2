"""What a running node knows of itself, as plain values; and a local socket that tells it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsynth.cohort.service import Cohorts
from qsynth.errors import MeshError, StateError
from qsynth.host.mesh_host import MeshHost

if TYPE_CHECKING:
    from qsynth.pipeline.participant import Participant  # with torch: a node serves before that

NAME = "status.sock"  # of a node's home
MOST_PATH = 107  # bytes: sizeof(sun_path) - 1
ANSWER_S = 10.0
MOST_BYTES = 1 << 20
Status = dict[str, Any]


class Learning:
    """What the learning of a node last told of itself: another thread reads it."""

    def __init__(self) -> None:
        self.told: Mapping[str, Any] = {}

    def tell(self, **told: Any) -> None:
        """Replace some of the values."""
        self.told = {**self.told, **told}

    def exchanged(self, period: int, participant: Participant, gain: float) -> None:
        """Tell how the learning is after an exchange.

        gain: nats a sample that packets bring to the likelihood of own samples.
        """
        self.tell(
            period=period,
            validation=participant.validation,
            gain=gain,
            authors=len(participant.synthesized().authors),
            samples=len(participant.pipeline.samples.train_y),
            lost=participant.lost,
            privacy=participant.budget.told(),
        )


def status_of(host: MeshHost, learning: Learning, home: Path | None) -> Status:
    """Return a node's state: whom it knows, what it holds, has sent and refused, and has learned.

    home: of the files that are measured.
    """
    node, now = host.node, time.time()
    with host.paused():
        own = node.own_packet
        cohorts = node.service(Cohorts)
        made: Status = {
            "node": node.me.hex(),
            "address": node.address,
            "since_s": round(now - host.began_s, 1),
            "error": host.error,
            "alone": node.alone,
            "peers": len(node.table.contacts),
            "packets_held": len(node.held),
            "published": {
                "sequence": node.sequence,
                "bytes": len(own[1]) if own else 0,
                "age_s": round(node.wall_s() - own[0].created_s, 1) if own else None,
            },
            "cohort": cohorts.told.members if cohorts and cohorts.told else None,
            "refused": dict(node.counts),
            "requests": {
                kind: {"answered": count, "waited_s": round(node.rpc.waited_s[kind], 6)}
                for kind, count in sorted(node.rpc.answered.items())
            },
            "requests_lost": dict(node.rpc.counts),
            "shed": host.transport.shed,
        }
    made |= {
        "events": host.recorder.counted(),
        "sent": host.recorder.traffic(),
        "learning": dict(learning.told),
        "home_bytes": None if home is None else bytes_below(home),
        "journal_bytes": None if home is None else size_of(home / "journal"),
        "certificate_days": host.certificate_days,
    }
    return made


def size_of(path: Path) -> int:
    """Return the bytes of a file; 0 of one that is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def bytes_below(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(size_of(path) for path in folder.rglob("*") if path.is_file())


class StatusSocket:
    """Tell whoever of this machine may open a home what its node's status is.

    source: gives the status.  Where the home's path is too long for a socket there is none, and
    `tell` says so.
    """

    def __init__(
        self, home: Path, source: Callable[[], Status], tell: Callable[[str], None]
    ) -> None:
        self.path, self.source = home / NAME, source
        self._stopped = threading.Event()
        self._socket: socket.socket | None = None
        if len(os.fsencode(self.path.absolute())) > MOST_PATH:
            tell(f"no qsynth node status: {self.path} is too long a path for a socket")
            return
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()  # of a node that was killed: the home's lock says that it is dead
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(str(self.path))
            self.path.chmod(0o600)
            self._socket.listen(8)
        except OSError as error:
            self._socket.close()
            raise StateError(f"{self.path}: cannot be made ({error})") from None
        self._socket.settimeout(0.5)
        threading.Thread(target=self._serve, name="status", daemon=True).start()

    def _serve(self) -> None:
        assert self._socket is not None
        while not self._stopped.is_set():
            try:
                asked, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return  # closed
            with asked, contextlib.suppress(OSError):
                asked.settimeout(ANSWER_S)
                asked.sendall(json.dumps(self._told()).encode())

    def _told(self) -> Status:
        try:
            return self.source()
        except Exception as error:  # a bug here must not silence the node for ever
            return {"error": f"{type(error).__name__}: {error}"}

    def close(self) -> None:
        """Tell nobody any more."""
        self._stopped.set()
        if self._socket is not None:
            self._socket.close()
            self.path.unlink(missing_ok=True)


def ask(home: Path) -> Status:
    """Return the status of the node that runs in a home.  Raises MeshError where none does."""
    path, parts = home / NAME, b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.settimeout(ANSWER_S)
            asked.connect(str(path))
            while len(parts) < MOST_BYTES and (part := asked.recv(1 << 16)):
                parts += part
        status: Status = json.loads(parts)
    except (OSError, ValueError) as error:
        raise MeshError(
            f"--home={home}: no node answers there: none is running, or it is still loading its "
            f"data ({error})"
        ) from None
    if "node" not in status:
        raise MeshError(f"--home={home}: its node cannot tell ({status.get('error')})")
    return status


def in_words(status: Status) -> list[str]:
    """Return a status as a few lines for a person."""
    learning, published = status["learning"], status["published"]
    lines = [
        f"node {status['node'][:16]} at {status['address']}, up {_lasted(status['since_s'])}: "
        + (status["error"] or learning.get("state", "starting")),
        f"knows {status['peers']} nodes, holds {status['packets_held']} packets"
        + (", has found nobody yet" if status["alone"] else ""),
        f"published packet {published['sequence']}: {published['bytes']} bytes"
        if published["bytes"]
        else "has published nothing",
    ]
    if "period" in learning:
        score = learning["validation"]
        shown = "unknown" if score is None else f"{score:.3f}"
        lines.append(
            f"learns from {learning['samples']} own samples and {learning['authors']} authors "
            f"({learning['gain']:+.3f} nats a sample), validation {shown}"
        )
    if learning.get("privacy"):
        told = learning["privacy"]
        lines.append(
            f"privacy: epsilon {told['spent']:g} of {told['epsilon']:g} spent, {told['left']:g} "
            "left"
        )
    refused = sum(status["refused"].values())
    lines.append(f"refused or left out: {refused} (--json says what)" if refused else "refused: 0")
    if status["certificate_days"] is not None:
        left = status["certificate_days"]
        lines.append(f"certificate, authority or revocations: the first ends in {left:.0f} days")
    return lines


def _lasted(seconds: float) -> str:
    """Return a time in its largest units."""
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"
