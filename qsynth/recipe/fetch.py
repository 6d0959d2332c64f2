"""Fetch a recipe from where somebody has put it: a file, https, or a git repository.

What comes is bytes, bounded in size and time, and is looked at as text alone.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from qsynth.errors import ConfigError, RecipeError

MAX_BYTES = 256 * 1024  # of a pack; a recipe itself is smaller still
TIMEOUT_S = 20.0
GIT = re.compile(
    r"^git\+(?P<url>https://[^#@\s]+|file:///[^#@\s]+)(@(?P<rev>[\w./-]+))?#(?P<path>[^#\s]+)$"
)


def fetch(source: str) -> bytes:
    """Return what is at a path, an https address, or git+https://HOST/REPOSITORY[@REV]#PATH.

    Raises ConfigError where there is nothing, RecipeError where it is too large.
    """
    if source.startswith("git+"):
        return _of_git(source)
    if "://" in source:
        return _of_url(source)
    try:
        path = Path(source).expanduser()
    except RuntimeError:
        path = Path(source)
    if not path.is_file():
        raise ConfigError(f"recipe add {source}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise RecipeError(f"{source}: more than {MAX_BYTES} bytes")
    return path.read_bytes()


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        _check_scheme(newurl)
        if _here(newurl) and not _here(req.full_url):
            raise ConfigError(f"recipe add {req.full_url}: leads to this machine; not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _here(url: str) -> bool:
    """Return whether an address names this machine by a number of its own, or as localhost."""
    host = urlsplit(url).hostname or ""
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return number.is_loopback or number.is_unspecified or number.is_link_local


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _here(url)):
        raise ConfigError(f"recipe add {url}: must be https, git+https or a path")


def _of_url(url: str) -> bytes:
    opener = urllib.request.build_opener(_SecureRedirects)
    try:
        _check_scheme(url)
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            data: bytes = answer.read(MAX_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ConfigError(f"recipe add {url}: cannot be fetched ({error})") from None
    if len(data) > MAX_BYTES:
        raise RecipeError(f"{url}: more than {MAX_BYTES} bytes")
    return data


def _of_git(source: str) -> bytes:
    match = GIT.match(source)
    if match is None:
        raise ConfigError(f"recipe add {source}: must be git+https://HOST/REPOSITORY[@REV]#PATH")
    if match["path"].startswith("/") or ".." in match["path"].split("/"):
        raise RecipeError(f"{source}: the path must lie in the repository")
    with tempfile.TemporaryDirectory() as folder:
        # No hooks, no submodules, no helpers: the repository is opened for one file alone.
        safe = [
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "protocol.ext.allow=never",
            "-c",
            "credential.helper=",
            "-c",
            "core.symlinks=false",
        ]
        branch = ["--branch", match["rev"]] if match["rev"] else []
        command = [
            "git",
            *safe,
            "clone",
            "--quiet",
            "--depth",
            "1",
            "--no-tags",
            *branch,
            "--",
            match["url"],
            folder,
        ]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=3 * TIMEOUT_S,
                env={
                    "PATH": "/usr/bin:/bin:/usr/local/bin",
                    "GIT_TERMINAL_PROMPT": "0",
                    "HOME": folder,
                },
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"recipe add {source}: cannot be fetched ({error})") from None
        path = Path(folder) / match["path"]
        if done.returncode or path.is_symlink() or not path.is_file():
            reason = (done.stderr.strip().splitlines() or ["no such file there"])[-1]
            raise ConfigError(f"recipe add {source}: cannot be fetched ({reason})")
        if path.stat().st_size > MAX_BYTES:
            raise RecipeError(f"{source}: more than {MAX_BYTES} bytes")
        return path.read_bytes()
