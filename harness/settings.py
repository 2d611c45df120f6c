"""What makes two runs comparable: their settings side by side, and which of them may differ.

The checkpoint is what one compares, and the seed and the number of samples and problems change the error and not what is
estimated: they may differ, and are shown. Everything else has to be the same or be named.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..rewards.errors import InputError, nearest
from ..rewards.records import Problem
from ..rewards.serde import encode
from .results import TaskResult
from .runs import Run

FREE = ("model", "revision", "fingerprint", "family", "seed", "samples", "limit")
"""Settings that may differ without being named."""


class Difference(NamedTuple):
    """A setting that two runs do not share."""

    key: str
    a: Any
    b: Any

    def __str__(self) -> str:
        return f"{self.key} ({_short(self.a)} and {_short(self.b)})"


def settings(run: Run, result: TaskResult) -> dict[str, Any]:
    """Everything the score of a task depends on, by the name that `--allow-different` knows it under."""
    model = result.model
    config = {key: run.config.get(key) for key in ("limit", "rule")}
    config |= {key: run.config.get(key) or None for key in ("task_options", "verifier_options")}
    verifier = f"{result.verifier.name} {result.verifier.version}"
    return {
        "model": model.id,
        "revision": model.revision,
        "fingerprint": model.fingerprint,
        "family": model.family,
        "dtype": model.dtype,
        **{f"decode.{key}": value for key, value in encode(result.decode).items()},
        "data": result.data_revision,
        "metric": result.metric,
        "verifier": verifier.strip(),
        "seed": result.seed,
        "samples": result.samples,
        **config,
    }


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """The settings that are not the same, in order."""
    return [Difference(key, a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)]


def check_allowed(task: str, found: Sequence[Difference], allowed: Sequence[str], known: Iterable[str]) -> None:
    """Raise InputError for a difference that is not named in `allowed`, or a name that no setting has.

    A name stands for everything below it: "decode" for "decode.threshold".
    """
    known = list(known)
    sections = {key.partition(".")[0] for key in known}
    for name in allowed:
        if name not in sections and name not in known:
            raise InputError(f"--allow-different {name}: no setting has that name{nearest(name, [*known, *sections])}")
    silent = [one for one in found if one.key not in FREE and not any(_covers(name, one.key) for name in allowed)]
    if silent:
        raise InputError(
            f"{task}: the runs differ in {', '.join(map(str, silent))}; "
            f"if that is what you want to compare, add --allow-different {','.join(one.key for one in silent)}"
        )


def _covers(name: str, key: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def problem_digests(run: Run, tasks: Iterable[str]) -> dict[str, dict[str, bytes]]:
    """Task -> problem id -> digest of its prompt and reference, to tell whether two runs asked the same."""
    found: dict[str, dict[str, bytes]] = {task: {} for task in tasks}
    for problem in run.problems():
        if problem.task in found:
            found[problem.task][problem.id] = _digest(problem)
    return found


def _digest(problem: Problem) -> bytes:
    reference = problem.reference
    if isinstance(reference, Mapping):  # where a tests file lies on a machine says nothing of what it holds
        reference = {key: value for key, value in reference.items() if not key.endswith("_file")}
    text = json.dumps([encode(problem.prompt), reference], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
