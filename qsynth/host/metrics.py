"""A node's status for Prometheus, and whether it lives and is ready, over HTTP."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from qsynth.errors import MeshError
from qsynth.host.status import Status
from qsynth.lazy import Deferred
from qsynth.mesh.address import is_loopback

REQUEST_S = 10.0  # of a scrape, from its first byte to its last
MOST_REQUESTS = 16  # at once
_core: Any = Deferred("prometheus_client.core")
_exposition: Any = Deferred("prometheus_client.exposition")

# Of a number in a status: what it is called, what it says, and where it stands.
GAUGES = (
    ("up", "1 while the mesh thread serves without an error", "up"),
    ("uptime_seconds", "since the node has begun to serve", "since_s"),
    ("peers", "other nodes known", "peers"),
    ("packets_held", "packets of others that are held", "packets_held"),
    ("packet_sequence", "number of the packet that is published; 0: none", "published.sequence"),
    ("packet_bytes", "of the packet that is published", "published.bytes"),
    ("packet_age_seconds", "since the packet was made", "published.age_s"),
    ("cohort_members", "nodes in the newest sum of the node's cohort", "cohort"),
    ("period", "exchanges with the mesh so far in this fit", "learning.period"),
    (
        "validation_score",
        "share of validation samples that the network answers rightly; of values, "
        "of variance explained",
        "learning.validation",
    ),
    (
        "gain_nats",
        "nats a sample that packets bring to the likelihood of own samples",
        "learning.gain",
    ),
    ("authors_used", "authors whose packets count in the predictor", "learning.authors"),
    ("training_samples", "own samples that the node learns from", "learning.samples"),
    ("network_lost", "1 where the network's answers are no finite numbers", "learning.lost"),
    ("privacy_epsilon", "epsilon that all publications may cost", "learning.privacy.epsilon"),
    ("privacy_spent", "epsilon that publications have cost", "learning.privacy.spent"),
    ("privacy_left", "epsilon that is left", "learning.privacy.left"),
    ("home_bytes", "of all files of the node", "home_bytes"),
    (
        "journal_bytes",
        "of what the node must not forget, before it is written anew",
        "journal_bytes",
    ),
    (
        "certificate_days",
        "until the first of certificate, authority and list of revocations ends",
        "certificate_days",
    ),
)
# Of a mapping in a status: the name, what it says, its label, and where the mapping stands.
COUNTERS = (
    ("events", "what has happened, by kind", "event", "events"),
    ("refused", "what peers sent and the node refused or left out, by reason", "reason", "refused"),
    ("requests_lost", "requests and messages of no use, by reason", "reason", "requests_lost"),
    ("shed", "connections and messages that were hung up on, by reason", "reason", "shed"),
)


def value_at(status: Mapping[str, Any], path: str) -> float | None:
    """Return a number of a status; None where the node has none."""
    found: Any = status
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return None if found is None else float(found)


class Collected:
    """Give a node's status as families of metrics.

    source: gives the status.
    """

    def __init__(self, source: Callable[[], Status]) -> None:
        self.source = source

    def describe(self) -> list[Any]:
        """Return nothing: no status is asked for before there is a scrape."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the families."""
        status = self.source()
        status["up"] = status["error"] is None
        for name, doc, path in GAUGES:
            family = _core.GaugeMetricFamily(f"qsynth_{name}", doc)
            value = value_at(status, path)
            if value is not None:
                family.add_metric([], value)
            yield family
        for name, doc, label, path in COUNTERS:
            family = _core.CounterMetricFamily(f"qsynth_{name}", doc, labels=[label])
            for key, count in sorted(status[path].items()):
                family.add_metric([key], count)
            yield family
        yield from _messages(status["sent"])
        yield _waits(status["requests"])


def _messages(sent: Mapping[str, Mapping[str, int]]) -> Iterator[Any]:
    for what in ("messages", "bytes"):
        family = _core.CounterMetricFamily(
            f"qsynth_sent_{what}", f"{what} that the node has sent, by kind", labels=["kind"]
        )
        for kind, counts in sent.items():
            family.add_metric([kind], counts[what])
        yield family


def _waits(requests: Mapping[str, Mapping[str, float]]) -> Any:
    family = _core.SummaryMetricFamily(
        "qsynth_request_seconds", "from a request to its answer, by kind", labels=["kind"]
    )
    for kind, told in requests.items():
        family.add_metric([kind], count_value=told["answered"], sum_value=told["waited_s"])
    return family


class MetricsServer:
    """Serve `/metrics`, `/healthz` and `/readyz`.

    address: HOST:PORT, port 0 for a free one.  source: gives the status.  Raises MeshError.
    """

    def __init__(self, address: str, source: Callable[[], Status]) -> None:
        host, _, port = address.rpartition(":")
        registry = _core.CollectorRegistry()
        registry.register(Collected(source))
        try:
            self._server = _Server(
                (host.strip("[]"), int(port)), partial(_Handler, registry, source)
            )
        except OSError as error:
            raise MeshError(f"mesh.metrics={address}: cannot be listened on ({error})") from None
        bound = self._server.server_address
        self.address = f"{host}:{bound[1]}"
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Answer a few at once, each within a time: whoever says nothing, or little, is hung up on."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self.free = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin to answer, or hang up where too many are being answered."""
        if self.free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and hang up in any case once the time is over."""
        over = threading.Timer(REQUEST_S, self._hang_up, [request])
        over.daemon = True
        over.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            over.cancel()
            self.free.release()

    def _hang_up(self, request: socket.socket) -> None:
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that was cut off."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answer a scrape or a probe."""

    timeout = REQUEST_S
    server_version, sys_version = "qsynth", ""

    def __init__(
        self, registry: Any, source: Callable[[], Status], *args: Any, **more: Any
    ) -> None:
        self.registry, self.source = registry, source
        super().__init__(*args, **more)

    def do_GET(self) -> None:
        """Answer."""
        path = urlsplit(self.path).path
        if path == "/metrics":
            self._answer(
                200, _exposition.generate_latest(self.registry), _exposition.CONTENT_TYPE_LATEST
            )
        elif path == "/healthz":
            error = self.source()["error"]
            self._answer(503 if error else 200, f"{error or 'ok'}\n".encode())
        elif path == "/readyz":
            why = why_not_ready(self.source())
            self._answer(503 if why else 200, f"{why or 'ok'}\n".encode())
        else:
            self._answer(404, b"/metrics, /healthz or /readyz\n")

    def _answer(self, code: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each scrape."""


def why_not_ready(status: Status) -> str:
    """Return why a node's predictor cannot be counted on yet; "": it can."""
    if status["error"]:
        return str(status["error"])
    if status["learning"].get("state") != "serving":
        return "the network is still in training"
    return ""


def serve_metrics(
    address: str, source: Callable[[], Status], tell: Callable[[str], None]
) -> MetricsServer | None:
    """Return what serves a node's metrics; None where no address is given.  Raises MeshError."""
    if not address:
        return None
    made = MetricsServer(address, source)
    host = made.address.rpartition(":")[0]
    anyone = "" if is_loopback(host) else "; whoever reaches it can read them"
    tell(f"metrics at http://{made.address}/metrics{anyone}")
    return made
