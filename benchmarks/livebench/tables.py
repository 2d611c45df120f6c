"""Tables in the five formats of LiveBench's tablereformat: JSON, JSON Lines, HTML, CSV and TSV; also Markdown.

A table is a list of rows, a row a mapping from column to cell; a cell is a number, text, or None for what pandas would read as
missing. Upstream reads with pandas; here values are read one by one, so that a column's other values do not change a cell.
Not covered: merged cells, multi-level headers, dates (they stay text).
"""

import csv
import html.parser
import io
import json
import math
from typing import Any

Cell = float | str | None
Table = list[dict[str, Cell]]

_MISSING = {"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a", "-nan"}


class TableError(ValueError):
    """The text is no table of that format."""


def read_table(kind: str, text: str) -> Table:
    """Return the table in `text`. Raises TableError."""
    readers = {"json": _json, "jsonl": _jsonl, "html": _html, "csv": _csv, "tsv": _tsv, "markdown": _markdown}
    if kind not in readers:
        raise TableError(f"no table format is called {kind!r}")
    try:
        table = readers[kind](text)
    except (ValueError, RecursionError, csv.Error) as error:
        raise TableError(str(error)) from None
    if not table:
        raise TableError("no rows")
    return [{column: value for column, value in row.items() if column != "index"} for row in table]


def same_table(left: Table, right: Table) -> bool:
    """Tell whether two tables have the same columns (in any order) and equal cells row by row."""
    if len(left) != len(right):
        return False
    return all(
        one.keys() == other.keys() and all(_same(one[c], other[c]) for c in one) for one, other in zip(left, right, strict=True)
    )


def _same(left: Cell, right: Cell) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return left == right or abs(left - right) < 1e-6
    return left == right


def _cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        number = float(value)
        return None if math.isnan(number) else number
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if text.lower() in _MISSING:
        return None
    return _number(text)


def _number(text: str) -> Cell:
    if "_" in text:  # float() reads 1_000, no table does
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _row(values: Any) -> dict[str, Cell]:
    if not isinstance(values, dict):
        raise TableError("a row is no object")
    return {str(column).strip(): _cell(value) for column, value in values.items()}


def _json(text: str) -> Table:
    """Read a list of rows, or rows (or pandas' "table" data) keyed by their index; one object per line is taken too."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        return _jsonl(text)
    if isinstance(data, dict) and isinstance(data.get("data"), list):
        data = data["data"]
    if isinstance(data, dict):
        data = list(data.values())
    if not isinstance(data, list):
        raise TableError("neither a list of rows nor an object of rows")
    return [_row(values) for values in data]


def _jsonl(text: str) -> Table:
    return [_row(json.loads(line)) for line in text.splitlines() if line.strip()]


def _csv(text: str) -> Table:
    return _separated(text, ",")


def _tsv(text: str) -> Table:
    return _separated(text, "\t")


def _separated(text: str, separator: str) -> Table:
    rows = [row for row in csv.reader(io.StringIO(text.strip("\n")), delimiter=separator) if row]
    return _with_header(rows)


def _markdown(text: str) -> Table:
    lines = [line.strip().strip("|").split("|") for line in text.strip().splitlines() if "|" in line]
    return _with_header([line for line in lines if not all(set(cell.strip()) <= set(":-") and cell.strip() for cell in line)])


def _html(text: str) -> Table:
    reader = _Rows()
    reader.feed(text)
    if not reader.rows:
        raise TableError("no table rows")
    return _with_header(reader.rows)


def _with_header(rows: list[list[str]]) -> Table:
    if not rows:
        raise TableError("no header")
    header = [name.strip() for name in rows[0]]
    skip = 1 if header and not header[0] else 0  # an unnamed first column is the index
    if any(len(row) > len(header) for row in rows):
        raise TableError("a row has more cells than the header")
    padded = ([*row, *[""] * (len(header) - len(row))] for row in rows[1:])
    return [{name: _cell(value) for name, value in list(zip(header, row, strict=True))[skip:]} for row in padded]


class _Rows(html.parser.HTMLParser):
    """Collects the cells of every table row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            if not self.rows:
                self.rows.append([])
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data
