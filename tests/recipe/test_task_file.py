"""One task for sites that do not see each other's data: proposed, agreed on, checked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.data.columns import other_units
from qsynth.data.table import Table
from qsynth.data.task import Declared
from qsynth.errors import ConfigError
from qsynth.recipe.compose import compose
from qsynth.recipe.lint import lint
from qsynth.recipe.task_file import LEAST_ROWS, merged, read_task, written
from tests.commands import Command
from tests.data.test_table import ROWS, csv, rows

pytest.importorskip("pyarrow")


def proposals(tmp_path: Path, rng, count: int = 2) -> list[Path]:
    """Tasks that sites propose, each of a table of its own."""
    made = []
    for site in range(count):
        columns = rows(rng)
        del columns["clinic"]
        table = csv(tmp_path / f"site{site}.csv", columns)
        out = tmp_path / f"site{site}.yaml"
        words = [
            "task",
            "init",
            table,
            "--label",
            "diagnosis",
            "--out",
            str(out),
            "--title",
            "ward",
        ]
        assert main(words) == 0
        made.append(out)
    return made


def test_proposals_are_merged_and_each_site_fits(tmp_path, rng, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = proposals(tmp_path, rng)
    assert main(["task", "merge", *map(str, paths)]) == 0
    task = read_task(tmp_path / "task.yaml")
    ones = [read_task(path) for path in paths]
    assert task.rows == 2 * ROWS
    # Pooled, as if one had both tables.
    places, spreads = (
        [getattr(one.described()["age"], key) for one in ones] for key in ("location", "scale")
    )
    place = np.mean(places)
    spread = np.sqrt(
        np.mean([s**2 + (p - place) ** 2 for p, s in zip(places, spreads, strict=True)])
    )
    assert task.described()["age"].location == pytest.approx(place, rel=1e-3)
    assert task.described()["age"].scale == pytest.approx(spread, rel=1e-3)
    capsys.readouterr()
    for site in range(2):
        assert main(["task", "check", "task.yaml", f"site{site}.csv", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[0]["digest"] == told[1]["digest"]
    # The file is a recipe, that anybody may be sent.
    lint(tmp_path / "task.yaml")
    composed = compose(["recipe=task.yaml", "data.path=site0.csv"]).with_data()
    assert composed.config.nodes == 1
    assert composed.config.name == "ward"
    assert composed.data is not None
    assert composed.data.task.digest().hex() == told[0]["digest"]


def test_a_proposal_tells_nothing_of_few_rows(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["ward"][:3] = ["rare"] * 3
    table = csv(tmp_path / "t.csv", columns)
    assert (
        main(["task", "init", table, "--label", "diagnosis", "--out", str(tmp_path / "t.yaml")])
        == 0
    )
    text = (tmp_path / "t.yaml").read_text()
    assert "rare" not in text
    assert str(LEAST_ROWS) in text
    assert not [name for name in columns["patient"] if name in text]


def proposed(**columns) -> Declared:
    return Declared(title="t", label="y", labels=("a", "b"), rows=100, columns=columns)


def number(location: float, scale: float) -> dict:
    return {"kind": "number", "location": location, "scale": scale}


def test_what_differs_is_decided_and_told() -> None:
    one = proposed(
        x=number(0, 1),
        sex={"kind": "category", "levels": ["f", "m"]},
        own=number(0, 1),
        odd=number(0, 1),
    )
    other = proposed(
        x=number(0, 100),
        sex={"kind": "category", "levels": ["f", "x"]},
        odd={"kind": "category", "levels": ["1"]},
    )
    other = Declared(**{**vars(other), "labels": ("a", "c"), "title": "u"})
    agreed = merged([("one", one), ("other", other)])
    said = "\n".join(agreed.decisions)
    for part in (
        "label c: only other",
        "other has no row of b",
        "column own is left out: not in other",
        "column odd is left out: category and number",
        "column sex: one does not tell of x",
        "column x: other units? one and other: mean 0 and 0, spread 1 and 100",
        "title: t, of one (others: t, u)",
    ):
        assert part in said
    assert agreed.task.labels == ("a", "b", "c")
    assert agreed.task.described()["sex"].levels == ("f", "m", "x")
    assert set(agreed.task.columns) == {"sex", "x"}
    for wrong, rule in (
        ({"kind": "labels"}, "task.kind"),
        ({"label": "z"}, "task.label is z, one has y"),
        ({"columns": {"q": number(0, 1)}}, "no column is at all sites"),
    ):
        with pytest.raises(ConfigError, match=rule):
            merged([("one", one), ("other", Declared(**{**vars(one), **wrong}))])


def test_values_are_pooled_and_written() -> None:
    def site(place: float, rows: int) -> Declared:
        return Declared(
            title="t", kind="values", labels=("v",), rows=rows, columns={"x": number(0, 1)},
            target_location=(place,), target_scale=(1.0,),
        )  # fmt: skip

    task = merged([("a", site(0.0, 300)), ("b", site(4.0, 100))]).task
    assert task.target_location == (1.0,)
    assert task.target_scale == (pytest.approx(2.0),)
    assert "kind: values" in written(task, "t.yaml", "two")


def test_units_are_doubted_where_they_differ_much() -> None:
    assert not other_units((5, 1), (6, 2))
    assert other_units((5, 1), (90, 18))
    assert other_units((36.6, 0.5), (97.9, 0.9))


def test_names_that_yaml_takes_for_something_else_come_back(tmp_path) -> None:
    names = ["1", "true", "a: b", "x # y", "größe", "null", "a.b", "p{q}"]
    task = proposed(**{name: number(i, 1) for i, name in enumerate(names)})
    (tmp_path / "t.yaml").write_text(written(task, "t.yaml", "x"), encoding="utf-8")
    assert read_task(tmp_path / "t.yaml").described() == task.described()
    columns = {**{name: [str(v) for v in range(12)] for name in names}, "y": ["a", "b"] * 6}
    table = csv(tmp_path / "t.csv", columns, "\t")
    (tmp_path / "t.tsv").write_bytes(Path(table).read_bytes())
    composed = compose([f"recipe={tmp_path / 't.yaml'}", f"data.path={tmp_path / 't.tsv'}"])
    assert composed.with_data().data.task.shape == (len(names),)


def test_names_of_the_data_stay_names(tmp_path) -> None:
    """What a title, a level or a label looks like in YAML, it is text."""
    levels = ["1e5", "12E4", "yes", "null", "2020-01-01", "010", "a: b", "- x", "{}", "a\nb"]
    task = Declared(
        title="x\npeers: {k: 1}\n# ",
        label="y",
        labels=("1e3", "no"),
        columns={"c": {"kind": "category", "levels": levels}, "1e5": number(12345.6, 1.4)},
    )
    text = written(task, "a\nfolder: /", "b\nseed: 3")
    (tmp_path / "t.yaml").write_text(text, encoding="utf-8")
    values = lint(tmp_path / "t.yaml")
    assert set(values) == {"defaults", "name", "task"}
    again = read_task(tmp_path / "t.yaml")
    assert again.labels == task.labels
    assert again.described() == task.described()
    for wrong in ("${a}", "???", "_target_"):
        with pytest.raises(ConfigError, match="a name of the data cannot stand in a recipe"):
            written(
                proposed(**{wrong: number(0, 1)})
                if wrong == "_target_"
                else Declared(
                    title="t", label="y", labels=("a", wrong), columns={"x": number(0, 1)}
                ),
                "t.yaml",
                "x",
            )


def test_a_location_has_as_many_digits_as_its_spread_tells(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["big"] = (12345.6 + rng.normal(size=ROWS)).round(3).tolist()
    columns["few"] = [str(v) if i < 3 else "" for i, v in enumerate(columns["age"])]
    table = csv(tmp_path / "t.csv", columns)
    out = str(tmp_path / "t.yaml")
    assert main(["task", "init", table, "--label", "diagnosis", "--out", out]) == 0
    made = read_task(tmp_path / "t.yaml").described()
    assert abs(made["big"].location - np.mean(columns["big"])) < 0.01
    assert "few" not in made  # three values: mean and spread would tell them


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 10**13}, "task.rows="),
        ({"columns": {"x": number(1e300, 1)}}, "task.columns.x.location="),
        ({"columns": {"x": number(0, 1e300)}}, "task.columns.x.scale="),
        ({"labels": ()}, "names none"),
        ({"kind": "values"}, "task.target_location, task.target_scale: one a label"),
    ],
)
def test_a_proposal_that_is_none_is_told(change, said) -> None:
    def tried() -> None:
        wrong = Declared(**{**vars(proposed(x=number(0, 1))), **change})
        merged([("one", wrong), ("two", wrong)])

    with pytest.raises(ConfigError, match=said):
        tried()


def test_words_of_any_letters_name_files_and_columns(tmp_path, rng, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    columns = {**rows(rng), "Größe": [1.5, 2.5] * (ROWS // 2)}
    columns['Art "x"'] = columns.pop("diagnosis")
    Path("données é").mkdir()
    import csv as csv_format

    with Path("données é/t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv_format.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    assert main(["task", "init", "données é/t.csv", "--label", 'Art "x"']) == 0
    assert "Größe" in read_task(Path("task.yaml")).columns
    assert main(["task", "check", "task.yaml", "données é/t.csv"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["init"], "task init: needs one table or folder"),
        (["merge", "a.yaml"], "task merge: needs two tasks or more"),
        (["check", "a.yaml"], "task check: needs a task and the data"),
        (["check", "none.yaml", "t.csv"], "none.yaml: cannot be read"),
        (["ini"], "task ini: no such verb; did you mean init?"),
        (["init", "t.csv", "trainer.max_steps=3"], "takes settings of data alone"),
        (["init", "t.csv", "--label", "nothing"], "no such column"),
    ],
)
def test_mistakes_of_the_verb_are_told(words, said, tmp_path, rng, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    csv(tmp_path / "t.csv", rows(rng))
    assert main(["task", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_there_is_not_written_over(tmp_path, rng, capsys) -> None:
    (path,) = proposals(tmp_path, rng, 1)
    before = path.read_bytes()
    assert (
        main(
            [
                "task",
                "init",
                str(tmp_path / "site0.csv"),
                "--label",
                "diagnosis",
                "--out",
                str(path),
            ]
        )
        == 2
    )
    assert "is there already" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.slow
def test_nodes_with_files_of_their_own_meet_by_one_task(tmp_path, rng) -> None:
    task = tmp_path / "task.yaml"
    assert main(["task", "merge", *map(str, proposals(tmp_path, rng)), "--out", str(task)]) == 0
    small = ["mesh=tcp", "peers=all", "trainer.max_steps=60", "trainer.period_steps=10"]

    def up(site: int, *words: str) -> tuple[Command, Path]:
        log = tmp_path / f"log{len(list(tmp_path.glob('log*')))}"
        table = f"data.path={tmp_path / f'site{site}.csv'}"
        home = ["--home", str(tmp_path / f"home{site}")]
        words = ("node", "up", *home, f"+recipe={task}", table, *small, *words)
        kept.append(log.open("w"))
        return Command(*words, log=kept[-1]), log

    def said(started: tuple[Command, Path], words: str) -> str:
        deadline = time.monotonic() + 240.0
        while time.monotonic() < deadline:
            text = started[1].read_text()
            found = [line for line in text.splitlines() if words in line]
            if found:
                return found[0]
            assert started[0].poll() is None, text
            time.sleep(0.05)
        raise AssertionError(f"never said {words!r}: {started[1].read_text()}")

    kept: list[IO[str]] = []
    nodes = [up(0)]
    try:
        address = said(nodes[0], "listens at").split()[-1]
        nodes.append(up(1, f"mesh.join=[{address}]"))
        said(nodes[1], "joined through")
        said(nodes[1], "packets of")
        predictor = tmp_path / "home1" / "nodes" / "site-0"
        said(nodes[1], "its predictor is")
        assert main(["predict", str(predictor), str(tmp_path / "site1.csv"), "--json"]) == 0
        # Who means something else by a packet is told what mends it, and ends.
        text = task.read_text().replace("labels: [sick, well]", "labels: [well, sick]")
        task.write_text(text)
        nodes.append(up(0, f"mesh.join=[{address}]", f"--home={tmp_path / 'other'}"))
        assert nodes[2][0].wait(timeout=240.0) == 2
        assert (
            "task: labels differ; all sites need one task: qsynth task merge"
            in nodes[2][1].read_text()
        )
    finally:
        for command, _ in nodes:
            command.kill()
            command.wait()
        for log in kept:
            log.close()


def test_the_option_says_what_it_is() -> None:
    assert Table(path="a/b.c.csv.gz").own_name() == "b.c"
