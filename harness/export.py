"""A run's tables: problems and samples as parquet, with a schema that is the same for every run.

An explicit schema keeps types stable (an all-empty column stays typed) and files loadable with
`datasets.load_dataset("parquet", ...)`. `prompt`, `completion`, `reward` and `solution` are the columns that TRL reads.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..rewards.records import Problem
from ..rewards.serde import encode
from .records import Sample

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_PASSES = pa.struct([("prefill", pa.int32()), ("denoise", pa.int32()), ("cache", pa.int32())])

PROBLEMS = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("prompt", _TURNS),
        ("reference", pa.string()),
        ("metadata", pa.string()),
        ("cluster", pa.string()),
    ]
)
"""`reference` and `metadata` hold JSON: their shape differs between tasks."""

SAMPLES = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("problem_id", pa.string()),
        ("cluster", pa.string()),
        ("sample", pa.int32()),
        ("seed", pa.int64()),
        ("prompt", _TURNS),
        ("completion", _TURNS),
        ("reward", pa.float32()),
        ("solution", pa.string()),
        ("status", pa.string()),
        ("extracted", pa.string()),
        ("expected", pa.string()),
        ("detail", pa.string()),
        ("step_rewards", pa.string()),
        ("parts", pa.string()),
        ("finish", pa.string()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("completion_ids", pa.list_(pa.int32())),
        ("length", pa.int32()),
        ("step_map", pa.list_(pa.int32())),
        ("logprobs", pa.list_(pa.float32())),
        ("confidences", pa.list_(pa.float32())),
        ("block_size", pa.int32()),
        ("block_offset", pa.int32()),
        ("forward_passes", _PASSES),
        ("events", pa.string()),
        ("cache", pa.string()),
        ("decode", pa.string()),
        ("model", pa.string()),
        ("seconds", pa.float32()),
        ("verify_seconds", pa.float32()),
    ]
)
"""`completion_ids` and the lists beside it run to the end of the last block; the response is their first `length` entries."""


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write the problems of a run, references included."""
    _write(path, PROBLEMS, (_problem_row(problem) for problem in problems))


def write_samples(path: Path, samples: Iterable[tuple[str, Problem, Sample]]) -> None:
    """Write (key, problem, sample) rows in the order given."""
    _write(path, SAMPLES, (_sample_row(key, problem, sample) for key, problem, sample in samples))


def _write(path: Path, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while chunk := list(islice(rows, 1000)):
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
    temporary.replace(path)


def _problem_row(problem: Problem) -> dict[str, Any]:
    row: dict[str, Any] = encode(problem)
    return row | {"reference": json.dumps(row["reference"]), "metadata": json.dumps(row["metadata"])}


def _sample_row(key: str, problem: Problem, sample: Sample) -> dict[str, Any]:
    rollout, verdict = encode(sample.rollout), encode(sample.verdict)
    reference = problem.reference
    return {
        **{name: rollout[name] for name in _FROM_ROLLOUT},
        **{name: verdict[name] for name in ("reward", "status", "extracted", "expected", "detail")},
        "id": key,
        "task": sample.task,
        "cluster": sample.cluster,
        "prompt": encode(problem.prompt),
        "completion": [{"role": "assistant", "content": sample.rollout.text}],
        "solution": reference if isinstance(reference, str) else json.dumps(reference),
        "completion_ids": rollout["token_ids"],
        "decode": json.dumps(rollout["decode"]),
        "model": json.dumps(rollout["model"]),
        "parts": json.dumps(verdict["parts"]),
        "step_rewards": json.dumps(verdict["step_rewards"]),
        "events": json.dumps(rollout["events"]),
        "verify_seconds": verdict["seconds"],
    }


_FROM_ROLLOUT = (
    "problem_id",
    "sample",
    "seed",
    "finish",
    "prompt_ids",
    "length",
    "step_map",
    "logprobs",
    "confidences",
    "block_size",
    "block_offset",
    "cache",
    "forward_passes",
    "seconds",
)
