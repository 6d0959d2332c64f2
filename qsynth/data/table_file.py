"""Read tables of files: CSV, Parquet, Feather; a folder of them is a site each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsynth.errors import DataError
from qsynth.lazy import Deferred

arrow = Deferred("pyarrow")
csv = Deferred("pyarrow.csv")
feather = Deferred("pyarrow.feather")
parquet = Deferred("pyarrow.parquet")
compute = Deferred("pyarrow.compute")

CSV_ENDINGS = (".csv", ".tsv", ".txt", ".data")
ENDINGS = (*CSV_ENDINGS, ".parquet", ".pq", ".feather", ".arrow")
PACKED = (".gz", ".bz2")
DELIMITERS = (",", ";", "\t", "|")
COMMA = r"^\s*[-+]?\d+,\d+\s*$"  # a number with a decimal comma
COLUMN_ERROR = re.compile(r"In CSV column #(\d+):.*conversion error to ([\w\[\]]+)", re.DOTALL)
FILE = "file"  # the column that says which file of a folder a row is of
UNNAMED = ("", "__index_level_0__")  # what pandas writes beside a table's own columns
HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class TableFile:
    """Name the files of a table, and say how text is read.

    key: how the user names it in messages.  missing: texts that stand for nothing.
    names: of the columns, where a CSV has no line with them.
    """

    path: str
    key: str = "data.path"
    missing: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

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
            found = sorted(each for each in path.iterdir() if _is_table(each))
            if not found:
                raise DataError(f"{self.said}: no table in this folder ({', '.join(ENDINGS)})")
            return found
        if not path.is_file():
            raise DataError(f"{self.said}: no such file")
        if not _is_table(path):
            raise DataError(
                f"{self.said}: is no table ({', '.join(ENDINGS)}); for an .npz data=arrays, for a "
                "folder of pictures data=images"
            )
        return [path]

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
        notes = []
        if any(name in table.column_names for table in tables for name in UNNAMED):
            notes.append("a column without a name is left out: it numbers the rows")
        for name in (*leave_out, *UNNAMED):
            tables = [t.drop_columns([name]) if name in t.column_names else t for t in tables]
        for path, table in zip(files, tables, strict=True):
            self._check_names(path, table)
        if len(tables) == 1 and not Path(self.path).expanduser().is_dir():
            return tables[0], notes
        return self._joined(files, tables), notes

    def _read(self, path: Path) -> Any:
        ending = _ending(path)
        try:
            if ending in CSV_ENDINGS:
                return self._read_csv(path)
            if ending in (".parquet", ".pq"):
                return parquet.read_table(path)
            return feather.read_table(path)
        except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"{path}: cannot be read as a table ({first})") from None

    def _read_csv(self, path: Path) -> Any:
        """Return a table of text; types are as its first block says, or, if that fails, wider."""
        delimiter, decimal = _delimiter(path), "."
        types: dict[str, Any] = {}
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
                decimal, types = ",", {}
                continue
            return table

    def _header(self, path: Path, delimiter: str) -> list[str]:
        with csv.open_csv(
            path, parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        ) as opened:
            return list(opened.schema.names)

    def _read_csv_as(self, path: Path, delimiter: str, types: dict[str, Any], decimal: str) -> Any:
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=list(self.names) or None),
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

    def _joined(self, files: list[Path], tables: list[Any]) -> Any:
        """Return one table of all, with one column more; each must have the first one's columns."""
        first = set(tables[0].column_names)
        parts = []
        for path, table in zip(files, tables, strict=True):
            other = first ^ set(table.column_names)
            if other:
                name = sorted(other)[0]
                has, lacks = (files[0], path) if name in first else (path, files[0])
                raise DataError(f"{lacks}: has no column {name}, which {has} has")
            if FILE in first:
                raise DataError(f"{path}: a column is called {FILE}; rename it")
            column = arrow.array(
                [plain_name(path)] * table.num_rows, arrow.string()
            ).dictionary_encode()
            parts.append(table.append_column(FILE, column))
        try:
            return arrow.concat_tables(parts, promote_options="permissive").unify_dictionaries()
        except arrow.ArrowInvalid as error:
            return arrow.concat_tables(_as_text_where_they_differ(parts, str(error)))


def _as_text_where_they_differ(tables: list[Any], said: str) -> list[Any]:
    """Return tables whose columns are text where their kinds cannot be joined."""
    schemas = [table.schema for table in tables]
    names = tables[0].column_names
    differ = {
        name for name in names if len({str(schema.field(name).type) for schema in schemas}) > 1
    }
    if not differ:
        raise DataError(f"tables cannot be joined ({said.splitlines()[0]})")
    made = []
    for table in tables:
        columns = {
            name: table[name].cast(arrow.string()) if name in differ else table[name]
            for name in names
        }
        made.append(arrow.table(columns))
    return made


def plain_name(path: Path) -> str:
    """Return what a file is called without its ending, a folder as it is."""
    if path.is_dir() or _ending(path) not in ENDINGS:
        return path.name
    inner = Path(path.stem) if path.suffix.lower() in PACKED else path
    return inner.stem


def _is_table(path: Path) -> bool:
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


def _with_commas(table: Any) -> bool:
    """Return whether a column of text holds nothing but numbers with a decimal comma."""
    for name in table.column_names:
        column = table[name]
        if arrow.types.is_string(column.type) and column.null_count < len(column):
            known = column.drop_null().slice(0, 1000)
            if compute.all(compute.match_substring_regex(known, COMMA)).as_py():
                return True
    return False
