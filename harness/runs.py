"""Reads what a run left behind: its settings, results, problems and samples, in bounded memory.

A finished run is read from its tables, one that is still going on (or was stopped) from its logs. Nothing is written, so that a
run may be looked at while another process works on it. Not covered: the folders that `unmask score` writes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..rewards.errors import InputError
from ..rewards.records import Message, Problem, Verdict
from ..rewards.serde import decode, read_jsonl
from .dataset.rows import sample_of
from .records import Sample
from .results import TaskResult
from .store import Generated, Judged

BATCH = 256
"""Rows that are read at a time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One sample of a run, with the key of its completion."""

    key: str
    sample: Sample


@dataclass(frozen=True)
class Run:
    """A run directory. `finished` says that it has its tables and results."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def finished(self) -> bool:
        return all((self.path / name).exists() for name in ("results.json", "samples.parquet"))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings as they were written."""
        import yaml

        path = self.path / "config.yaml"
        try:
            data = yaml.safe_load(path.read_text("utf-8"))
        except yaml.YAMLError as error:
            raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())[:120]})") from None
        if not isinstance(data, dict):
            raise InputError(f"{path}: expected an object, found {type(data).__name__}")
        return data

    @cached_property
    def results(self) -> tuple[TaskResult, ...]:
        """The results of its tasks; none before it is finished."""
        path = self.path / "results.json"
        if not path.exists():
            return ()
        data = read_json(path)
        if not isinstance(data.get("tasks"), list):
            raise InputError(f"{path}: field 'tasks': missing; this is no result of a run")
        return tuple(decode(TaskResult, task, str(path)) for task in data["tasks"])

    def problems(self) -> Iterator[Problem]:
        """Its problems with everything they hold. References may be large: don't collect them."""
        for row in self._table("problems.parquet"):
            prompt = tuple(Message(**turn) for turn in row["prompt"])
            reference, metadata = json.loads(row["reference"]), json.loads(row["metadata"])
            yield Problem(row["id"], row["task"], prompt, reference, metadata, row["cluster"])

    def outlines(self) -> list[Problem]:
        """Its problems without their references."""
        return [
            Problem(row["id"], row["task"], tuple(Message(**turn) for turn in row["prompt"]), None, metadata, row["cluster"])
            for row in self._table("problems.parquet", ["id", "task", "prompt", "metadata", "cluster"])
            for metadata in [json.loads(row["metadata"])]
        ]

    def rewards(self) -> Iterator[dict[str, Any]]:
        """Task, problem, cluster, reward and status of every sample: the columns that scores are made of."""
        return self._table("samples.parquet", ["task", "problem_id", "cluster", "sample", "reward", "status"])

    def details(self) -> Iterator[tuple[str, str, str]]:
        """Task, problem and the verdict's line of every sample."""
        if not self.finished:
            return ((row.sample.task, row.sample.problem_id, row.sample.verdict.detail) for row in self._logged())
        rows = self._table("samples.parquet", ["task", "problem_id", "detail"])
        return ((row["task"], row["problem_id"], row["detail"]) for row in rows)

    def samples(self) -> Iterator[Row]:
        """Its samples: all of a finished run, in the order of its table; else those that are judged, in the order they came."""
        if self.finished:
            return (Row(row["id"], sample_of(row, f"sample {row['id']}")) for row in self._table("samples.parquet"))
        return self._logged()

    def _table(self, name: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path / name
        if not path.exists():
            raise InputError(f"{path}: missing; the run is not finished, and the same `unmask eval` command finishes it")
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(BATCH, columns=columns):
                    yield from batch.to_pylist()
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            raise InputError(f"{path}: cannot be read as this table ({' '.join(str(error).split())[:160]})") from None

    def _logged(self) -> Iterator[Row]:
        verdicts: dict[str, Verdict] = {}
        for part in sorted(self.path.glob("verdicts/*/part-*.jsonl")):
            verdicts |= {line.key: line.verdict for line in read_jsonl(part, Judged, torn_tail=True)}
        for part in sorted(self.path.glob("records/part-*.jsonl")):
            for line in read_jsonl(part, Generated, torn_tail=True):
                if line.key in verdicts:
                    sample = Sample(line.task, line.rollout.problem_id, line.cluster, line.rollout, verdicts[line.key])
                    yield Row(line.key, sample)


def open_run(path: Path) -> Run:
    """Find a run directory. Raises InputError when `path` is none."""
    if not path.is_dir():
        raise InputError(f"{path}: no such directory; give the folder that `unmask eval --out` wrote")
    if (path / "scoring.json").exists():
        raise InputError(f"{path}: holds verdicts of `unmask score`, not a run; give the folder that `unmask eval --out` wrote")
    if not (path / "config.yaml").exists():
        raise InputError(f"{path}: no run directory (it has no config.yaml); give the folder that `unmask eval --out` wrote")
    return Run(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises InputError when the file holds something else."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected an object, found {type(data).__name__}")
    return data
