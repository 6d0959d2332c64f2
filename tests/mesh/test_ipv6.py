"""A mesh over IPv6: addresses in brackets are listened at, told to others, and dialled."""

from __future__ import annotations

import socket

import pytest

from qsynth.errors import ConfigError
from qsynth.mesh.tcp import Tcp
from tests.benchmarks.revocation import fleet


def loopback() -> bool:
    """Whether this machine has IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not loopback(), reason="this machine has no IPv6")
def test_nodes_with_certificates_meet_over_ipv6(tmp_path) -> None:
    with fleet(tmp_path, 3, "[::1]") as (_, hosts):
        for host in hosts:
            others = {other.node.me: other.node.address for other in hosts if other is not host}
            assert all(address.startswith("tls+tcp://[::1]:") for address in others.values())
            known = host.node.table.contacts
            assert {node: contact.address for node, contact in known.items()} == others


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"listen": "tcp://[::]:7700"}, "set mesh.advertise"),
        ({"listen": "tcp://[2001:db8::7]:7700"}, "beyond loopback"),
        ({"listen": "tcp://::1:7700"}, "mesh.listen"),
        ({"listen": "tcp://[::1]:7700", "join": ("tcp://[::1]:0",)}, "mesh.join"),
        ({"listen": "tcp://[::1]:7700"}, ""),
        ({"listen": "tcp://[::]:7700", "advertise": "tcp://[::1]:7700", "insecure": True}, ""),
    ],
)
def test_addresses_of_ipv6_are_checked_as_others_are(settings, said) -> None:
    mesh = Tcp(**settings)
    if said:
        with pytest.raises(ConfigError, match=said):
            mesh.check_live()
    else:
        mesh.check_live()
