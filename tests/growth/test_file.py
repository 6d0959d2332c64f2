"""A file that grows: no row changes its part, changed rows are refused, a node learns on."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.cli.node import _known
from qsynth.errors import ConfigError, DataError, StateError
from qsynth.experiment.growing import GrowingFile
from qsynth.host.history import FILE, History, digests_of
from qsynth.recipe.compose import compose
from tests.commands import Command
from tests.data.test_table import csv

pytest.importorskip("pyarrow")
ROWS, PATIENCE_S = 300, 240.0


@pytest.fixture(scope="module")
def ward(tmp_path_factory) -> Path:
    """A folder with a table of three hundred rows and its task."""
    folder = tmp_path_factory.mktemp("ward")
    rng = np.random.default_rng(0)
    sick = np.arange(ROWS) % 3 == 0
    columns = {
        "age": (40 + 20 * sick + 8 * rng.standard_normal(ROWS)).round(1).tolist(),
        "pressure": (120 + 15 * sick + 9 * rng.standard_normal(ROWS)).round(1).tolist(),
        "diagnosis": ["sick" if each else "well" for each in sick],
    }
    csv(folder / "all.csv", columns)
    words = ["task", "init", str(folder / "all.csv"), "--label", "diagnosis", "--title", "ward"]
    assert main([*words, "--out", str(folder / "task.yaml")]) == 0
    return folder


@pytest.fixture
def site(ward, tmp_path, monkeypatch) -> Path:
    """A file with the first hundred rows."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ward / "task.yaml", tmp_path)
    put(tmp_path / "site.csv", ward, 100)
    return tmp_path / "site.csv"


def put(path: Path, ward: Path, rows: int) -> None:
    path.write_text("".join((ward / "all.csv").read_text().splitlines(True)[: rows + 1]))


def growing(site: Path, home: str = "home", **more) -> GrowingFile:
    words = ["+recipe=task.yaml", f"data.path={site}", "growth=file", "mesh=tcp"]
    config = compose([*words, *(f"{k}={v}" for k, v in more.items())]).with_data().config
    return GrowingFile(config, site.parent / home)


def parts(plan) -> dict[str, np.ndarray]:
    """The samples of each part, one after the other."""
    (node,) = plan.nodes
    samples, data = plan.samples(node), plan.data
    return {"train": samples.train_x, "validation": samples.validation_x, "test": data.test_x}


def test_rows_that_come_change_no_part_of_those_before(site, ward) -> None:
    file = growing(site)
    before, plans = None, []
    for count in (100, 110, 111, 150, 300):
        put(site, ward, count)
        plan = file.grown() if plans else file.plan()
        if count == 111:
            assert plan is None, "one row is no batch"
            continue
        now = parts(plan)
        if before is not None:
            for name, rows in before.items():
                np.testing.assert_array_equal(now[name][: len(rows)], rows)
        before = now
        plans.append(plan)
    assert file.history.ends == (100, 110, 150, 300)
    (node,) = plans[-1].nodes
    assert len(node.share.ends) == 4
    held = {name: len(rows) for name, rows in before.items()}
    assert sum(held.values()) == 300
    assert 45 <= held["test"] <= 105
    assert held["validation"] >= 25
    rows = np.concatenate(list(before.values()))
    assert len(np.unique(rows, axis=0)) > 290, "each row is in one part"
    assert file.grown() is None
    # Another life finds the same.
    again = growing(site)
    np.testing.assert_array_equal(parts(again.plan())["train"], before["train"])
    assert again.history == file.history
    assert again.origin == file.origin


def test_rows_that_have_changed_are_refused_and_may_be_given_back(site, ward) -> None:
    file = growing(site)
    file.plan()
    text = site.read_text()
    lines = text.splitlines(True)
    new = (ward / "all.csv").read_text().splitlines(True)[101:121]
    site.write_text("".join([*lines[:3], "77.7,99.9,sick\n", *lines[4:], *new]))
    with pytest.raises(StateError, match="rows 1 to 100 are not those of before"):
        file.grown()
    site.write_text("".join([*lines[:50], *new[:5]]))
    with pytest.raises(StateError, match="fewer rows than before"):
        file.grown()
    with pytest.raises(DataError, match="none taken away"):
        file.plan()
    site.write_text(text + "".join(new) + "61.0,1")
    with pytest.raises(DataError, match="its last line has no end"):
        file.grown()
    site.write_text(text + "".join(new) + "61.0,130,recovered\n")
    with pytest.raises(DataError, match="no label of the task"):
        file.grown()
    site.write_text(text + "".join(new))
    assert len(file.grown().nodes[0].share.ends) == 2
    site.unlink()
    with pytest.raises(DataError, match="No such file"):
        file.grown()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("partition.validation_share", 0.23, "split otherwise"),
        ("partition.seed", 5, "split otherwise"),
        ("data.test_share", 0.3, "split otherwise"),
        ("distill.min_support", 6, "min_support=6: packets of .* were made with 5"),
    ],
)
def test_another_split_of_the_same_rows_needs_another_home(key, value, told, site, ward) -> None:
    file = growing(site)
    file.plan()
    put(site, ward, 150)
    file.grown()
    with pytest.raises(StateError, match=told):
        growing(site, **{key: value}).plan()
    growing(site).plan()


