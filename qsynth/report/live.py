"""The page of a run under way, or of a node on duty, over HTTP on this machine alone."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from qsynth.errors import ConfigError
from qsynth.report.content import live_content
from qsynth.report.follow import Followed
from qsynth.report.page import as_json, page_of

HOST = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost")  # in requests; another name is a page that found its way here
FRESH_S = 1.0  # that what was made for one reader is given to others
PATIENCE_S = 30.0  # with a client that asks for nothing
# The page has its scripts and styles in itself, and asks nobody else for anything.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; connect-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class LivePage:
    """Serve the page of one folder; `url` tells where.

    folder: of a run, or the home of a node on duty.  periods: that each node trains for; None where
    nobody knows.  nodes: that there will be; 0: nobody knows.  recipe: as text.  port: 0 takes a
    free one.  Raises ConfigError where the port is taken.
    """

    def __init__(
        self, folder: Path, periods: int | None, recipe: str, port: int, nodes: int = 0
    ) -> None:
        self.folder, self.periods, self.recipe, self.nodes = folder, periods, recipe, nodes
        self._newest: tuple[float, dict[str, Any]] = (-math.inf, {})
        self._followed, self._lock, self._began = Followed(folder), threading.Lock(), time.time()
        try:
            self._server = ThreadingHTTPServer((HOST, port), _handler(self))
        except OSError as error:
            raise ConfigError(f"--port {port}: {error.strerror or error}; try --port 0") from None
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> LivePage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def ended(self) -> bool:
        """Whether the run has its report."""
        return (self.folder / "summary.json").exists() and (self.folder / "report.html").exists()

    def page(self) -> str:
        """Return the report of a run that has ended, or how far it is."""
        if self.ended:
            return (self.folder / "report.html").read_text(encoding="utf-8")
        return page_of(self.content())

    def content(self) -> dict[str, Any]:
        """Return what the page shows now; of a run that has ended, that it has."""
        if self.ended:
            return {"live": False}
        with self._lock:  # one reader at a time goes on from where the last one was
            made, newest = self._newest
            if time.monotonic() - made > FRESH_S:
                self._followed.read()
                name, seconds = self.folder.resolve().name, time.time() - self._since()
                newest = live_content(
                    name, self._followed, self.periods, seconds, self.recipe, self.nodes
                )
                self._newest = time.monotonic(), newest
            return newest

    def _since(self) -> float:
        try:
            return (self.folder / "config.yaml").stat().st_mtime
        except OSError:
            return self._began  # a node's home tells of no beginning


def _handler(live: LivePage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "qsynth", ""
        timeout = PATIENCE_S

        def do_GET(self) -> None:
            if self.headers.get("Host", "").rpartition(":")[0] not in NAMES:
                self._answer(403, "text/plain", "only this machine's own names are answered")
            elif self.path == "/":
                self._answer(200, "text/html", live.page())
            elif self.path == "/data.json":
                self._answer(200, "application/json", as_json(live.content()))
            else:
                self._answer(404, "text/plain", "only / and /data.json are here")

        def _answer(self, status: int, kind: str, text: str) -> None:
            data = text.encode()
            with contextlib.suppress(ConnectionError):  # who has left needs no answer
                self._send(status, kind, data)

        def _send(self, status: int, kind: str, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing: a page that is looked at every two seconds is no news."""

    return Handler
