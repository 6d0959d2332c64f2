"""Feed every decoder with input that a fuzzer finds by watching which lines it reaches.

    pip install atheris
    PYTHONPATH=. python tests/benchmarks/guided.py [--executions 100000] [--only DECODER ...]

Atheris (libFuzzer) beside `fuzz.py`, whose decoders and valid inputs it starts from; one process a
decoder.  A crash, or an input that takes over a second, ends its run.  One JSON object a decoder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["qsynth"]):
    from fuzz import Target, targets

SLOWEST_S = 1


def feed(target: Target, corpus: Path, executions: int) -> None:
    """Feed one decoder; the process ends with it."""
    for number, data in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(data)

    def once(data: bytes) -> None:
        if target.sealed is not None and len(data) % 2:
            data = target.sealed(data)
        with contextlib.suppress(*target.refusals):
            target.decode(data)

    words = [
        sys.argv[0],
        str(corpus),
        f"-runs={executions}",
        "-max_len=65536",
        f"-timeout={SLOWEST_S}",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={corpus}-",
    ]
    atheris.Setup(words, once)
    atheris.Fuzz()


def main() -> int:
    """Print a line a decoder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--feed", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.feed:
            corpus = Path(folder) / "corpus"
            corpus.mkdir()
            feed(targets(Path(folder) / "state")[options.feed], corpus, options.executions)
        failed = 0
        for name in targets(Path(folder) / "state"):
            if options.only and name not in options.only:
                continue
            command = [
                sys.executable,
                __file__,
                "--feed",
                name,
                "--executions",
                str(options.executions),
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
            covered = re.findall(r"cov: (\d+)", done.stderr)
            print(
                json.dumps(
                    {
                        "decoder": name,
                        "executions": int(stats.get("number_of_executed_units", 0)),
                        "per_s": int(stats.get("average_exec_per_sec", 0)),
                        "edges": int(covered[-1]) if covered else 0,
                        "crashed": done.returncode != 0,
                    }
                ),
                flush=True,
            )
            if done.returncode:
                failed += 1
                print(done.stderr[-3000:], file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
