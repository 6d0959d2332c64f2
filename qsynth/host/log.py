"""What a node on duty says, as lines for people, or for what gathers the logs of a site.

`log.KEY=VALUE` of `qsynth node up`: they are of a host, so no recipe has them.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

from qsynth.errors import ConfigError, StateError, printable
from qsynth.schema import build, option, setting

GROUP = "log"
MIB = 2**20


@option(GROUP)
@dataclass(frozen=True)
class LogOptions:
    """How a node's lines are written, and where beside standard output."""

    format: str = setting(
        "plain",
        "of a line that `qsynth node up` says: plain; keyvalue: time=... level=... node=... "
        "message=...; json: the same as one object",
        choices=("plain", "keyvalue", "json"),
    )
    file: str = setting("", "a file for the same lines, rotated; empty: none")
    file_bytes: int = setting(
        16 * MIB, "of that file, before an older part is kept beside it", low=4096
    )
    files: int = setting(4, "older parts that are kept", low=1, high=1000)

    @classmethod
    def take(cls, words: Sequence[str]) -> tuple[LogOptions, list[str]]:
        """Return the options that words of a command line give, and the other words.

        Raises ConfigError.
        """
        own = [word for word in words if word.startswith(f"{GROUP}.")]
        values: dict[str, str | int] = {}
        for word in own:
            key, given, text = word.removeprefix(f"{GROUP}.").partition("=")
            if not given:
                raise ConfigError(f"{word}: needs a value, as in log.format=json")
            values[key] = int(text) if text.isdecimal() else text
        return build(cls, values, GROUP), [word for word in words if word not in own]


class Log:
    """Write lines.  node: the id that they are of, once it is known.

    quiet: nothing on standard output.  Raises StateError where the file cannot be written.
    """

    def __init__(self, options: LogOptions, quiet: bool) -> None:
        self.node = ""
        self._logger = logging.Logger("qsynth.node", logging.INFO)  # its own, in no tree
        handlers: list[logging.Handler] = [] if quiet else [logging.StreamHandler(sys.stdout)]
        if options.file:
            handlers.append(_file(options))
        for handler in handlers:
            handler.setFormatter(_FORMATS[options.format]())
            self._logger.addHandler(handler)

    def tell(self, line: str) -> None:
        """Write what the owner may want to know."""
        self._logger.info(line, extra={"node": self.node})

    def warn(self, line: str) -> None:
        """Write what somebody should look at."""
        self._logger.warning(line, extra={"node": self.node})

    def close(self) -> None:
        """Close the file."""
        for handler in self._logger.handlers:
            handler.close()


def _file(options: LogOptions) -> logging.Handler:
    path = Path(options.file).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return RotatingFileHandler(
            path, maxBytes=options.file_bytes, backupCount=options.files, encoding="utf-8"
        )
    except OSError as error:
        raise StateError(f"log.file={options.file}: cannot be written ({error})") from None


class _Plain(logging.Formatter):
    """The line alone, as a terminal can show it: what peers say may be in it."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(record.getMessage())


class _KeyValue(logging.Formatter):
    """The fields as key=value (logfmt); a value with more than letters and digits is quoted."""

    def format(self, record: logging.LogRecord) -> str:
        parts = (f"{key}={_quoted(value)}" for key, value in _fields(record).items())
        return " ".join(parts)


class _Json(logging.Formatter):
    """The fields as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(record))


_FORMATS: dict[str, type[logging.Formatter]] = {
    "plain": _Plain,
    "keyvalue": _KeyValue,
    "json": _Json,
}


def _fields(record: logging.LogRecord) -> dict[str, str]:
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return {
        "time": f"{at}.{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "node": record.__dict__.get("node", ""),
        "message": printable(record.getMessage()),
    }


def _quoted(value: str) -> str:
    bare = value and all(each.isalnum() or each in "-.:_" for each in value)
    return value if bare else json.dumps(value)
