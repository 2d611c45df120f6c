"""The commands `score` and `validate`: settings in, tables out."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..benchmarks.registry import load_benchmark
from ..rewards.errors import InputError
from ..rewards.plugins import load_verifier
from .config import parse_value
from .executor import Executor
from .judge import Judge, ScoreResult
from .plan import load_task
from .tables import print_rows

SHOWN = 20
"""Findings of a validation that are printed; the rest is counted."""


def score(
    source: Path,
    out: Path,
    task: str | None,
    verifier: str | None,
    rule: str | None = None,
    data: str | None = None,
    sets: Sequence[str] = (),
    workers: int | None = None,
    executor: Executor | None = None,
) -> ScoreResult:
    """Judge the completions of a file or run directory. Raises InputError for what is wrong with them or the settings."""
    if not source.exists():
        raise InputError(f"{source}: no such file or directory")
    task_options, verifier_options = options_of(sets)
    if task is not None:
        benchmark, judge = load_task(task, data, task_options, rule, verifier, verifier_options)
        problems = {problem.id: problem for problem in benchmark.load()}
        facts = {"task": benchmark.name, "data_revision": getattr(benchmark, "revision", "")}
        notes = tuple(getattr(benchmark, "notes", ()))
        return Judge(source, out, judge, problems, workers, benchmark, executor).run(**facts, notes=notes)
    if verifier is None:
        raise InputError("--task or --verifier missing: one of them has to say how completions are judged")
    if data is not None or task_options:
        raise InputError("--data and --set task.KEY belong to a task; give --task")
    extra = verifier_options | ({} if rule is None else {"rule": rule})
    return Judge(source, out, load_verifier(verifier, **extra), None, workers, None, executor).run(task=None)


def options_of(sets: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split `task.KEY=VALUE` and `verifier.KEY=VALUE` assignments into two dicts."""
    found: dict[str, dict[str, Any]] = {"task": {}, "verifier": {}}
    for assignment in sets:
        path, equals, text = assignment.partition("=")
        section, dot, key = path.strip().partition(".")
        if not (equals and dot and key and section in found):
            raise InputError(f"--set {assignment}: expected task.KEY=VALUE or verifier.KEY=VALUE")
        found[section][key] = parse_value(text)
    return found["task"], found["verifier"]


def print_validation(
    tasks: Sequence[str], limit: int | None, rule: str | None, data: str | None, sets: Sequence[str], workers: int | None
) -> int:
    """Check each task against itself and print what was found; returns 0 if all is as it should be, else 1."""
    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}; it must be at least 1")
    rows, failures = [], []
    for task in (task.strip() for task in tasks):
        row, failed = _validate(task, limit, rule, data, sets, workers)
        rows.append(row)
        failures += failed
    print_rows(("task", "problems", "gold pass", "empty fail", "wrong fail", "notes", "result"), rows)
    for failure in failures[:SHOWN]:
        print(failure)
    if len(failures) > SHOWN:
        print(f"and {len(failures) - SHOWN} more")
    return 1 if failures else 0


def _validate(
    task: str, limit: int | None, rule: str | None, data: str | None, sets: Sequence[str], workers: int | None
) -> tuple[tuple[str, ...], list[str]]:
    from ..benchmarks.validation import validate

    task_options, verifier_options = options_of(sets)
    benchmark, verifier = load_task(task, data, task_options, rule, None, verifier_options)
    problems = benchmark.load()[:limit]
    asked, passed = Counter[str](), Counter[str]()
    failures = []
    for check in validate(benchmark, problems, workers, verifier):
        asked[check.kind] += 1
        passed[check.kind] += check.passed
        if not check.passed:
            verdict = check.verdict
            failures.append(f"{check.problem.id}: {check.kind} answer is {verdict.status} ({verdict.detail})")
    notes = sum(bool(problem.metadata.get("note")) for problem in problems)
    cells = [f"{passed[kind]:,}/{asked[kind]:,}" if asked[kind] else "-" for kind in ("gold", "empty", "perturbed")]
    row = (benchmark.name, f"{len(problems):,}", *cells, str(notes), "failed" if failures else "ok")
    return row, failures


def print_overlap(train: str, test: str) -> int:
    """Print which problems of the test set are in the training set; returns 1 if there are any."""
    from ..benchmarks.overlap import find_overlap

    found = find_overlap(load_benchmark(train), load_benchmark(test))
    if found:
        rows = [(overlap.test, overlap.train, overlap.kind, f"{overlap.share:.0%}") for overlap in found]
        print_rows(("test problem", "training problem", "kind", "share"), rows)
    exact = sum(overlap.kind == "exact" for overlap in found)
    problems = len({overlap.test for overlap in found})
    print(f"{problems} problems of {test} are in {train}: {exact} exact pairs, {len(found) - exact} near")
    return 1 if found else 0
