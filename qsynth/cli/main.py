"""Dispatch a verb.  Standard library only: help and lists must start at once."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from qsynth.cli.help import HELP, VERBS, told
from qsynth.errors import QsynthError, nearest_spelling, printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code."""
    _open_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _answer(words)
        sys.stdout.flush()
        return code
    except QsynthError as error:
        print(f"qsynth: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"qsynth: {printable(said)}", file=sys.stderr)
        return 2
    except UnicodeError as error:
        print(f"qsynth: {printable(str(error))}; set PYTHONUTF8=1", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("qsynth: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # What is printed may have no room: then nothing that waits is to be printed later either.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
                continue
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        where = f"{error.filename}: " if error.filename else ""
        print(f"qsynth: {printable(f'{where}{error.strerror or error}')}", file=sys.stderr)
        return 1


def _answer(words: list[str]) -> int:
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
    return _dispatch(verb, rest)


def _open_streams() -> None:
    """Put the null device where whoever started us has closed a standard stream.

    Else the next file or socket would get its number, and what is printed would go there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:  # a lower one is free as well
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))


def _dispatch(verb: str, rest: list[str]) -> int:
    """Import the verb's module alone, and run it."""
    home = {"config": "composed"}.get(verb, verb)
    module = importlib.import_module(f"qsynth.cli.{home}")
    code: int = module.main(rest)
    return code
