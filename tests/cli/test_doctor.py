"""`qsynth doctor` finds what would stop a node."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from qsynth.cli.main import main
from qsynth.identity.authority import Authority
from qsynth.identity.file import identity_of

SMALL = ["doctor", "+recipe=digits_mesh", "mesh=tcp"]


def examined(words: list[str], capsys) -> dict[str, dict]:
    main([*SMALL, *words, "--json"])
    return {line["check"]: line for line in json.loads(capsys.readouterr().out)}


def test_a_host_that_is_fit(tmp_path, capsys) -> None:
    made = examined(["--home", str(tmp_path / "node")], capsys)
    assert all(line["ok"] for line in made.values()), made
    assert {"clock", "files", "folder", "kernels", "port", "data"} <= set(made)
    assert main([*SMALL, "--home", str(tmp_path / "node")]) == 0


def test_a_taken_port_and_a_silent_host_are_found(tmp_path, capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = [f"mesh.listen=tcp://127.0.0.1:{port}", f"mesh.join=[tcp://127.0.0.1:{port}]"]
        made = examined([*words, "--home", str(tmp_path)], capsys)
        assert not made["port"]["ok"]
        assert made["join"]["ok"]
    made = examined([*words, "--home", str(tmp_path)], capsys)
    assert made["port"]["ok"]
    assert not made["join"]["ok"]
    assert main([*SMALL, *words, "--home", str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda home: None, ""),
        (lambda home: (home / "tls" / "key.pem").chmod(0o644), "others can read it"),
        (lambda home: (home / "tls" / "key.pem").write_text("x"), "cannot be used"),
        (lambda home: _foreign(home, "key.pem"), "not the key"),
        (lambda home: _foreign(home, "authority.pem"), "not of the authority"),
        (lambda home: (home / "tls" / "revoked.pem").unlink(), "revoked.pem"),
        (lambda home: (home / "identity").write_bytes(b"1" * 32), "of another node"),
        (lambda home: (home / "identity").unlink(), "holds no identity"),
    ],
)
def test_certificates_are_looked_at(tmp_path, capsys, spoil, told) -> None:
    home: Path = tmp_path / "node"
    authority = Authority.init(tmp_path / "authority")
    authority.issue(identity_of(home).id, ["127.0.0.1"], 1.0, home / "tls")
    spoil(home)
    made = examined(["--home", str(home), f"mesh.tls={home}/tls"], capsys)
    assert made["tls"]["ok"] == (told == ""), made["tls"]
    assert told in made["tls"]["told"]


def _foreign(home: Path, name: str) -> None:
    """Put a file of another fleet's in."""
    other = home.parent / "other"
    authority = Authority.init(other / "authority")
    authority.issue(identity_of(home).id, ["127.0.0.1"], 1.0, other / "tls")
    (home / "tls" / name).write_bytes((other / "tls" / name).read_bytes())


def test_a_revoked_certificate_is_found(tmp_path, capsys) -> None:
    home: Path = tmp_path / "node"
    authority = Authority.init(tmp_path / "authority")
    node = identity_of(home).id
    authority.issue(node, ["127.0.0.1"], 1.0, home / "tls")
    authority.revoke(node)
    revoked = (tmp_path / "authority" / "revoked.pem").read_bytes()
    (home / "tls" / "revoked.pem").write_bytes(revoked)
    assert (
        "has been revoked"
        in examined(["--home", str(home), f"mesh.tls={home}/tls"], capsys)["tls"]["told"]
    )


def test_an_address_that_is_none_is_a_line(tmp_path, capsys) -> None:
    for listen in ("foo", "tcp://127.0.0.1:99999", "tcp://0.0.0.0:7700"):
        made = examined([f"mesh.listen={listen}", "--home", str(tmp_path)], capsys)
        assert not made["mesh"]["ok"]


def test_an_expired_certificate_and_another_name_are_found(tmp_path, capsys) -> None:
    home: Path = tmp_path / "node"
    authority = Authority.init(tmp_path / "authority")
    for hosts, days, told in (
        (["10.0.0.1"], 1.0, "not 127.0.0.1"),
        (["127.0.0.1"], -0.1, "expired"),
    ):
        authority.issue(identity_of(home).id, hosts, days, home / "tls")
        made = examined(["--home", str(home), f"mesh.tls={home}/tls"], capsys)
        assert told in made["tls"]["told"]


def test_data_that_are_not_there_are_found(tmp_path, capsys) -> None:
    made = examined(["data=arrays", "data.path=none.npz", "--home", str(tmp_path)], capsys)
    assert not made["data"]["ok"]
