"""`qsynth doctor`: look at what a node needs on this host before it is started."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from qsynth.cli.options import DEFAULT_HOME, parse
from qsynth.errors import QsynthError
from qsynth.mesh.address import host_of, is_any
from qsynth.mesh.tcp import Tcp
from qsynth.peers.base import check_live_peers

LEAST_FILES = 1024  # a connection is a file, and so is each of what a node keeps
LEAST_FREE_MIB = 200
DIAL_S = 3.0
EARLIEST_S, LATEST_S = 1.7e9, 4.1e9  # a clock outside of these was never set


class UnfitError(Exception):
    """What a check has found wrong, and what would mend it."""


def main(words: list[str]) -> int:
    """Print a line for each check; return 0 where all is well, else 1."""
    options = parse(words, ("--home",), ("--warm",))
    if "--warm" in options.own:
        from qsynth.kernels.warm import warm_up, warm_up_batch

        warm_up()
        warm_up_batch()
    home = Path(options.own.get("--home", DEFAULT_HOME))
    from qsynth.recipe.compose import compose

    config = compose(options.overrides, options.trusted).config
    failed, lines = False, []
    for name, check in checks(config, home):
        try:
            told, well = check(), True
        except (UnfitError, QsynthError, OSError, ValueError, OverflowError) as error:
            told, well = str(error), False
        failed |= not well
        lines.append({"check": name, "ok": well, "told": told})
        if not options.json:
            print(f"{'ok  ' if well else 'FAIL'}  {name:<10}  {told}", flush=True)
    if options.json:
        print(json.dumps(lines))
    return int(failed)


def checks(config: Any, home: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Return the checks that apply, by name."""
    yield "python", _python
    yield "clock", _clock
    yield "files", _files
    yield "folder", lambda: _folder(home)
    yield "kernels", _kernels
    yield "features", _features
    if isinstance(config.mesh, Tcp):
        yield "mesh", lambda: _mesh(config)
        if not config.mesh.dial_only:
            yield "port", lambda: _port(config.mesh.listening)
        if config.mesh.tls:
            reached = config.mesh.advertise or config.mesh.listening
            yield "tls", lambda: _tls(Path(config.mesh.tls).expanduser(), home, reached)
        for address in config.mesh.join:
            yield "join", partial(_join, address)
    yield "data", lambda: _data(config)


def _python() -> str:
    return f"{sys.version.split()[0]} at {sys.executable}"


def _clock() -> str:
    now = time.time()
    if not EARLIEST_S < now < LATEST_S:
        raise UnfitError(f"it is {time.ctime(now)} here: set the clock; packets carry the time")
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(now))} UTC"


def _files() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < LEAST_FILES:
        raise UnfitError(f"{soft} open files at most; raise it: ulimit -n {LEAST_FILES}")
    return f"{soft} open files at most ({hard} if asked for)"


def _folder(home: Path) -> str:
    place = home
    while not place.exists():
        place = place.parent if place != place.parent else Path("/")
    with tempfile.NamedTemporaryFile(dir=place):
        pass
    free = shutil.disk_usage(place).free // 2**20
    if free < LEAST_FREE_MIB:
        raise UnfitError(f"{home}: {free} MiB are free, a node wants {LEAST_FREE_MIB}")
    return f"{home} can be written, {free} MiB are free"


def _kernels() -> str:
    import qsynth

    folder = os.environ.get("NUMBA_CACHE_DIR") or Path(qsynth.__file__).parent / "kernels"
    if not os.access(folder, os.W_OK):
        return f"{folder} cannot be written: numba keeps its cache in the user's own folder"
    return f"compiled kernels are kept in {folder}"


def _features() -> str:
    from qsynth.encoder import store

    used = store.kept_bytes() / 2**20
    return f"{used:.0f} of {store.limit_mib()} MiB of kept features in {store.features_folder()}"


def _mesh(config: Any) -> str:
    config.mesh.check_live()
    check_live_peers(config.peers)
    return "addresses and security are what `node up` takes"


def _port(listening: str) -> str:
    port = int(listening.rpartition(":")[2])
    host = host_of(listening).strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            raise UnfitError(f"{listening} cannot be listened on: {error.strerror}") from None
    return f"{listening} is free"


def _join(address: str) -> str:
    host, port = host_of(address).strip("[]"), int(address.rpartition(":")[2])
    try:
        socket.create_connection((host, port), DIAL_S).close()
    except OSError as error:
        raise UnfitError(f"nobody answers at {address}: {error}") from None
    return f"somebody listens at {address}"


def _tls(folder: Path, home: Path, reached: str) -> str:
    from qsynth.identity.certificates import read_certificate
    from qsynth.identity.file import NAME, identity_of
    from qsynth.mesh.tls import Tls

    made = Tls(folder)
    made.server()  # as the node will read them
    certificate = read_certificate(folder)
    made.check_lists()
    if not (home / NAME).exists():
        raise UnfitError(f"{home} holds no identity yet: `qsynth node id --home {home}` makes it")
    if certificate.node != identity_of(home).id:
        raise UnfitError(f"{folder}: the certificate is of another node than {home}")
    if certificate.days_left <= 0:
        raise UnfitError(f"{folder}: the certificate has expired")
    host = host_of(reached).strip("[]")
    if host and not is_any(host) and host not in certificate.hosts:
        raise UnfitError(
            f"{folder}: the certificate is for {', '.join(certificate.hosts)}, not {host}"
        )
    if (folder / "key.pem").stat().st_mode & 0o077:
        raise UnfitError(f"{folder / 'key.pem'}: others can read it; chmod 600")
    return f"certificate for {', '.join(certificate.hosts)}, {certificate.days_left:.0f} days left"


def _data(config: Any) -> str:
    from qsynth.data import load_data

    data = load_data(config.data, config.task)
    return f"{len(data.train_x)} training and {len(data.test_x)} test samples of {data.task.name}"
