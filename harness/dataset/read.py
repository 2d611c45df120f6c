"""Reads judged rollouts back from parquet, a few at a time: a file, a dataset folder, a run directory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...rewards.errors import InputError
from ..records import Sample
from .rows import sample_of

ROWS_AT_ONCE = 200


def load_rollouts(path: Path | str) -> Iterator[Sample]:
    """Yield the samples (rollout and verdict) of a parquet file, of a folder that `unmask rollout` wrote, or of a run directory.

    They come in the order of the file, the samples of a problem together. Floats were kept as float32, all else is exact.
    Raises InputError naming the file and the row, before the first sample where the path holds no such table.
    """
    files = parquet_files(Path(path))
    return (sample_of(row, where) for file in files for where, row in _placed_rows(file))


def read_rows(path: Path | str) -> Iterator[dict[str, Any]]:
    """Yield the rows of such a table as plain data."""
    files = parquet_files(Path(path))
    return (row for file in files for _, row in _placed_rows(file))


def parquet_files(path: Path) -> list[Path]:
    """The files that make up a dataset. Raises InputError when there are none."""
    if path.is_file():
        return [path]
    shards = sorted((path / "data").glob("*.parquet")) or sorted(path.glob("train-*.parquet"))
    if not shards and (path / "samples.parquet").is_file():
        shards = [path / "samples.parquet"]
    if not shards:
        raise InputError(f"{path}: no parquet file of rollouts, neither data/*.parquet nor samples.parquet")
    return shards


def _placed_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file}: not a readable parquet file ({error})") from None
    number = 0
    with table:
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield f"{file}, row {number}", row
