"""The error tree.

QsynthError
|- ConfigError     a user's key, value or option is wrong: one line, exit code 2
|- DataError       files are missing or malformed: one line, exit code 2
|- RecipeError     a recipe is refused by the lint: one line, exit code 3
|- UntrustedError  a file names or holds code that its reader has not trusted: exit code 3
|- ShapeError      arrays do not fit together
|- PacketError     bytes from a peer are no acceptable packet (carries a reason to count by)
|- MeshError       the transport cannot do what was asked: one line, exit code 4
|- StateError      a node's memory on disk cannot be read or written: one line, exit code 1
`- RunError        a run failed: one line, exit code 1
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class QsynthError(Exception):
    """Be the root of every error that qsynth raises on purpose."""

    exit_code = 1


class ConfigError(QsynthError):
    """Say which key is wrong, its value, the rule and the nearest right spelling."""

    exit_code = 2


class DataError(QsynthError):
    """Say which data could not be found or read, and what to do."""

    exit_code = 2


class RecipeError(QsynthError):
    """Say why a recipe is refused before it is composed."""

    exit_code = 3


class UntrustedError(QsynthError):
    """Say which file names or holds code, and how its reader can trust it."""

    exit_code = 3


class ShapeError(QsynthError):
    """Say which arrays do not fit together."""


class PacketError(QsynthError):
    """Carry the reason, one word, under which a refused packet is counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class MeshError(QsynthError):
    """Say which address or message the transport cannot serve."""

    exit_code = 4


class StateError(QsynthError):
    """Say which file of a node's memory cannot be read or written."""


class RunError(QsynthError):
    """Say why a run failed."""


def printable(text: str) -> str:
    """Return somebody's words as one line that cannot write on a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def nearest_spelling(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for the nearest known word, or the list of known words."""
    names = sorted(known)
    same = [name for name in names if name.lower() == word.lower() and name != word]
    if same:
        return f"; did you mean {same[0]}?"
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(names)}" if names else ""


def choice_rule(word: str, choices: Iterable[str]) -> str:
    """Return "must be one of A, B; did you mean A?": the choices once, in their own order."""
    names = list(choices)
    nearest = nearest_spelling(word, names)
    return f"must be one of {', '.join(names)}{'' if nearest.startswith('; known') else nearest}"
