"""Tell what becomes of a node in its mesh: whom it has joined, who refuses it, and why."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from qsynth.dht.contact import UNREACHABLE
from qsynth.errors import printable
from qsynth.host.mesh_host import MeshHost
from qsynth.host.permuted import permuted

Tell = Callable[[str], None]
ALONE_S = 5.0  # without an answer: say so
WATCH_S = 0.5
STRANGE_S = 30.0  # until somebody alike should have been found
LABELS_S = 5.0  # between two looks at labels
MOST_LINES = 256  # different ones; the rest stand in events.jsonl
AGAIN_S = 60.0  # between two lines on whom it learns from
MOST_NAMED = 4
RECENT_S = 60.0  # in which nodes must have been lost for the mesh to look cut
LEAST_LOST = 3
CUT, WHOLE = 0.3, 0.1  # shares of the nodes known that are lost: from which, and until when
UNSHARED = {
    "auto": "publishes nothing",
    "ask": "a packet waits for consent: qsynth packet show, then approve, with this --home",
    "never": "publishes nothing: publish=never",
}
# By what is counted: each line once.
WARNINGS = {
    "protocol": "a peer speaks another version of the protocol: run the same qsynth everywhere",
    "rejected_future": "a packet from the future: this clock or its author's is off",
    "impostor": "somebody speaks in another node's name, or its certificate is another node's",
    "over_budget": "mesh.bytes_per_hour is spent: messages are left out until it has grown again",
    "rate": "a peer sends more than mesh.requests_per_s: the rest is not looked at",
    "unwelcome": "a node that trust.allow or trust.deny keeps out has tried to talk",
}


class Watcher(threading.Thread):
    """Look at a node's records and counts, and tell each thing once.

    join: the addresses that it was told to join through.  labels: gives what its labels look like
    beside the others', a line, or nothing.  publish: whether packets leave.  warn: takes what
    somebody should look at; None: `tell` does.
    """

    def __init__(
        self,
        host: MeshHost,
        join: tuple[str, ...],
        tell: Tell,
        labels: Callable[[], str | None] = lambda: None,
        publish: str = "auto",
        warn: Tell | None = None,
    ) -> None:
        super().__init__(name="watcher", daemon=True)
        self.host, self.join_through, self.tell, self.labels = host, join, tell, labels
        self.publish, self._warn = publish, warn or tell
        self._stopped = threading.Event()
        self._seen: set[str] = set()
        self._began = time.monotonic()
        self._labels_at = self._began + LABELS_S
        self._dead: deque[tuple[float, str]] = deque(maxlen=4096)
        self._cut = False
        self._used: list[str] = []
        self._told_at = 0.0

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def run(self) -> None:
        """Look now and then."""
        while not self._stopped.wait(WATCH_S):
            now = time.monotonic()
            for record in self.host.recorder.news():
                self.record(now, record)
            self._counted()
            if now - self._began > ALONE_S and self.host.node.alone:
                asked = ", ".join(self.join_through) or "nobody (mesh.join is empty)"
                here = self.host.node.address
                where = "" if here == UNREACHABLE else f"; others can join through {here}"
                self._beware(f"alone: no answer yet; asked {asked}{where}")
            self.partial(now, [node.hex() for node in list(self.host.node.table.contacts)])
            if now >= self._labels_at:
                self._labels_at = now + LABELS_S
                if line := self.labels():
                    self._beware(line)
                if now - self._began > STRANGE_S:
                    self._strangers()

    def partial(self, now: float, known: Sequence[str]) -> None:
        """Tell when many nodes have been lost in a short time, and when they are back."""
        back = set(known)
        kept = [(at, node) for at, node in self._dead if now - at < RECENT_S and node not in back]
        self._dead = deque(kept, maxlen=self._dead.maxlen)
        lost = len({node for _, node in self._dead})
        share = lost / max(lost + len(back), 1)
        if not self._cut and lost >= LEAST_LOST and share >= CUT:
            self._cut = True
            self._warn(
                f"sees only part of the mesh: {lost} of {lost + len(back)} nodes that it "
                f"knew do not answer"
            )
        elif self._cut and share <= WHOLE:
            self._cut = False
            self.tell(f"sees {len(back)} nodes again, and misses {lost}")

    def record(self, now: float, record: dict[str, Any]) -> None:
        """Tell of a record, where it is of interest to the user."""
        event = record["event"]
        if event == "dead":
            self._dead.append((now, record["node"]))
        elif event == "joined":
            self._once(f"joined through {record['through'][:16]}, knows {record['known']}")
        elif event == "synthesis":
            self._learned(now, record)
        elif event == "network_lost":
            self._beware(
                "its network is lost: answers that are no finite numbers; the head answers "
                "alone (a lower learning rate?)"
            )
        elif event == "privacy_spent":
            self._beware(
                "the privacy budget is spent: what it has published stays, and nothing of these "
                "records leaves (privacy.epsilon, privacy.releases)"
            )
        elif event == "cohort":
            self._once(f"holds the sum of {record['members']} nodes of its situation")
        elif event == "cohort_lost":
            self._once(f"no sum: {record['reason']}; it tries again while its budget allows")
        elif event == "unshared":
            self._once(UNSHARED[self.publish])
        elif event == "publish" and self.publish == "ask":
            self._once(f"approved: packet {record['version']} may leave")
        elif event == "relayed":
            self._once(f"reached through {record['through'][:16]}, which relays")
        elif event == "unreachable":
            self._beware(f"no answer at {record['address']}: is a node listening there?")
        elif event == "twin":
            self._beware(
                "another process has this node's identity: was its home copied? end one of them, "
                "and give it another --home"
            )
        elif event == "certificates":
            self.tell(f"took up new certificates; they end in {record['days']:.0f} days")
        elif event == "certificates_refused":
            self._beware(f"goes on with the certificates it has: {record['reason']}")
        elif event == "certificate_ends":
            self._warn(
                f"{record['what']} in mesh.tls ends in {record['days']:.1f} days: copy a new one "
                "there (qsynth node keys); it is taken up while the node runs"
            )
        elif event == "revoked":
            self._once(f"forgot {record['node'][:16]}, whose certificate is refused now")
        elif event == "refused":
            # A peer's words, on somebody's terminal.
            self._beware(f"refused by a peer: {printable(record['reason'])}")

    def _learned(self, now: float, record: dict[str, Any]) -> None:
        """Tell whom it learns from and what that brings, where it is others than before."""
        used = sorted(record["used"])
        if used == self._used or (self._used and now - self._told_at < AGAIN_S):
            return
        self._used, self._told_at = used, now
        gain = sum(record["gains"].get(author, 0.0) for author in used)
        names = ", ".join(author[:16] for author in used[:MOST_NAMED])
        more = f" and {len(used) - MOST_NAMED} more" if len(used) > MOST_NAMED else ""
        self.tell(
            f"learns from {len(used)} of {record['held']} it holds packets of ({names}{more}): "
            f"{gain:+.2f} nats a sample of its own"
            if used
            else f"learns from none of {record['held']} it holds packets of"
        )

    def _strangers(self) -> None:
        """Tell where others are known, and none of them is alike enough to learn from."""
        node = self.host.node
        told = [contact for contact in list(node.table.contacts.values()) if contact.version > 0]
        if told and not node.held and node.peers.k > 0:
            self._once(
                "knows others that have published, and none is alike enough to learn from "
                "(peers.min_similarity)"
            )

    def _counted(self) -> None:
        """Tell what has happened that only counts show."""
        counts = Counter(dict(self.host.node.counts))  # copies: the mesh thread goes on counting
        counts += Counter(dict(self.host.node.rpc.counts))
        for reason, line in WARNINGS.items():
            if counts[reason]:
                self._beware(line)

    def _once(self, line: str) -> None:
        if self._new(line):
            self.tell(line)

    def _beware(self, line: str) -> None:
        """Warn of something, once."""
        if self._new(line):
            self._warn(line)

    def _new(self, line: str) -> bool:
        if line in self._seen or len(self._seen) >= MOST_LINES:
            return False
        self._seen.add(line)
        return True


def labels_beside(host: MeshHost, similarity: Any, labels: Sequence[str]) -> str | None:
    """Return a line where this node's labels look permuted against those of its peers."""
    node = host.node
    with host.paused():
        others = [c.vector() for c in node.table.contacts.values() if c.version > 0]
        own, same = node.table.own.copy(), node.same
    renamed = permuted(similarity, np.asarray(own), others, same)
    if not renamed:
        return None
    pairs = [
        f"{labels[mine]} here looks like {labels[theirs]} there" for mine, theirs in renamed.items()
    ]
    return f"labels look permuted against the peers, check their order: {', '.join(pairs)}"


def label_check(host: MeshHost, similarity: Any, labels: Sequence[str]) -> Callable[[], str | None]:
    """Return what a watcher asks about labels."""
    return partial(labels_beside, host, similarity, labels)
