"""`qsynth serve`: a predictor behind HTTP, on this host."""

from __future__ import annotations

import sys
from pathlib import Path

from qsynth.cli.options import parse
from qsynth.cli.predict import find_predictor
from qsynth.errors import ConfigError

HOST, PORT = "127.0.0.1", "8000"


def main(words: list[str]) -> int:
    """Answer over HTTP until a signal ends it."""
    options = parse(words, ("--host", "--port", "--node"))
    if len(options.overrides) != 1 or "=" in options.overrides[0]:
        raise ConfigError("serve: needs a predictor, e.g. qsynth serve runs/NAME/nodes/site-0")
    host, port = options.own.get("--host", HOST), options.own.get("--port", PORT)
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(f"--port={port}: must be a number from 1 to 65535")
    path = find_predictor(Path(options.overrides[0]).expanduser(), options.own.get("--node"))
    from qsynth.inference.server import serve
    from qsynth.training.export import load_predictor

    predictor = load_predictor(path, trust=options.trusted)
    if not options.quiet:
        print(
            f"qsynth: {path} answers at http://{host}:{port}/predict, says what it takes at /task, "
            "and that it is well at /healthz; whoever reaches the port can ask it",
            file=sys.stderr,
            flush=True,
        )
    serve(predictor, host, int(port))
    return 0
