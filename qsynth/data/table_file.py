"""Read tables of files: CSV, Parquet, Feather; a folder of them is a site each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.data.memory import MOST_PACKED, SMALL_BYTES, check_memory
from qsynth.errors import DataError, nearest_spelling
from qsynth.lazy import Deferred
from qsynth.types import Ints

arrow = Deferred("pyarrow")
csv = Deferred("pyarrow.csv")
feather = Deferred("pyarrow.feather")
parquet = Deferred("pyarrow.parquet")
compute = Deferred("pyarrow.compute")

CSV_ENDINGS = (".csv", ".tsv", ".txt", ".data")
ENDINGS = (*CSV_ENDINGS, ".parquet", ".pq", ".feather", ".arrow")
PACKED = (".gz", ".bz2")
DELIMITERS = (",", ";", "\t", "|")
COMMA = r"^\s*[-+]?\d+(,\d+)?\s*$"  # a number, perhaps with a decimal comma
COLUMN_ERROR = re.compile(r"In CSV column #(\d+):.*conversion error to ([\w\[\]]+)", re.DOTALL)
FILE = "__file__"  # the column that says which file of a folder a row is of
UNNAMED = ("", "__index_level_0__")  # what pandas writes beside a table's own columns
HEAD_BYTES = 1 << 16
CELL_BYTES = 8
MOSTLY = 0.5  # of a column are numbers: it is one, and the others stand for nothing
SHOWN = 5  # columns, in words


@dataclass(frozen=True)
class TableFile:
    """Name the files of a table, and say how text is read.

    key: how the user names it in messages.  missing: texts that stand for nothing.
    names: of the columns, where a CSV has no line with them.  texts: columns that are read as text,
    whatever they hold.  encoding: of a CSV.  growing: whether what follows the last end of a line
    is still in the writing, and not read.
    """

    path: str
    key: str = "data.path"
    missing: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    encoding: str = "utf8"
    growing: bool = False

    @property
    def of_folder(self) -> bool:
        """Return whether each file is a site."""
        return Path(self.path).expanduser().is_dir()

    @property
    def said(self) -> str:
        """Return what a message calls it."""
        return f"{self.key}={self.path or 'null'}"

    def files(self) -> list[Path]:
        """Return the files, of a folder in the order of their names.  Raises DataError."""
        if not self.path:
            raise DataError(f"{self.said}: needs a table, e.g. {self.key}=site.csv")
        path = Path(self.path).expanduser()
        if path.is_dir():
            found = sorted(each for each in path.iterdir() if is_table(each))
            if not found:
                raise DataError(f"{self.said}: no table in this folder ({', '.join(ENDINGS)})")
            names = [stem_of(each) for each in found]
            twice = [each for each, name in zip(found, names, strict=True) if names.count(name) > 1]
            if twice:
                raise DataError(
                    f"{self.said}: {twice[0].name} and {twice[1].name} are called alike, and each "
                    "file is a site"
                )
            return found
        if not path.is_file():
            raise DataError(f"{self.said}: no such file")
        if not is_table(path):
            raise DataError(
                f"{self.said}: is no table ({', '.join(ENDINGS)}); for an .npz data=arrays, for a "
                "folder of pictures data=images"
            )
        return [path]

    def check_whole(self) -> None:
        """Raise DataError where the last line of a CSV has no end: more of it may be to come."""
        for path in self.files():
            if path.suffix.lower() not in CSV_ENDINGS or not path.stat().st_size:
                continue
            with path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                if file.read(1) not in (b"\n", b"\r"):
                    raise DataError(
                        f"{self.said}: its last line has no end: it may be in the writing"
                    )

    def read(self, leave_out: Sequence[str] = ()) -> tuple[Any, list[str]]:
        """Return the table, of pyarrow, and what of it was left out.

        Rows of several files stand one after the other, with one more column, `FILE`.  Raises
        DataError.
        """
        files = self.files()
        try:
            tables = [self._read(each) for each in files]
        except ImportError:
            raise DataError("data.name=table: needs pip install 'qsynth[table]'") from None
        except MemoryError:
            raise DataError(f"{self.said}: is more than there is memory for") from None
        there = [name for table in tables for name in table.column_names]
        for name in leave_out:
            if name not in there:
                raise DataError(
                    f"data.leave_out: {self.path} has no column {name}"
                    f"{nearest_spelling(name, set(there))}"
                )
        notes = []
        if any(name in table.column_names for table in tables for name in UNNAMED):
            notes.append("a column without a name is left out: it numbers the rows")
        for name in (*leave_out, *UNNAMED):
            tables = [t.drop_columns([name]) if name in t.column_names else t for t in tables]
        for path, table in zip(files, tables, strict=True):
            self._check_names(path, table)
        if not self.of_folder:
            return _without(tables[0], self.missing), notes
        return _without(self._joined(files, tables, notes), self.missing), notes

    def places(self, table: Any) -> Ints:
        """Return (n,) which row of its file each row is."""
        rows: Ints = np.arange(table.num_rows)
        if not self.of_folder:
            return rows
        whose = table[FILE].combine_chunks()
        codes = np.asarray(getattr(whose, "indices", whose.dictionary_encode().indices))
        first = np.flatnonzero(np.diff(codes, prepend=-1))  # files stand one after the other
        made: Ints = rows - np.repeat(first, np.diff(first, append=len(rows)))
        return made

    def _read(self, path: Path) -> Any:
        ending = _ending(path)
        try:
            if ending in CSV_ENDINGS:
                return self._read_csv(path)
            if ending in (".parquet", ".pq"):
                told = parquet.read_metadata(path)
                check_memory(self.said, CELL_BYTES * told.num_rows * told.num_columns)
                return parquet.read_table(path)
            return feather.read_table(path)
        except (arrow.ArrowException, OSError, UnicodeError, LookupError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"{path}: cannot be read as a table ({first})") from None

    def _read_csv(self, path: Path) -> Any:
        """Return a table of text; types are as its first block says, or, if that fails, wider."""
        _check_packed(path, self.said)
        delimiter, decimal = _delimiter(path), "."
        given: dict[str, Any] = dict.fromkeys(self.texts, arrow.string())
        types = dict(given)
        names = self.names or self._header(path, delimiter)
        while True:
            try:
                table = self._read_csv_as(path, delimiter, types, decimal)
            except arrow.ArrowInvalid as error:
                wrong = COLUMN_ERROR.search(str(error))
                if wrong is None or int(wrong[1]) >= len(names):
                    raise
                # Numbers first, then text: what is neither is found out by whoever takes it.
                wider = arrow.float64() if wrong[2].startswith("int") else arrow.string()
                name = names[int(wrong[1])]
                types[name] = arrow.string() if name in types else wider
                continue
            if delimiter == ";" and decimal == "." and _with_commas(table):
                decimal, types = ",", dict(given)
                continue
            if decimal == ",":
                table = _points(table)
            for name, column in zip(table.column_names, table.columns, strict=True):
                if arrow.types.is_binary(column.type):
                    raise DataError(
                        f"{path}: column {name} holds letters that are not UTF-8; data.encoding="
                        "latin1 reads what older programs wrote"
                    )
            return table

    def _header(self, path: Path, delimiter: str) -> list[str]:
        with csv.open_csv(
            self._lines(path),
            read_options=csv.ReadOptions(encoding=self.encoding),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        ) as opened:
            return list(opened.schema.names)

    def _lines(self, path: Path) -> Any:
        """Return what pyarrow reads: the file, or its whole lines where more may be to come."""
        if not self.growing or path.suffix.lower() not in CSV_ENDINGS:
            return path
        text = path.read_bytes()
        return arrow.BufferReader(text[: text.rfind(b"\n") + 1])

    def _read_csv_as(self, path: Path, delimiter: str, types: dict[str, Any], decimal: str) -> Any:
        return csv.read_csv(
            self._lines(path),
            read_options=csv.ReadOptions(
                column_names=list(self.names) or None, encoding=self.encoding
            ),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=types,
                null_values=list(self.missing),
                strings_can_be_null=True,
                decimal_point=decimal,
            ),
        )

    def _check_names(self, path: Path, table: Any) -> None:
        names = table.column_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"{path}: two columns are called {twice[0]}")
        if not table.num_rows:
            raise DataError(f"{path}: has no row")

    def _joined(self, files: list[Path], tables: list[Any], notes: list[str]) -> Any:
        """Return one table of all, of the columns that all have, and one column more."""
        shared = set.intersection(*(set(table.column_names) for table in tables))
        for path, table in zip(files, tables, strict=True):
            own = sorted(set(table.column_names) - shared)
            if own:
                notes.append(
                    f"columns that not all files have are left out: {', '.join(own[:SHOWN])}"
                    f"{', ...' * (len(own) > SHOWN)} of {path.name}"
                )
        if FILE in shared:
            raise DataError(f"{self.said}: a column is called {FILE}; rename it")
        kept = [name for name in tables[0].column_names if name in shared]
        if not kept:
            raise DataError(f"{self.said}: its files have no column in common")
        tables = _of_one_kind([table.select(kept) for table in tables])
        parts = []
        for path, table in zip(files, tables, strict=True):
            name = arrow.array([stem_of(path)], arrow.string())
            places = arrow.array(np.zeros(table.num_rows, np.int32))
            parts.append(table.append_column(FILE, arrow.DictionaryArray.from_arrays(places, name)))
        try:
            return arrow.concat_tables(parts, promote_options="permissive").unify_dictionaries()
        except arrow.ArrowException as error:
            first = str(error).splitlines()[0]
            raise DataError(f"{self.said}: its files cannot be joined ({first})") from None


def _of_one_kind(tables: list[Any]) -> list[Any]:
    """Return tables whose columns are text where some hold numbers and some do not."""
    types = arrow.types
    made = {name: [table[name] for table in tables] for name in tables[0].column_names}
    for name, columns in made.items():
        kinds = {column.type for column in columns if not types.is_null(column.type)}
        plain = all(types.is_integer(kind) or types.is_floating(kind) for kind in kinds)
        if len(kinds) > 1 and not plain:
            made[name] = [_as_text(column, name) for column in columns]
    return [
        arrow.table({name: columns[at] for name, columns in made.items()})
        for at in range(len(tables))
    ]


def _as_text(column: Any, name: str) -> Any:
    types = arrow.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_nested(column.type):
        raise DataError(f"column {name} holds {column.type} in one file, and texts in another")
    return column.cast(arrow.string())


def _without(table: Any, missing: Sequence[str]) -> Any:
    """Return a table whose numbers are missing where they are NaN, or stand for nothing."""
    texts = [text for text in missing if re.match(r"^[-+]?\d+(\.\d*)?$", text)]
    nothing = arrow.array(sorted({float(text) for text in texts}), arrow.float64())
    for at, name in enumerate(table.column_names):
        column = table[name]
        if arrow.types.is_floating(column.type) and compute.any(compute.is_nan(column)).as_py():
            column = compute.if_else(compute.is_nan(column), None, column)
            table = table.set_column(at, name, column)
        elif str(column.type) in ("string_view", "large_string"):
            table = table.set_column(at, name, column.cast(arrow.string()))
        if len(nothing) and (
            arrow.types.is_floating(column.type) or arrow.types.is_integer(column.type)
        ):
            found = compute.is_in(column.cast(arrow.float64(), safe=False), value_set=nothing)
            if compute.any(found).as_py():
                table = table.set_column(at, name, compute.if_else(found, None, column))
    return table


def _check_packed(path: Path, said: str) -> None:
    """Raise DataError where a packed CSV would unpack to more than it can be meant to."""
    if path.suffix.lower() not in PACKED:
        return
    size, most = 0, max(SMALL_BYTES, MOST_PACKED * path.stat().st_size)
    with arrow.input_stream(path) as opened:
        while part := opened.read(HEAD_BYTES):
            size += len(part)
            if size > most:
                raise DataError(f"{said}: {path.name} unpacks to more than {most >> 20} MiB")
    check_memory(said, 2 * size)


def stem_of(path: Path) -> str:
    """Return what a file is called without its ending, a folder as it is."""
    if path.is_dir() or _ending(path) not in ENDINGS:
        return path.name
    inner = Path(path.stem) if path.suffix.lower() in PACKED else path
    return inner.stem


def is_table(path: Path) -> bool:
    """Return whether a file is a table, by its ending."""
    return path.is_file() and not path.name.startswith(".") and _ending(path) in ENDINGS


def _ending(path: Path) -> str:
    packed = path.suffix.lower() in PACKED
    inner = Path(path.stem) if packed else path
    ending = inner.suffix.lower()
    return "" if packed and ending not in CSV_ENDINGS else ending


def _delimiter(path: Path) -> str:
    """Return what separates the names in the first line."""
    if path.name.lower().endswith((".tsv", ".tsv.gz")):
        return "\t"
    with arrow.input_stream(path) as opened:  # unpacks by the file's ending
        head = bytes(opened.read(HEAD_BYTES))
    line = head.decode("utf-8", "replace").splitlines()[0] if head else ""
    plain = re.sub(r'"[^"]*"', "", line)
    found = max(DELIMITERS, key=plain.count)
    return found if plain.count(found) else ","


def _points(table: Any) -> Any:
    """Return a table whose numbers among texts have a point where they have a decimal comma."""
    for at, name in enumerate(table.column_names):
        column = table[name]
        if arrow.types.is_string(column.type) and column.null_count < len(column):
            made = compute.replace_substring_regex(column, r"^(\s*[-+]?\d+),(\d+\s*)$", r"\1.\2")
            if _mostly(column.drop_null()):
                table = table.set_column(at, name, made)
    return table


def _mostly(known: Any) -> bool:
    """Return whether most texts are numbers, and some with a decimal comma."""
    numbers = compute.match_substring_regex(known, COMMA).cast(arrow.float64())
    commas = compute.match_substring_regex(known, r"^\s*[-+]?\d+,\d+\s*$")
    return bool(compute.mean(numbers).as_py() > MOSTLY and compute.any(commas).as_py())


def _with_commas(table: Any) -> bool:
    """Return whether most of a column of text are numbers with a decimal comma."""
    columns = [column for column in table.columns if arrow.types.is_string(column.type)]
    return any(
        column.null_count < len(column) and _mostly(column.drop_null()) for column in columns
    )
