"""Writes judged rollouts as parquet: a single file, or a folder of files of bounded size with a table of problems.

Rows stream through: memory holds one row group and, where groups are chosen by difficulty, the samples of one problem. Files
appear under their names only when all of them are complete.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...rewards.errors import InputError
from ...rewards.records import Problem
from .rows import Entry, Origin, problem_row, sample_row
from .schema import PROBLEMS, SAMPLES

ROWS_PER_GROUP = 500
BYTES_PER_FILE = 256 * 1024 * 1024
"""Where the next file begins. A row group may exceed it."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Which groups (all samples of a problem) go into a dataset: those whose pass rate lies within [low, high].

    The pass rate is the share of a group's judged samples that are `correct`; a group without a judged sample is left out.
    """

    low: float = 0.0
    high: float = 1.0

    def holds(self, group: Iterable[Mapping[str, Any]]) -> bool:
        """Decide on the rows of one problem."""
        passed = [row["status"] == "correct" for row in group if row["reward"] is not None]
        return bool(passed) and self.low <= sum(passed) / len(passed) <= self.high


def parse_keep(text: str) -> Keep:
    """Read "LOW:HIGH", each side optional. Raises InputError."""
    low, colon, high = text.partition(":")
    try:
        keep = Keep(float(low or 0), float(high or 1))
    except ValueError:
        keep = Keep(1, 0)
    if not colon or not 0 <= keep.low <= keep.high <= 1:
        raise InputError(f"--keep {text}: expected LOW:HIGH, pass rates between 0 and 1, for example --keep 0.2:0.8")
    return keep


def groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The rows of one problem after another; rows of a problem stand together in every file we write."""
    for _, group in groupby(rows, key=lambda row: (row["task"], row["problem_id"])):
        yield list(group)


def write_problems(path: Path, problems: Iterable[tuple[Problem, Origin]]) -> None:
    """Write the problems of a run, references included."""
    write_file(path, PROBLEMS, (problem_row(problem, origin) for problem, origin in problems))


def write_samples(path: Path, entries: Iterable[Entry], origins: Mapping[str, Origin]) -> None:
    """Write all completions into one file, in the order given; `origins` by task."""
    write_file(path, SAMPLES, (sample_row(entry, origins[entry.sample.task]) for entry in entries))


def write_file(path: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> int:
    """Write one parquet file, replacing it as a whole; returns the number of rows."""
    count, left = 0, iter(rows)
    with replacing(path) as fresh, pq.ParquetWriter(fresh, schema, compression="zstd") as writer:
        while chunk := list(islice(left, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
            count += len(chunk)
    return count


def write_shards(folder: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]], limit: int = BYTES_PER_FILE) -> int:
    """Replace `folder` by one with files `train-00000.parquet`, ... of about `limit` bytes; returns the number of rows."""
    count, number, left = 0, 0, iter(rows)
    chunk = list(islice(left, ROWS_PER_GROUP))
    with replacing(folder) as fresh:
        fresh.mkdir()
        while chunk or number == 0:
            with pq.ParquetWriter(fresh / f"train-{number:05}.parquet", schema, compression="zstd") as writer:
                while chunk and writer.file_handle.tell() < limit:
                    writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
                    count += len(chunk)
                    chunk = list(islice(left, ROWS_PER_GROUP))
            number += 1
    return count


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write a file or folder to that takes the place of `path` when the block ends well, and goes when not."""
    fresh = path.with_name(f".{path.name}.new")
    _remove(fresh)
    try:
        yield fresh
    except BaseException:
        _remove(fresh)
        raise
    if fresh.is_dir():
        _remove(path)
    fresh.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
