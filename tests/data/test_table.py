"""Tables as people have them: kinds of columns, what is missing, what is refused and told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qsynth.data import load_data
from qsynth.data.columns import HALF
from qsynth.data.table import Table, task_of_columns
from qsynth.data.task import Declared, FromData
from qsynth.encoder import make_encoder
from qsynth.encoder.config import Identity
from qsynth.errors import ConfigError, DataError

pa = pytest.importorskip("pyarrow")
ROWS = 80


def rows(rng, count: int = ROWS) -> dict[str, list]:
    """Columns of patients: numbers, a date, a category, an id, a constant, what is learned."""
    sick = rng.random(count) < 0.5
    return {
        "patient": [f"p{i:03}" for i in range(count)],
        "age": [int(a) for a in rng.integers(20, 90, count)],
        "sugar": [round(float(v), 3) for v in rng.normal(5.0 + sick, 1.0)],
        "ward": [str(w) for w in rng.choice(["east", "west"], count)],
        "seen": [
            f"20{y}-0{m}-15"
            for y, m in zip(rng.integers(10, 20, count), rng.integers(1, 9, count), strict=True)
        ],
        "country": ["DE"] * count,
        "clinic": [str(c) for c in rng.choice(["A", "B"], count)],
        "diagnosis": ["sick" if s else "well" for s in sick],
    }


def csv(path: Path, columns: dict[str, list], between: str = ",") -> str:
    lines = [between.join(columns)]
    lines += [between.join(str(v) for v in row) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def load(path: str, **settings):
    settings = {"label": "diagnosis", "site": "clinic", **settings}
    return load_data(Table(path=path, **settings), FromData())


def test_columns_become_features_by_their_kind(tmp_path, rng) -> None:
    columns = rows(rng)
    data = load(csv(tmp_path / "ward.csv", columns))
    task = data.task
    assert (task.name, task.labels, task.label) == ("ward", ("sick", "well"), "diagnosis")
    assert [c.name for c in task.columns] == ["age", "seen", "sugar", "ward"]
    assert [c.kind for c in task.columns] == ["number", "date", "number", "category"]
    assert [f for c in task.columns for f in c.features()] == [
        "age",
        "seen",
        "sugar",
        "ward=east",
        "ward=west",
    ]
    assert task.shape == (5,)
    # Units are taken of the rows that train, never of those that test.
    train = np.setdiff1d(np.arange(ROWS), data.test_rows)
    np.testing.assert_allclose(task.location[0], np.mean(np.array(columns["age"])[train]))
    np.testing.assert_allclose(task.scale[2], np.std(np.array(columns["sugar"])[train]))
    assert task.location[3:] == task.scale[3:] == (HALF, HALF)
    # Each test row is the row of the file that it says.
    for row, inputs, label in zip(data.test_rows, data.test_x, data.test_y, strict=True):
        assert inputs[0] == columns["age"][row]
        days = np.datetime64(columns["seen"][row]).astype("datetime64[D]").astype(int)
        assert inputs[1] == days
        assert list(inputs[3:]) == [columns["ward"][row] == w for w in ("east", "west")]
        assert task.labels[label] == columns["diagnosis"][row]
    sites = ["AB"[site] for site in data.test_node]
    assert sites == [columns["clinic"][row] for row in data.test_rows]
    said = " / ".join(data.notes)
    assert f"{ROWS} rows, 4 columns, 5 features; 2 sites (A " in said
    assert "column patient is left out" in said
    assert "column country is left out" in said
    encoded = make_encoder(Identity(), task).encode(data.train_x)
    assert set(np.unique(encoded[:, 3:])) == {-1.0, 1.0}


def test_the_same_rows_in_every_format_are_the_same_data(tmp_path, rng) -> None:
    from pyarrow import feather, parquet

    columns = rows(rng)
    days = np.array(columns["seen"], "datetime64[D]")
    table = pa.table({**columns, "seen": pa.array(days)})
    parquet.write_table(table, tmp_path / "t.parquet")
    feather.write_feather(table, str(tmp_path / "t.feather"))
    csv(tmp_path / "t.csv", columns)
    csv(tmp_path / "t.tsv", columns, "\t")
    german = {**columns, "sugar": [f"{v}".replace(".", ",") for v in columns["sugar"]]}
    (tmp_path / "semi").mkdir()
    csv(tmp_path / "semi" / "t.csv", german, ";")
    wanted = load(str(tmp_path / "t.parquet"))
    for name in ("t.feather", "t.csv", "t.tsv", "semi/t.csv"):
        data = load(str(tmp_path / name))
        assert data.digest() == wanted.digest(), name


def test_a_folder_holds_a_file_for_each_site(tmp_path, rng) -> None:
    columns = rows(rng)
    whole = load(csv(tmp_path / "all.csv", columns))
    (tmp_path / "sites").mkdir()
    for site in "AB":
        mine = [i for i, c in enumerate(columns["clinic"]) if c == site]
        csv(
            tmp_path / "sites" / f"{site}.csv",
            {k: [v[i] for i in mine] for k, v in columns.items() if k != "clinic"},
        )
    data = load(str(tmp_path / "sites"), site="")
    assert np.bincount(data.train_node).tolist() == np.bincount(whole.train_node).tolist()
    assert data.task.columns == whole.task.columns
    csv(tmp_path / "sites" / "C.csv", {"age": [1, 2], "diagnosis": ["sick", "well"]})
    fewer = load(str(tmp_path / "sites"), site="")
    assert [c.name for c in fewer.task.columns] == ["age"]
    assert any("columns that not all files have are left out" in note for note in fewer.notes)
    csv(tmp_path / "sites" / "C.tsv", {"age": [1, 2], "diagnosis": ["sick", "well"]}, "\t")
    with pytest.raises(DataError, match=r"C\.csv and C\.tsv are called alike"):
        load(str(tmp_path / "sites"), site="")


def test_a_table_without_sites_is_one_site(tmp_path, rng) -> None:
    data = load(csv(tmp_path / "t.csv", rows(rng)), site="", leave_out=("clinic",))
    assert set(data.train_node) == {0}
    assert "one site" in data.notes[0]


def test_what_is_missing_is_imputed_indicated_or_dropped(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["sugar"][3], columns["sugar"][7], columns["ward"][4] = "NA", "?", ""
    columns["diagnosis"][5] = columns["clinic"][6] = ""
    path = csv(tmp_path / "t.csv", columns)
    data = load(path)
    said = " / ".join(data.notes)
    assert "1 row is left out: no label in column diagnosis" in said
    assert "1 row is left out: no site in column clinic" in said
    assert "column sugar: 2 of 78 rows are missing, taken for" in said
    assert "column ward: 1 of 78 rows are missing, taken for no level" in said
    assert not {5, 6} & set(data.test_rows.tolist())
    everything = np.concatenate([data.train_x, data.test_x])
    assert (everything[:, 2] == np.float32(data.task.location[2])).sum() == 2
    assert (everything[:, 3:].sum(axis=1) == 0.0).sum() == 1
    marked = load(path, indicate=True)
    assert [f for c in marked.task.columns for f in c.features()][3] == "sugar is missing"
    everything = np.concatenate([marked.train_x, marked.test_x])
    assert everything[:, 3].sum() == 2
    assert everything[:, -1].sum() == 1


def test_numbers_that_become_text_or_fractions_late_are_still_read(tmp_path, rng) -> None:
    count = 200_000  # the reader's first block ends before
    columns = {
        "x": [1] * count + [2.5, 3],
        "word": ["7"] * count + ["eight", "9"],
        "diagnosis": ["a", "b"] * (count // 2 + 1),
    }
    columns["x"][0] = 4
    data = load(csv(tmp_path / "t.csv", columns), site="")
    assert [c.name for c in data.task.columns] == ["word", "x"]
    assert data.task.columns[0].levels == ("7", "9", "eight")
    assert 2.5 in np.concatenate([data.train_x, data.test_x])[:, 3]


def test_kinds_are_what_the_user_says(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["zip"] = [str(z) for z in rng.choice([10115, 80331, 20095], ROWS)]
    path = csv(tmp_path / "t.csv", columns)
    assert "zip" in [c.name for c in load(path).task.columns if c.kind == "number"]
    data = load(path, kinds={"zip": "category"})
    assert data.task.columns[-1].levels == ("10115", "20095", "80331")
    with pytest.raises(
        ConfigError, match=r"data\.kinds\.zip=number1: no such kind; did you mean number\?"
    ):
        load(path, kinds={"zip": "number1"})
    with pytest.raises(DataError, match=r"column ward is no number: row 0 holds '(east|west)'"):
        load(path, kinds={"ward": "number"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"label": ""}, r"data\.label=: which column is to be learned\? patient, age"),
        ({"label": "diagnose"}, r"data\.label=diagnose: .* did you mean diagnosis\?"),
        ({"site": "clinik"}, r"data\.site=clinik: .* did you mean clinic\?"),
        ({"kinds": {"wart": "category"}}, r"data\.kinds=wart: .* did you mean ward\?"),
        ({"label": "sugar"}, r"data\.label=sugar: holds numbers with fractions: data\.kind=values"),
        ({"label": "country"}, r"data\.label=country: holds 'DE' in every row; two classes"),
        ({"label": ("age", "sugar")}, r"data\.kind=labels, of numbers data\.kind=values"),
        ({"kind": "labels"}, r"column diagnosis is no number"),
        (
            {"labels": ("well", "sic")},
            r"row \d+ holds 'sick', no label of the task; did you mean sic",
        ),
        ({"leave_out": ("age", "seen", "sugar", "ward")}, r"no column is left to learn from"),
    ],
)
def test_a_mistake_is_told_in_one_line(settings, said, tmp_path, rng) -> None:
    path = csv(tmp_path / "t.csv", rows(rng))
    with pytest.raises(DataError, match=said) as error:
        load(path, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"cannot be read as a table"),
        ("a,b\n", r"has no row"),
        ("a,a\n1,2\n", r"two columns are called a"),
        ("a,diagnosis\n1,x,3\n", r"cannot be read as a table"),
        ("a,diagnosis\ninf,x\n2,y\n", r"column a holds inf in row 0: must be a finite number"),
    ],
)
def test_a_file_that_is_none_is_told_in_one_line(text, said, tmp_path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=said) as error:
        load(str(tmp_path / "t.csv"), site="")
    assert "\n" not in str(error.value)


def test_places_that_are_no_table(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.npz").write_bytes(b"PK")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    for name, said in (
        ("", "needs a table"),
        ("nowhere.csv", "no such file"),
        (str(tmp_path / "empty"), "no table in this folder"),
        (str(tmp_path / "x.npz"), "for an .npz data=arrays"),
        (str(tmp_path / "bad.parquet"), "cannot be read as a table"),
    ):
        with pytest.raises(DataError, match=said):
            load(name)


def test_an_index_column_without_a_name_is_left_out(tmp_path, rng) -> None:
    columns = {"": list(range(ROWS)), **rows(rng)}
    data = load(csv(tmp_path / "t.csv", columns))
    assert any("without a name" in note for note in data.notes)
    assert "" not in [c.name for c in data.task.columns]


def declared(data, **more) -> Declared:
    columns = {
        "age": {"location": 50, "scale": 10},
        "ward": {"kind": "category", "levels": ["east", "west", "north"]},
    }
    return Declared(
        title="shared", label="diagnosis", labels=("well", "sick"), columns=columns, **more
    )


def test_a_declared_task_says_what_columns_are_at_every_site(tmp_path, rng) -> None:
    columns = rows(rng)
    path = csv(tmp_path / "t.csv", columns)
    task = declared(None)
    one = load_data(Table(path=path), task)
    assert one.task.shape == (4,)
    assert one.task.location == (50.0, HALF, HALF, HALF)
    # Another site, with other columns beside, and in another order, has the same task.
    other = {
        "diagnosis": columns["diagnosis"],
        "ward": columns["ward"],
        "age": columns["age"],
        "more": columns["age"],
    }
    two = load_data(Table(path=csv(tmp_path / "u.csv", other)), task)
    assert one.task.digest() == two.task.digest()
    np.testing.assert_array_equal(one.train_x, two.train_x)
    # Its own name for the label, and its own labels.
    krank = {**other, "dx": ["krank" if d == "sick" else "well" for d in other.pop("diagnosis")]}
    mapped = Table(path=csv(tmp_path / "v.csv", krank), label="dx", label_map={"krank": "sick"})
    three = load_data(mapped, task)
    assert three.task.digest() == one.task.digest()
    for data in (one, three):
        said = [data.task.labels[label] for label in data.test_y]
        assert said == [columns["diagnosis"][row] for row in data.test_rows]
    with pytest.raises(DataError, match="has no column ward, which the task needs"):
        load_data(
            Table(
                path=csv(
                    tmp_path / "w.csv", {"age": columns["age"], "diagnosis": columns["diagnosis"]}
                )
            ),
            task,
        )
    strange = {**columns, "ward": ["south"] * ROWS}
    told = load_data(Table(path=csv(tmp_path / "x.csv", strange)), task).notes
    assert f"column ward: {ROWS} rows hold a level that the task has not" in told
    with pytest.raises(ConfigError, match=r"task\.columns=\{\}: a table needs them"):
        load_data(Table(path=path), replace(task, columns={}))
    with pytest.raises(ConfigError, match=r"task\.shape=\[4\]: task\.columns say it"):
        load_data(Table(path=path), replace(task, shape=(4,)))
    for wrong, said in (
        ({"age": 3}, r"task\.columns\.age=3: must be a mapping"),
        ({"age": {"kind": "nummer"}}, r"task\.columns\.age\.kind=nummer"),
        ({"age": {"levels": ["a"]}}, r"task\.columns\.age\.levels"),
        ({"age": {"scale": 0}}, r"task\.columns\.age\.scale=0: must be >= "),
    ):
        with pytest.raises(ConfigError, match=said):
            replace(task, columns=wrong)


def test_values_and_labels_of_a_table(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["a"], columns["b"] = (rng.integers(0, 2, ROWS).tolist() for _ in range(2))
    path = csv(tmp_path / "t.csv", columns)
    data = load(path, label="sugar", kind="values")
    assert data.task.labels == ("sugar",)
    everything = np.concatenate([data.train_y, data.test_y])
    np.testing.assert_allclose(everything.std(), 1.0, atol=1e-3)
    data = load(path, label=("a", "b"), kind="labels")
    assert data.task.labels == ("a", "b")
    assert set(np.unique(data.train_y)) == {0.0, 1.0}


def test_a_task_of_columns_keeps_its_hash_to_itself() -> None:
    task = Declared(columns={"b": {}, "a": {}})
    made = task_of_columns("t", ("x", "y"), task.described(), "classes", "y")
    assert [c.name for c in made.columns] == ["a", "b"]
    turned = Declared(columns={"a": {}, "b": {}})
    again = task_of_columns("t", ("x", "y"), turned.described(), "classes", "y")
    assert made.digest() == again.digest()
    assert "columns" in made.field_digests()
    assert made.digest() != replace(made, label="z").digest()


def test_numbers_with_a_word_among_them_are_told_how_to_be_read(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["age"][7] = "unknown"
    path = csv(tmp_path / "t.csv", columns)
    told = [note for note in load(path).notes if note.startswith("column age")]
    assert told == [
        "column age is left out: it holds numbers, but row 7 holds 'unknown'; if that stands for "
        "nothing, data.missing=[unknown]"
    ]
    columns["sugar"][8] = ""  # what stands for nothing anyway still does
    data = load(csv(tmp_path / "t.csv", columns), missing=("unknown",))
    assert [c.name for c in data.task.columns] == ["age", "seen", "sugar", "ward"]
    said = " / ".join(data.notes)
    assert "column age: 1 of 80 rows are missing" in said
    assert "column sugar: 1 of 80 rows are missing" in said


def test_dates_far_away_are_days_too(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["seen"][0], columns["seen"][1] = "9999-12-31", "0002-01-01"
    data = load(csv(tmp_path / "t.csv", columns))
    everything = np.concatenate([data.train_x, data.test_x])[:, 1]
    assert everything.max() == np.datetime64("9999-12-31").astype(int)
    assert everything.min() == np.datetime64("0002-01-01").astype(int)


def test_moments_are_read_in_every_writing(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["seen"] = [f"2020-01-{1 + i % 28:02}T12:00:00.5Z" for i in range(ROWS)]
    data = load(csv(tmp_path / "t.csv", columns), kinds={"seen": "date"})
    everything = np.concatenate([data.train_x, data.test_x])[:, 1]
    assert everything.min() == np.float32(18262.5 + 0.5 / 86400)


def test_what_single_precision_cannot_tell_is_left_out_or_refused(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["when"] = [1_700_000_000 + i for i in range(ROWS)]
    path = csv(tmp_path / "t.csv", columns)
    assert any(
        n.startswith("column when is left out: 1.7e+09 is too far") for n in load(path).notes
    )
    with pytest.raises(DataError, match="when is too far from 0 for its spread"):
        load(path, label="when", kind="values")
    with pytest.raises(ConfigError, match=r"task\.columns\.when\.location=1\.7e\+09: is too far"):
        Declared(columns={"when": {"location": 1.7e9, "scale": 20}})
    columns["when"][20] = "1e39"
    del columns["diagnosis"][:5], columns["country"]
    columns["diagnosis"] = [""] * 5 + columns["diagnosis"]
    with pytest.raises(DataError, match=r"column when holds 1e\+39 in row 20: must be a finite"):
        load_data(
            Table(path=csv(tmp_path / "u.csv", columns)),
            declared_with(when={"location": 0, "scale": 1}),
        )


def declared_with(**columns) -> Declared:
    return Declared(title="t", label="diagnosis", labels=("sick", "well"), columns=columns)


def test_names_are_texts_whatever_they_look_like(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["code"] = ["00", "01"] * (ROWS // 2)
    task = declared_with(code={"kind": "category", "levels": ["00", "01", "A1"]})
    data = load_data(Table(path=csv(tmp_path / "t.csv", columns)), task)
    assert not any("level that the task has not" in note for note in data.notes)
    everything = np.concatenate([data.train_x, data.test_x])
    assert everything.sum(axis=0).tolist() == [ROWS / 2, ROWS / 2, 0]
    # The same whole number, and the same truth value, in another writing is the same.
    columns["code"] = ["1.0", "True"] * (ROWS // 2)
    task = declared_with(code={"kind": "category", "levels": ["1", "true"]})
    data = load_data(Table(path=csv(tmp_path / "u.csv", columns)), task)
    assert np.concatenate([data.train_x, data.test_x]).sum(axis=0).tolist() == [ROWS / 2, ROWS / 2]
    columns["diagnosis"] = ["1.0", "0.0"] * (ROWS // 2)
    assert load(csv(tmp_path / "v.csv", columns)).task.labels == ("0", "1")
    columns["diagnosis"] = ["01", "00"] * (ROWS // 2)
    assert load(csv(tmp_path / "w.csv", columns)).task.labels == ("00", "01")


def test_a_column_called_file_is_one_like_others(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["file"] = columns.pop("ward")
    data = load(csv(tmp_path / "t.csv", columns), site="")
    assert set(data.train_node) == {0}
    assert "file" in [c.name for c in data.task.columns]


def test_whole_numbers_stand_among_those_with_a_decimal_comma(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["sugar"] = ["5" if i % 2 else "2,5" for i in range(ROWS)]
    data = load(csv(tmp_path / "t.csv", columns, ";"))
    assert set(np.concatenate([data.train_x, data.test_x])[:, 2]) == {5.0, 2.5}


def test_a_task_without_a_title_has_one_hash_at_all_sites(tmp_path, rng) -> None:
    columns = rows(rng)
    task = replace(declared(None), title="")
    digests = {
        load_data(Table(path=csv(tmp_path / name, columns)), task).task.digest()
        for name in ("a.csv", "b.csv")
    }
    assert len(digests) == 1


def test_what_is_no_number_in_parquet_is_missing(tmp_path, rng) -> None:
    from pyarrow import parquet

    columns = rows(rng)
    columns["sugar"][3] = float("nan")
    columns["nothing"] = [float("nan")] * ROWS
    columns["target"] = [float("nan"), *range(1, ROWS)]
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    data = load(str(tmp_path / "t.parquet"), indicate=True)
    names = [f for c in data.task.columns for f in c.features()]
    assert "sugar is missing" in names
    assert "column nothing is left out: nothing stands in it" in data.notes
    data = load(str(tmp_path / "t.parquet"), label="target", kind="values")
    assert "1 row is left out: no label in column target" in data.notes


def test_files_whose_columns_are_of_different_kinds_are_joined_as_text(tmp_path, rng) -> None:
    (tmp_path / "sites").mkdir()
    columns = {"x": rng.random(40).tolist(), "diagnosis": ["sick", "well"] * 20}
    for name, code in (("a", ["0", "1"]), ("b", ["u", "1"]), ("c", ["true", "false"])):
        csv(tmp_path / "sites" / f"{name}.csv", {**columns, "code": code * 20})
    data = load(str(tmp_path / "sites"), site="")
    assert data.task.columns[0].levels == ("0", "1", "false", "true", "u")


def test_letters_of_older_programs_are_read_if_one_says_so(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["ward"] = ["süd", "nord"] * (ROWS // 2)
    path = tmp_path / "t.csv"
    csv(path, columns)
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin1"))
    with pytest.raises(DataError, match=r"column ward holds letters that are not UTF-8; data\.enc"):
        load(str(path))
    assert load(str(path), encoding="latin1").task.columns[-1].levels == ("nord", "süd")


def test_a_column_that_is_to_be_left_out_must_be_there(tmp_path, rng) -> None:
    path = csv(tmp_path / "t.csv", rows(rng))
    with pytest.raises(DataError, match=r"data\.leave_out: .* no column Ward; did you mean ward\?"):
        load(path, leave_out=("Ward",))


def test_files_that_unpack_to_too_much_are_refused(tmp_path) -> None:
    import gzip

    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,diagnosis\n" + b"1,x\n" * 30_000_000))
    with pytest.raises(DataError, match=r"t\.csv\.gz unpacks to more than 64 MiB"):
        load(str(tmp_path / "t.csv.gz"), site="")


def test_sites_that_differ_strangely_are_told(tmp_path, rng) -> None:
    columns = rows(rng, 200)
    columns["clinic"] = [("A", "B", "C")[i % 3] for i in range(200)]
    columns["sugar"] = [
        v * 18 if c == "C" else v for v, c in zip(columns["sugar"], columns["clinic"], strict=True)
    ]
    columns["diagnosis"] = [
        "sick" if c == "A" else d
        for d, c in zip(columns["diagnosis"], columns["clinic"], strict=True)
    ]
    told = load(csv(tmp_path / "t.csv", columns)).notes
    assert [n for n in told if "other units" in n and n.startswith("column sugar") and " C: " in n]
    assert len([n for n in told if "other units" in n]) == 1
    assert "A has no row of well" in told


def test_numbers_that_stand_for_nothing_do_so_in_every_writing(tmp_path, rng) -> None:
    from pyarrow import parquet

    columns = rows(rng)
    columns["age"][3], columns["sugar"][4] = -9, -9.0
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    columns["age"] = [float(a) for a in columns["age"]]
    for path in (str(tmp_path / "t.parquet"), csv(tmp_path / "t.csv", columns)):
        data = load(path, missing=(-9.0,))
        said = " / ".join(data.notes)
        assert "column age: 1 of 80 rows are missing" in said
        assert "column sugar: 1 of 80 rows are missing" in said
        assert data.task.missing == ("-9",)  # whoever uses the predictor reads them so, too


def test_rows_are_those_of_their_own_file(tmp_path, rng) -> None:
    (tmp_path / "sites").mkdir()
    both = {}
    for site in "AB":
        both[site] = rows(rng, 40)
        both[site]["diagnosis"][0] = ""
        csv(tmp_path / "sites" / f"{site}.csv", both[site])
    data = load(str(tmp_path / "sites"), site="")
    for row, whose, inputs in zip(data.test_rows, data.test_node, data.test_x, strict=True):
        assert both["AB"[whose]]["age"][row] == inputs[0]


def test_numbers_with_decimal_commas_and_a_word_are_told_by_the_word(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["sugar"] = [f"{v}".replace(".", ",") for v in columns["sugar"]]
    columns["sugar"][9] = "unknown"
    path = csv(tmp_path / "t.csv", columns, ";")
    assert any("row 9 holds 'unknown'" in note for note in load(path).notes)
    assert "sugar" in [c.name for c in load(path, missing=("unknown",)).task.columns]


def test_an_id_is_no_class(tmp_path, rng) -> None:
    with pytest.raises(DataError, match="80 values in 80 rows: no class, as it seems"):
        load(csv(tmp_path / "t.csv", rows(rng)), label="patient")