@pytest.mark.parametrize("more", ["61.0,1", "61.0,130,recovered\n", "61.0,130,well\n"])
def test_rows_that_are_wrong_or_in_the_writing_keep_no_node_from_its_start(
    more, site, tmp_path
) -> None:
    file = growing(site)
    first = parts(file.plan())
    site.write_text(site.read_text() + more)
    composed = compose(["+recipe=task.yaml", f"data.path={site}", "growth=file", "mesh=tcp"])
    known = _known(composed, tmp_path / "home").with_data()
    again = parts(GrowingFile(known.config, tmp_path / "home").plan())
    for name, rows in first.items():
        np.testing.assert_array_equal(again[name], rows)


def test_what_cannot_grow_is_refused(site, tmp_path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(site, folder / "site.csv")
    with pytest.raises(ConfigError, match="must be one file"):
        growing(folder).plan()
    config = compose(["+recipe=table", f"data.path={site}", "data.label=diagnosis", "growth=file"])
    with pytest.raises(ConfigError, match="needs task=declared"):
        GrowingFile(config.with_data().config, tmp_path / "home").plan()
    config = compose(["+recipe=digits_mesh", "growth=file"])
    with pytest.raises(ConfigError, match="use data=table"):
        GrowingFile(config.config, tmp_path / "home").plan()
    data = compose(["+recipe=table", f"data.path={site}", "data.label=diagnosis"]).with_data()
    with pytest.raises(DataError, match=r"data\.ends: batches need task=declared"):
        replace(data.config.data, ends=(50, 60)).load()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["growth=scheduled"], "`qsynth node up` takes growth=file"),
        (["growth=file", "growth.every_s=0"], "growth.every_s=0"),
        (["growth=file", "data.ends=[9,9]"], "each must be larger than the one before"),
    ],
)
def test_mistakes_of_a_node_are_one_line(site, words, told, capsys) -> None:
    given = ["node", "up", "+recipe=task.yaml", f"data.path={site}", "mesh=tcp", *words]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert told in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"ends": [3, 2], "digests": ["a", "b"]}', '{"ends": [3], "digests": []}']
)
def test_a_history_that_is_damaged_is_told(text, tmp_path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(StateError, match="in which batches records came"):
        History.load(tmp_path)


def test_a_history_is_kept_and_tells_the_first_batch_that_is_another(tmp_path) -> None:
    x = np.arange(12.0)
    kept = History((5, 9, 12), digests_of((5, 9, 12), x, 2 * x))
    kept.save(tmp_path)
    assert History.load(tmp_path) == kept
    assert History.load(tmp_path / "new") == History()
    assert kept.changed(kept.digests) is None
    assert kept.changed([*kept.digests, "more"]) is None
    assert kept.changed(kept.digests[:2]) == 2
    x[6] = 0.0
    assert kept.changed(digests_of((5, 9, 12), x, 2 * x)) == 1


@pytest.mark.slow
def test_a_node_on_duty_takes_rows_publishes_them_and_goes_on_after_a_kill(site, ward) -> None:
    words = [
        "node",
        "up",
        "--home",
        "home",
        "+recipe=task.yaml",
        f"data.path={site}",
        "mesh=tcp",
        "trainer.max_steps=20",
        "trainer.period_steps=10",
        "growth=file",
        "growth.every_s=1",
        "growth.steps=10",
    ]

    def events(kind: str) -> list[dict]:
        path = next(Path("home").glob("nodes/*/events.jsonl"), None)
        lines = path.read_text().splitlines() if path else []
        made = [json.loads(line) for line in lines if line.endswith("}")]
        return [event for event in made if event["event"] == kind]

    def wait(kind: str, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(events(kind)) < count:
            assert time.monotonic() < deadline, (kind, count)
            assert process.poll() is None
            time.sleep(0.1)

    for life, rows in enumerate((160, 220), 1):
        with Path(f"{life}.log").open("w") as log:
            process = Command(*words, log=log)
            try:
                wait("finished", life)
                put(site, ward, rows)
                wait("grown", life)
                wait("publish", 2 * life)
            finally:
                process.kill()
                process.wait()
    first, second = events("grown")
    assert (first["batches"], second["batches"]) == (2, 3)
    assert second["samples"] > first["samples"]
    assert History.load(Path("home")).ends == (100, 160, 220)
    assert len(list(Path("home").glob("checkpoint-*.ckpt"))) <= 2
