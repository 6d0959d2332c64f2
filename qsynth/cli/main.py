"""Dispatch a verb.  Standard library only: help and lists must start at once."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from qsynth.cli.help import HELP, VERBS, told
from qsynth.errors import QsynthError, nearest_spelling, printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        from qsynth import __version__

        print(__version__)
        return 0
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        print(f"qsynth: {verb}: no such verb{nearest_spelling(verb, VERBS)}", file=sys.stderr)
        return 2
    if "-h" in rest or "--help" in rest:
        print(told(verb, rest), end="")
        return 0
    try:
        return _dispatch(verb, rest)
    except QsynthError as error:
        print(f"qsynth: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        print(f"qsynth: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("qsynth: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(verb: str, rest: list[str]) -> int:
    """Import the verb's module alone, and run it."""
    home = {"config": "composed"}.get(verb, verb)
    module = importlib.import_module(f"qsynth.cli.{home}")
    code: int = module.main(rest)
    return code
