"""Random access to the rows of big JSON Lines files, through an index that is made once and kept in the cache folder.

The index holds where each row lies and its small columns, so that neither listing the problems nor reading one of them touches
the rest. A gzipped file is unpacked into the cache folder first. An index belongs to one state of a file (path, size, time of
change). Processes that need the same index wait for the one that makes it. Not covered: cleaning the cache folder.
"""

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..rewards.errors import InputError
from .rows import Row, parse_json, read_rows


class Place(NamedTuple):
    """Where one row lies in the unpacked file."""

    offset: int
    length: int
    line: int


class Indexed(NamedTuple):
    """A file that can be read row by row: the unpacked file, its index, and the places by row id."""

    source: Path
    plain: Path
    index_file: Path
    places: Mapping[str, Place]


def small_columns(path: Path, id_column: str, heavy: Collection[str]) -> Iterator[Row]:
    """Yield the rows of `path` without the `heavy` columns, which only the first call ever reads."""
    for row in read_rows(open_indexed(path, id_column, heavy).index_file):
        yield Row(f"{path}, line {row.values['line']}", row.values["row"])


def read_row(path: Path, id_column: str, heavy: Collection[str], row_id: str) -> Row:
    """Return one complete row of `path`. Raises InputError when there is none of that id."""
    found = open_indexed(path, id_column, heavy)
    if row_id not in found.places:
        raise InputError(f"{path}: holds no row with {id_column} {row_id!r}")
    place = found.places[row_id]
    where = f"{path}, line {place.line} ({row_id})"
    try:
        with found.plain.open("rb") as file:
            file.seek(place.offset)
            return Row(where, json.loads(file.read(place.length)))
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: cannot be read again ({error})") from None


def cache_folder() -> Path:
    """Return the folder for indexes and unpacked files: `$UNMASK_CACHE`, by default `~/.cache/unmask/cache`."""
    return Path(os.environ.get("UNMASK_CACHE") or Path.home() / ".cache" / "unmask" / "cache")


def open_indexed(path: Path, id_column: str, heavy: Collection[str]) -> Indexed:
    """Return the index of `path`, making it if need be. Raises InputError for a malformed row, naming file and line."""
    try:
        stem = _stem(path, id_column, heavy)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return _open(path, stem, id_column, tuple(heavy), cache_folder())


def stored_sha256(path: Path) -> str:
    """Return the SHA-256 of the file as stored; computed once per state of the file, because these files are big."""
    kept = cache_folder() / f"{_stem(path)}.sha256"
    with _locked(kept.with_suffix(".lock")):
        if not kept.is_file():
            part = kept.with_suffix(".part")
            with path.open("rb") as file:
                part.write_text(hashlib.file_digest(file, "sha256").hexdigest())
            os.replace(part, kept)
    return kept.read_text()


def _stem(path: Path, *more: object) -> str:
    stat = path.stat()
    state = hashlib.sha256(repr((str(path.resolve()), stat.st_size, stat.st_mtime_ns, *more)).encode()).hexdigest()
    return f"{path.name.partition('.')[0]}-{state[:16]}"


@lru_cache(maxsize=32)
def _open(path: Path, stem: str, id_column: str, heavy: tuple[str, ...], cache: Path) -> Indexed:
    index = cache / f"{stem}.index.jsonl"
    plain = cache / f"{stem}.jsonl" if path.name.endswith(".gz") else path
    with _locked(cache / f"{stem}.lock"):
        if not index.is_file() or not plain.is_file():
            _build(path, plain, index, id_column, heavy)
    entries = [row.values for row in read_rows(index)]
    return Indexed(path, plain, index, {e["id"]: Place(e["offset"], e["length"], e["line"]) for e in entries})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be written ({error.strerror}); set UNMASK_CACHE to another folder") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(path: Path, plain: Path, index: Path, id_column: str, heavy: tuple[str, ...]) -> None:
    if plain != path:
        _unpack(path, plain)
    part = index.with_suffix(".part")
    with plain.open("rb") as file, part.open("w", encoding="utf-8") as out:
        for entry in _entries(file, path, id_column, heavy):
            out.write(json.dumps(entry) + "\n")
    os.replace(part, index)


def _entries(file: IO[bytes], path: Path, id_column: str, heavy: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    offset, seen = 0, set()
    for number, line in enumerate(file, 1):
        if line.strip():
            where = f"{path}, line {number}"
            values = _parse(line, where)
            row_id = values.get(id_column)
            if not isinstance(row_id, str) or not row_id:
                raise InputError(f"{where}: field {id_column!r}: missing or not text")
            if row_id in seen:
                raise InputError(f"{where}: field {id_column!r}: {row_id!r} occurs twice")
            seen.add(row_id)
            small = {name: value for name, value in values.items() if name not in heavy}
            yield {"id": row_id, "offset": offset, "length": len(line), "line": number, "row": small}
        offset += len(line)


def _parse(line: bytes, where: str) -> dict[str, Any]:
    values = parse_json(line, where)
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected an object")
    return values


def _unpack(path: Path, plain: Path) -> None:
    part = plain.with_suffix(".part")
    try:
        with gzip.open(path, "rb") as packed, part.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{path}: truncated or damaged gzip ({error}); fetch the file again") from None
    os.replace(part, plain)
