"""`unmask rollout`: an evaluation whose product is a dataset of judged trajectories.

Generating, judging, resuming and the table of all samples are `evaluate`'s own; the dataset comes on top.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from .config import RunConfig
from .dataset.build import Selection, build
from .dataset.read import read_rows
from .dataset.rows import Entry, Origin
from .evaluate import RunResult, run, write_table
from .executor import Executor
from .sharding import Shard


def rollout(
    config: RunConfig, out: Path | str, keep: str | None = None, shard: Shard | None = None, executor: Executor | None = None
) -> RunResult:
    """Generate and judge samples into the run directory `out` and make it a dataset that `datasets.load_dataset` takes.

    `keep` ("LOW:HIGH") leaves problems out of the dataset whose pass rate lies outside; their records stay, so that the same
    command with another `keep` generates nothing anew. `shard`, `executor` and what is raised are those of `evaluate`.
    """
    return run(config, Path(out), partial(_write_dataset, Selection(keep=keep)), shard, executor)


def _write_dataset(selection: Selection, out: Path, entries: Iterator[Entry], origins: Mapping[str, Origin]) -> None:
    write_table(out, entries, origins)
    build(read_rows(out / "samples.parquet"), out, selection)
