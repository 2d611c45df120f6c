"""Other shapes of a trajectory dataset, each a selection from the samples of one problem at a time.

The column names are those of TRL's dataset types (prompt-completion, preference, unpaired preference, stepwise supervision) and
of TraceRL's training file. Nothing is tokenised: what is cut, is cut by recorded lengths and character spans.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import pyarrow as pa

from ...rewards.errors import InputError, nearest
from .schema import FOR_VERL, SAMPLES, TURNS
from .write import groups

Row: TypeAlias = dict[str, Any]
Build: TypeAlias = Callable[[list[Row], int], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class View:
    """A shape: its columns, and how the rows of one problem become rows of it (`best`: how many at most, where that applies)."""

    description: str
    schema: pa.Schema
    build: Build


def apply(name: str, rows: Iterable[Row], best: int) -> Iterator[Row]:
    """Yield the rows of the view called `name`. Raises InputError for an unknown name, or if nothing is left."""
    view, found = find(name), False
    for group in groups(rows):
        for row in view.build(group, best):
            found = True
            yield row
    if not found:
        raise InputError(f"--view {name}: no sample qualifies ({view.description}); see the statuses in results.json")


def find(name: str) -> View:
    """The view called `name`. Raises InputError naming the nearest."""
    if name not in VIEWS:
        raise InputError(f"--view {name}: not one of {', '.join(VIEWS)}{nearest(name, VIEWS)}")
    return VIEWS[name]


def _all(group: list[Row], best: int) -> Iterator[Row]:
    return iter(group)


def _ranked(group: list[Row]) -> list[Row]:
    """The judged samples, best first; of equal ones the shorter first, then the earlier."""
    judged = [row for row in group if row["reward"] is not None and row["finish"] != "error"]
    return sorted(judged, key=lambda row: (-row["reward"], row["length"], row["sample"]))


def _best(group: list[Row], best: int) -> list[Row]:
    return [row for row in _ranked(group) if row["reward"] > 0][:best]


def _sft(group: list[Row], best: int) -> Iterator[Row]:
    return iter(_best(group, best))


def _preference(group: list[Row], best: int) -> Iterator[Row]:
    ranked = _ranked(group)
    for chosen, rejected in zip(ranked[:best], reversed(ranked), strict=False):
        if chosen["reward"] > rejected["reward"]:
            yield {
                **{name: chosen[name] for name in ("problem_id", "prompt")},
                "chosen": chosen["completion"],
                "rejected": rejected["completion"],
                "chosen_reward": chosen["reward"],
                "rejected_reward": rejected["reward"],
            }


def _kto(group: list[Row], best: int) -> Iterator[Row]:
    return (row | {"label": row["status"] == "correct"} for row in _ranked(group))


def _steps(group: list[Row], best: int) -> Iterator[Row]:
    for row in _ranked(group):
        if spans := row["step_rewards"]:
            spans = sorted(spans, key=lambda span: span["start"])
            text, ends = row["completion"][0]["content"], [span["end"] for span in spans]
            starts = [0, *ends[:-1]]
            yield {
                "problem_id": row["problem_id"],
                "prompt": "\n\n".join(turn["content"] for turn in row["prompt"]),
                "completions": [text[start:end] for start, end in zip(starts, ends, strict=True)],
                "labels": [span["value"] > 0 for span in spans],
                "values": [span["value"] for span in spans],
            }


def _trace(group: list[Row], best: int) -> Iterator[Row]:
    for row in _best(group, best):
        length = row["length"]
        if row["step_map"]:
            yield {
                **{name: row[name] for name in ("problem_id", "prompt", "prompt_ids", "reward", "block_size", "block_offset")},
                "response": row["completion"][0]["content"],
                "response_ids": row["completion_ids"][:length],
                "step_map": row["step_map"][:length],
                "token_rewards": None if row["token_rewards"] is None else row["token_rewards"][:length],
            }


def _rl(group: list[Row], best: int) -> Iterator[Row]:
    passed = [row["status"] == "correct" for row in group if row["reward"] is not None]
    yield group[0] | {"pass_rate": sum(passed) / len(passed) if passed else None}


_ID, _REWARD = ("problem_id", pa.string()), ("reward", pa.float32())
_INTS = pa.list_(pa.int32())

VIEWS: Mapping[str, View] = MappingProxyType(
    {
        "rollouts": View("every sample with everything recorded", SAMPLES, _all),
        "sft": View(
            "the best samples of each problem, of those with a reward above 0",
            pa.schema([_ID, ("prompt", TURNS), ("completion", TURNS), _REWARD]),
            _sft,
        ),
        "preference": View(
            "best against worst sample of each problem, where their rewards differ",
            pa.schema(
                [
                    *(_ID, ("prompt", TURNS), ("chosen", TURNS), ("rejected", TURNS)),
                    *(("chosen_reward", pa.float32()), ("rejected_reward", pa.float32())),
                ]
            ),
            _preference,
        ),
        "kto": View(
            "every judged sample with a label, whether it is correct",
            pa.schema([_ID, ("prompt", TURNS), ("completion", TURNS), ("label", pa.bool_()), _REWARD]),
            _kto,
        ),
        "steps": View(
            "samples with process rewards, cut into steps, a label for each",
            pa.schema(
                [
                    *(_ID, ("prompt", pa.string()), ("completions", pa.list_(pa.string()))),
                    *(("labels", pa.list_(pa.bool_())), ("values", pa.list_(pa.float32()))),
                ]
            ),
            _steps,
        ),
        "trace": View(
            "the best samples of each problem as token ids with the step at which each was fixed",
            pa.schema(
                [
                    *(_ID, ("prompt", TURNS), ("response", pa.string()), ("prompt_ids", _INTS), ("response_ids", _INTS)),
                    *(("step_map", _INTS), _REWARD, ("token_rewards", pa.list_(pa.float32()))),
                    *(("block_size", pa.int32()), ("block_offset", pa.int32())),
                ]
            ),
            _trace,
        ),
        "rl": View(
            "each problem once, with its reference and pass rate, for trainers that generate themselves",
            pa.schema([_ID, ("prompt", TURNS), ("solution", pa.string()), ("pass_rate", pa.float32()), *FOR_VERL]),
            _rl,
        ),
    }
)
"""By the name given to `--view`."""
