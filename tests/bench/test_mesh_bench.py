"""The benchmark of the mesh measures what it says, on few messages."""

from __future__ import annotations

import json

import pytest

from qsynth.cli.main import main


@pytest.mark.slow
def test_the_mesh_is_measured_beside_the_bare_socket(capsys) -> None:
    assert main(["bench", "mesh", "--messages", "1000", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    for key in (
        "throughput_ratio",
        "signed_ratio",
        "tls_ratio",
        "refused_headers_per_s",
        "refused_signatures_per_s",
    ):
        assert made[key] > 0
    assert made["throughput_ratio"] == pytest.approx(made["path_per_s"] / made["raw_per_s"], rel=5)
