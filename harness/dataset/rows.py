"""One judged rollout as one row of the table, and back. Pure functions; files are read and written elsewhere.

What comes back is exact but for float32: rewards, log-probabilities, confidences and seconds. A reference longer than
`INLINE` characters (the tests of a program) is not repeated in every row; it stands in the run's table of problems.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...rewards.errors import InputError
from ...rewards.records import Problem, Verdict
from ...rewards.serde import decode, encode
from ..records import Rollout, Sample
from .schema import RENAMED, cells, uncells

INLINE = 10_000
"""Characters up to which a reference is written into every row."""


class Entry(NamedTuple):
    """One completion of a run: its identity, what was asked, what came of it, and the process reward of each token."""

    key: str
    problem: Problem
    sample: Sample
    token_rewards: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """What the rows of one task have in common. `verifier` with its options is what `load_verifier` takes, or empty where the
    task's verifier has no name; `places` tells where in the task a problem stands.
    """

    task: str
    split: str
    data_revision: str
    ability: str
    verifier: str
    verifier_options: Mapping[str, Any]
    verifier_version: str
    places: Mapping[str, int] = field(default_factory=dict)


def problem_row(problem: Problem, origin: Origin) -> dict[str, Any]:
    """A row of the table of problems."""
    row = encode(problem)
    return {
        **row,
        "task": origin.task,
        "split": origin.split,
        "reference": json.dumps(row["reference"], ensure_ascii=False),
        "metadata": json.dumps(row["metadata"], ensure_ascii=False),
        "verifier": origin.verifier,
        "verifier_options": json.dumps(dict(origin.verifier_options)),
    }


def reference_text(reference: Any) -> str:
    """A reference as text: itself, or JSON where it is no text."""
    return reference if isinstance(reference, str) else json.dumps(reference, ensure_ascii=False)


def verl_columns(problem: Problem, origin: Origin, truth: str | None) -> dict[str, Any]:
    """The columns that verl reads."""
    return {
        "data_source": origin.task,
        "ability": origin.ability,
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {
            "index": origin.places.get(problem.id),
            "split": origin.split,
            "problem_id": problem.id,
            "question": next((turn.content for turn in reversed(problem.prompt) if turn.role == "user"), None),
            "data_revision": origin.data_revision,
            "verifier": origin.verifier,
            "verifier_options": json.dumps(dict(origin.verifier_options)),
            "verifier_version": origin.verifier_version,
            "reference_is_json": not isinstance(problem.reference, str),
        },
    }


def sample_row(entry: Entry, origin: Origin) -> dict[str, Any]:
    """A row of the table of samples."""
    rollout, verdict = entry.sample.rollout, entry.sample.verdict
    truth = reference_text(entry.problem.reference)
    inlined = truth if len(truth) <= INLINE else None
    return {
        **cells(rollout),
        **{name: getattr(verdict, name) for name in _FROM_VERDICT},
        **verl_columns(entry.problem, origin, inlined),
        "id": entry.key,
        "task": entry.sample.task,
        "split": origin.split,
        "problem_id": entry.sample.problem_id,
        "cluster": entry.sample.cluster,
        "prompt": encode(entry.problem.prompt),
        "completion": [{"role": "assistant", "content": rollout.text}],
        "solution": inlined,
        "parts": [{"name": name, "value": value} for name, value in verdict.parts.items()],
        "step_rewards": encode(verdict.step_rewards),
        "token_rewards": entry.token_rewards,
        "error": rollout.detail,
        "completion_ids": rollout.token_ids,
        "nfe": rollout.forward_passes.total,
        "verify_seconds": verdict.seconds,
    }


_FROM_VERDICT = ("reward", "status", "extracted", "expected", "detail")


def sample_of(row: Mapping[str, Any], where: str) -> Sample:
    """The record that a row was made from. Raises InputError naming `where` and the column."""
    try:
        rollout, verdict = _rollout(row, where), _verdict(row)
        return Sample(row["task"], row["problem_id"], row["cluster"], rollout, decode(Verdict, verdict, where))
    except KeyError as error:
        raise InputError(f"{where}: column {error} is missing; this is no table of rollouts written by unmask") from None


def _rollout(row: Mapping[str, Any], where: str) -> Rollout:
    renamed = {field: row[column] for field, column in RENAMED.items()} | {"text": row["completion"][0]["content"]}
    return decode(Rollout, uncells(Rollout, {**row, **renamed}), where)


def _verdict(row: Mapping[str, Any]) -> dict[str, Any]:
    data = {name: row[name] for name in _FROM_VERDICT} | {"step_rewards": row["step_rewards"], "seconds": row["verify_seconds"]}
    return data | {"parts": {part["name"]: part["value"] for part in row["parts"]}}
