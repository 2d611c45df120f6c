"""Rows of a data file, each knowing its place in it, so that a complaint names file, line and field.

Read: JSON Lines, JSON (one list of objects), both also gzipped, and parquet. Not read: CSV, directories, anything that would
have to be executed. JSON Lines are streamed; JSON and parquet are read whole.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from ..rewards.errors import InputError

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a data file; `where` names the file and the line (or the item, or the row)."""

    where: str
    values: Mapping[str, Any]

    def first(self, *names: str) -> Any:
        """Return the first of `names` that is present and not None, or None."""
        return next((self.values[name] for name in names if self.values.get(name) is not None), None)

    def text(self, *names: str) -> str:
        """Return a non-empty text under one of `names`. Numbers become text, as some hub copies store answers as integers."""
        value = self.first(*names)
        if value is None:
            raise InputError(f"{self.where}: field {' or '.join(map(repr, names))}: missing (found {_keys(self.values)})")
        found = next(name for name in names if self.values.get(name) is not None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise InputError(f"{self.where}: field {found!r}: expected text, found {_short(value)}")
        if not value.strip():
            raise InputError(f"{self.where}: field {found!r}: is empty")
        return value


def is_data_file(name: str) -> bool:
    """Tell whether `name` ends like a file that `read_rows` can read."""
    return name.lower().endswith(SUFFIXES)


def stem(path: Path) -> str:
    """Return the name of a data file without its suffix."""
    suffix = next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of `path`. Raises InputError naming file and line for anything that is not a row."""
    if not is_data_file(path.name):
        raise InputError(f"{path}: cannot tell the format; the name should end in {', '.join(SUFFIXES)}")
    try:
        if path.name.lower().endswith(".parquet"):
            yield from _parquet(path)
        elif path.name.lower().endswith((".json", ".json.gz")):
            yield from _json_list(path)
        else:
            yield from _json_lines(path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: truncated or damaged gzip ({error}); fetch the file again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of what the file holds: of the unpacked bytes for .gz, so that packing changes no revision."""
    digest = hashlib.sha256()
    try:
        with _open(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: truncated or damaged gzip ({error}); fetch the file again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    return digest.hexdigest()


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.name.lower().endswith(".gz") else path.open("rb")


def _json_lines(path: Path) -> Iterator[Row]:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                where = f"{path}, line {number}"
                yield _row(where, parse_json(line, where))


def _json_list(path: Path) -> Iterator[Row]:
    with _open(path) as file:
        data = parse_json(file.read(), str(path))
    if not isinstance(data, list):
        raise InputError(f"{path}: expected a JSON list of objects, found {_short(data)}; one object per line is .jsonl")
    for number, item in enumerate(data, 1):
        yield _row(f"{path}, item {number}", item)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        number = 0
        for batch in file.iter_batches(batch_size=256):
            for item in batch.to_pylist():
                number += 1
                yield _row(f"{path}, row {number}", item)
    except pa.ArrowException as error:
        raise InputError(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from None


def parse_json(text: bytes | str, where: str) -> Any:
    """Return the JSON data in `text`. Raises InputError starting with `where`."""
    try:
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not valid JSON ({error.msg} at character {error.pos + 1})") from None
    except RecursionError:
        raise InputError(f"{where}: nested too deeply to be read") from None


def _row(where: str, item: Any) -> Row:
    if not isinstance(item, dict):
        raise InputError(f"{where}: expected an object, found {_short(item)}")
    return Row(where, item)


def _keys(values: Mapping[str, Any]) -> str:
    return ", ".join(map(str, values)) or "no fields"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
