"""`qsynth node keys`: certificates of a fleet's authority, asked for, issued, renewed, revoked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qsynth.cli.options import DEFAULT_HOME, Options, parse
from qsynth.errors import ConfigError, nearest_spelling, printable
from qsynth.identity.authority import Authority, check_out
from qsynth.identity.certificates import ID_BYTES, node_of
from qsynth.identity.file import identity_of
from qsynth.identity.request import make_request, read_request

DEFAULT_AUTHORITY, DEFAULT_DAYS = "authority", "365"
TLS = "tls"


def main(words: list[str]) -> int:
    """Carry out one verb; return its exit code."""
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise ConfigError(f"node keys {verb}: no such verb{nearest_spelling(verb, tuple(VERBS))}")
    carry_out, taken = VERBS[verb]
    options = parse(words[1:], taken)
    if options.overrides:
        raise ConfigError(f"node keys {verb} {options.overrides[0]}: takes options alone")
    carry_out(options)
    return 0


def _init(options: Options) -> None:
    folder = _authority(options)
    Authority.init(folder)
    print(f"{folder}: a new authority; keep its key.pem to yourself")


def _issue(options: Options) -> None:
    authority, node = Authority(_authority(options)), _named(options)
    out = Path(options.own["--out"]) if "--out" in options.own else _home(options) / TLS
    serial = authority.issue(node, _hosts(options), _days(options), out)
    print(f"{out}: certificate {serial:x} of node {node.hex()}; start it with mesh.tls={out}")


def _request(options: Options) -> None:
    home = _home(options)
    out = Path(options.own.get("--out", home / TLS))
    check_out(out)
    made = make_request(identity_of(home), _hosts(options), out)
    print(
        f"{made}: a request of node {identity_of(home).id.hex()}; send it to whoever has the "
        f"authority (`qsynth node keys sign`); its key.pem stays in {out}"
    )


def _sign(options: Options) -> None:
    path, out = _needed(options, "--request"), _needed(options, "--out")
    authority, wanted = Authority(_authority(options)), read_request(path)
    if "--id" in options.own and _named(options) != wanted.node:
        raise ConfigError(f"--id={options.own['--id']}: {path} is of node {wanted.node.hex()}")
    made = authority.sign(path, _days(options), out)
    print(
        f"{out}: certificate {made.serial_number:x} of node {node_of(made).hex()}, dialled at "
        f"{printable(', '.join(wanted.hosts))}; copy all of it to the folder of its key.pem"
    )


def _vouch(options: Options) -> None:
    path, root = _needed(options, "--certificate"), _needed(options, "--root")
    out = _needed(options, "--out")
    made = Authority(_authority(options)).vouch(path, root, out)
    print(f"{out}: a voucher for node {node_of(made).hex()}, as long as {path} holds")


def _revoke(options: Options) -> None:
    folder, node = _authority(options), _named(options)
    fresh = Authority(folder).revoke(node)
    print(
        f"{fresh} certificates revoked; copy {folder / 'revoked.pem'} over that in mesh.tls of one "
        "running node (voucher_revoked.pem where its certificate is of another authority), which "
        "hands it on"
    )


def _rotate(options: Options) -> None:
    folder = _authority(options)
    Authority(folder).rotate()
    print(
        f"{folder}: a new key, and the one before; copy authority.pem and revoked.pem to every "
        "node, then sign each node's request again, then `qsynth node keys retire`"
    )


def _retire(options: Options) -> None:
    folder = _authority(options)
    authority = Authority(folder)
    left = authority.unrenewed()
    if left and "--anyway" not in options.own:
        raise ConfigError(
            f"{folder}: {len(left)} nodes have certificates of the key before alone, as "
            f"{left[0].hex()[:16]}; sign theirs first, or say --anyway yes"
        )
    authority.retire()
    print(f"{folder}: one key; copy authority.pem and revoked.pem to every node")


def _authority(options: Options) -> Path:
    return Path(options.own.get("--authority", DEFAULT_AUTHORITY))


def _home(options: Options) -> Path:
    return Path(options.own.get("--home", DEFAULT_HOME))


def _needed(options: Options, name: str) -> Path:
    if name not in options.own:
        raise ConfigError(f"{name}: is needed")
    return Path(options.own[name])


def _hosts(options: Options) -> list[str]:
    return [host for host in options.own.get("--host", "").split(",") if host]


def _days(options: Options) -> float:
    text = options.own.get("--days", DEFAULT_DAYS)
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--days={text}: must be a number") from None


def _named(options: Options) -> bytes:
    """Return the id that is meant: --id, or that of the identity in --home."""
    text = options.own.get("--id")
    if text is None:
        return identity_of(_home(options)).id
    try:
        named = bytes.fromhex(text)
    except ValueError:
        named = b""
    if len(named) != ID_BYTES:
        raise ConfigError(f"--id={text}: must be the 64 digits of `qsynth node id`")
    return named


# What carries out each verb, and the options that it takes.
VERBS: dict[str, tuple[Callable[[Options], None], tuple[str, ...]]] = {
    "init": (_init, ("--authority",)),
    "issue": (_issue, ("--authority", "--home", "--id", "--host", "--days", "--out")),
    "request": (_request, ("--home", "--host", "--out")),
    "sign": (_sign, ("--authority", "--request", "--id", "--days", "--out")),
    "vouch": (_vouch, ("--authority", "--certificate", "--root", "--out")),
    "revoke": (_revoke, ("--authority", "--home", "--id")),
    "rotate": (_rotate, ("--authority",)),
    "retire": (_retire, ("--authority", "--anyway")),
}
