"""What the runner does with a placement: launch, poll, and nothing else; by the contract alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qsynth.errors import ConfigError
from qsynth.placement import base as contract
from qsynth.placement.base import Spec, run_placed
from qsynth.placement.config import Processes
from qsynth.placement.processes import ProcessesPlacement
from tests.placement.test_placement import plan


class Scripted:
    """A placement whose nodes end as a script says: codes by node, for each poll."""

    def __init__(self, *polls: dict[str, int | None]) -> None:
        self.polls, self.launched, self.stopped = list(polls), [], False

    def launch(self, spec: Spec) -> None:
        self.launched.append(spec.nodes)

    def poll(self) -> dict[str, int | None]:
        return self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]

    def stop(self) -> None:
        self.stopped = True

    def logs(self, node: str) -> list[Path]:
        return []


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(contract, "POLL_S", 0.0)
    return plan(tmp_path, "fleet.mlp.count=2", "fleet.cnn.count=0", "fleet.linear.count=0")


def test_all_nodes_are_launched_once_and_watched_to_their_end(made) -> None:
    placement = Scripted(
        {"mlp-0": None, "mlp-1": None}, {"mlp-0": 0, "mlp-1": None}, {"mlp-0": 0, "mlp-1": -9}
    )
    seen: list[float] = []
    found = run_placed(made, placement, seen.append)
    assert placement.launched == [("mlp-0", "mlp-1")]
    assert found["statuses"] == {"mlp-0": 0, "mlp-1": -9}
    assert len(seen) == 2
    assert not placement.stopped


def test_a_node_that_was_alive_and_is_lost_without_a_result_is_launched_again(
    made, monkeypatch
) -> None:
    asked = {"mlp-0": [True, True, False], "mlp-1": [True, False, False]}
    told = made.node_folder(made.nodes[1])
    told.mkdir(parents=True)
    (told / "result.json").write_text("{}")

    def in_use(folder: Path) -> bool:
        answers = asked[folder.name]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr(contract, "in_use", in_use)
    placement = Scripted({})
    run_placed(made, placement, lambda _: None)
    assert placement.launched == [(), ("mlp-0",)]


def test_nodes_that_have_ended_with_a_dead_runner_are_not_started_again(made) -> None:
    for node, lingered in zip(made.nodes, (True, False), strict=True):
        folder = made.node_folder(node)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"lingered": lingered}))
    placement = Scripted({})
    run_placed(made, placement, lambda _: None)
    assert placement.launched == [()]
    (folder / "result.json").write_text('{"lingered": null}')  # killed while it served
    run_placed(made, placement, lambda _: None)
    assert placement.launched[1:] == [("mlp-0", "mlp-1")]


def test_an_interrupt_stops_what_was_placed(made) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    placement = Scripted({"mlp-0": None, "mlp-1": None})
    with pytest.raises(KeyboardInterrupt):
        run_placed(made, placement, interrupted)
    assert placement.stopped


def test_a_fork_that_fails_is_told_and_ends_the_others(made, monkeypatch) -> None:
    placement = ProcessesPlacement(replace(made, placement=Processes()))
    placement._warm = True

    def full() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("os.fork", full)
    with pytest.raises(Exception, match="Resource temporarily unavailable"):
        placement.launch(Spec(made.folder, ("mlp-0",)))
    assert placement.poll() == {}


@pytest.mark.parametrize("name", ["slurm", "ray"])
def test_a_missing_extra_is_told(name, tmp_path, monkeypatch) -> None:
    import sys

    from qsynth.placement import make_placement

    monkeypatch.setitem(sys.modules, "submitit", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, f"qsynth.placement.{name}", raising=False)
    monkeypatch.delitem(sys.modules, "qsynth.placement.actor", raising=False)
    made = plan(tmp_path, "mesh=tcp")
    from dataclasses import replace

    from qsynth.placement.config import OPTIONS

    with pytest.raises(ConfigError, match=rf"pip install 'qsynth\[{name}\]'"):
        make_placement(replace(made, placement=OPTIONS[name]()))
