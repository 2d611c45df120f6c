"""Compares two runs problem by problem: paired difference with its clustered error, sign test, groups, problems that flipped.

Only problems that both runs judged count; how many others there are is stated. A problem's score is the mean over its own
samples, so the runs may have different numbers of them. Intervals of groups are not corrected for there being many.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..benchmarks.lm_eval_tasks import PREFIX as LM_EVAL
from ..rewards.errors import InputError, nearest
from ..rewards.records import Problem
from .grouping import group_problems, in_order
from .results import TaskResult
from .runs import Run, open_run
from .settings import Difference, check_allowed, differences, problem_digests, settings
from .statistics import Estimate, estimate_difference, estimate_means, estimate_parts, sign_test


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the runs brings to a comparison. `only` counts problems that the other run lacks or could not judge."""

    run: str
    model: str
    fingerprint: str
    score: Estimate
    samples: tuple[int, int]
    only: int
    unjudged: int


@dataclass(frozen=True, slots=True)
class Signs:
    """The exact sign test. `wins` are better in B; the unit is a cluster of problems, usually one problem."""

    wins: int
    losses: int
    ties: int
    p: float


@dataclass(frozen=True, slots=True)
class Group:
    """The same comparison within a group of problems, for example the level 3 ones."""

    field: str
    name: str
    a: float
    b: float
    difference: Estimate


@dataclass(frozen=True, slots=True)
class Flip:
    """A problem that one run solves and the other does not: its mean reward lies above one half on one side only."""

    problem_id: str
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """Two runs on one task. `difference` is B - A; `differs` lists every setting that is not the same, allowed as it may be."""

    task: str
    a: Side
    b: Side
    difference: Estimate
    correlation: float | None
    signs: Signs
    problems: int
    gained: tuple[Flip, ...]
    lost: tuple[Flip, ...]
    groups: tuple[Group, ...]
    differs: dict[str, tuple[Any, Any]]
    cluster: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs on the tasks that both have; `only_a` and `only_b` are the other tasks."""

    schema: ClassVar[int] = 1

    tasks: tuple[TaskComparison, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()


@dataclass(slots=True)
class _Scores:
    """The rewards of a run on a task."""

    rewards: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    clusters: dict[str, str] = field(default_factory=dict)
    unjudged: int = 0

    def means(self) -> dict[str, float]:
        return {problem: math.fsum(values) / len(values) for problem, values in self.rewards.items()}

    @property
    def binary(self) -> bool:
        return all(len(values) == 1 and values[0] in (0.0, 1.0) for values in self.rewards.values())


def compare_runs(a: Path, b: Path, allowed: Sequence[str] = (), cluster: str | None = None) -> Comparison:
    """Compare the run in `b` with that in `a`.

    `cluster` names a metadata field to cluster by as well. Raises InputError for what is no finished run, for settings that
    differ and are not in `allowed`, and where no problem is common.
    """
    return compare_opened(open_run(a), open_run(b), allowed, cluster)


def compare_opened(a: Run, b: Run, allowed: Sequence[str] = (), cluster: str | None = None) -> Comparison:
    """`compare_runs` for runs that are open."""
    for run in (a, b):
        if not run.finished:
            raise InputError(f"{run.path}: the run is not finished; the same `unmask eval` command finishes it")
    theirs, ours = ({result.task: result for result in run.results} for run in (a, b))
    common = [task for task in theirs if task in ours]
    if not common:
        raise InputError(f"{a.path} and {b.path} have no task in common ({', '.join(theirs)}; {', '.join(ours)})")
    differs = _differing(a, b, {task: (theirs[task], ours[task]) for task in common}, allowed)
    outlines = {(problem.task, problem.id): problem for run in (a, b) for problem in run.outlines()}
    scores = _scores(a, common), _scores(b, common)
    tasks = tuple(
        _Pairing(theirs[task], ours[task], scores[0][task], scores[1][task], a, b).compare(
            [problem for (name, _), problem in outlines.items() if name == task], differs[task], cluster
        )
        for task in common
    )
    return Comparison(
        tasks, tuple(task for task in theirs if task not in ours), tuple(task for task in ours if task not in theirs)
    )


def _differing(
    a: Run, b: Run, results: Mapping[str, tuple[TaskResult, TaskResult]], allowed: Sequence[str]
) -> dict[str, list[Difference]]:
    """What differs between the settings of each task. Raises InputError for what may not."""
    digests = problem_digests(a, results), problem_digests(b, results)
    found = {}
    for task, (theirs, ours) in results.items():
        one, other = settings(a, theirs), settings(b, ours)
        common = digests[0][task].keys() & digests[1][task].keys()
        changed = sorted(problem for problem in common if digests[0][task][problem] != digests[1][task][problem])
        found[task] = differences(one, other)
        if changed:
            share = f"{len(changed)} of {len(common)} have another prompt or reference"
            found[task].append(Difference("problems", share, f"first: {changed[0]}"))
        check_allowed(task, found[task], allowed, [*one, "problems"])
    return found


def _scores(run: Run, tasks: Sequence[str]) -> dict[str, _Scores]:
    found = {task: _Scores() for task in tasks}
    for row in run.rewards():
        scores = found.get(row["task"])
        if scores is None:
            continue
        if row["reward"] is None:
            scores.unjudged += 1
        else:
            scores.rewards[row["problem_id"]].append(row["reward"])
            scores.clusters[row["problem_id"]] = row["cluster"]
    return found


class _Pairing:
    """Two runs on one task, paired by problem."""

    def __init__(self, theirs: TaskResult, ours: TaskResult, a: _Scores, b: _Scores, run_a: Run, run_b: Run) -> None:
        self._task = theirs.task
        self._sides = ((theirs, a, run_a), (ours, b, run_b))
        self._a, self._b = a.means(), b.means()
        self._common = [problem for problem in self._a if problem in self._b]
        self._clusters = {**b.clusters, **a.clusters}
        if not self._common:
            raise InputError(f"{self._task}: no problem was judged in both runs")
        self._differences = {problem: self._b[problem] - self._a[problem] for problem in self._common}

    def compare(self, outlines: Sequence[Problem], differs: Sequence[Difference], cluster: str | None) -> TaskComparison:
        common = set(self._common)
        outlines = [problem for problem in outlines if problem.id in common]
        second = _second(self._task, outlines, cluster)
        weights, notes = _weights(self._sides[0][2], self._task, outlines)
        difference = self._estimate(self._differences, weights, second, difference=True)
        a, b = (self._side(place, weights, second) for place in (0, 1))
        return TaskComparison(
            task=self._task,
            a=a,
            b=b,
            difference=difference,
            correlation=_correlation([self._a[p] for p in self._common], [self._b[p] for p in self._common]),
            signs=self._signs(),
            problems=len(self._common),
            gained=self._flips(1),
            lost=self._flips(-1),
            groups=self._groups(outlines),
            differs={one.key: (one.a, one.b) for one in differs},
            cluster=cluster,
            notes=notes,
        )

    def _estimate(
        self,
        values: Mapping[str, float],
        weights: Mapping[str, tuple[str, float]] | None,
        second: Mapping[str, str] | None,
        *,
        difference: bool = False,
        binary: bool = False,
    ) -> Estimate:
        if weights is not None:
            found = estimate_parts(values, self._clusters, weights)
        elif difference:
            found = estimate_difference(values, self._clusters, second)
        else:
            found = estimate_means(values, self._clusters, binary=binary, second=second)
        assert found is not None  # there are common problems
        return found

    def _side(self, place: int, weights: Mapping[str, tuple[str, float]] | None, second: Mapping[str, str] | None) -> Side:
        result, scores, run = self._sides[place]
        means = (self._a, self._b)[place]
        counts = [len(scores.rewards[problem]) for problem in self._common]
        return Side(
            run=run.name,
            model=result.model.id,
            fingerprint=result.model.fingerprint,
            score=self._estimate({p: means[p] for p in self._common}, weights, second, binary=scores.binary),
            samples=(min(counts), max(counts)),
            only=len(means) - len(self._common),
            unjudged=scores.unjudged,
        )

    def _signs(self) -> Signs:
        totals: dict[str, float] = defaultdict(float)
        for problem, value in self._differences.items():
            totals[self._clusters[problem]] += value
        wins, losses = sum(total > 0 for total in totals.values()), sum(total < 0 for total in totals.values())
        return Signs(wins, losses, len(totals) - wins - losses, sign_test(wins, losses))

    def _flips(self, direction: int) -> tuple[Flip, ...]:
        def solved(value: float) -> bool:
            return value > 0.5

        found = [Flip(problem, self._a[problem], self._b[problem]) for problem in self._common]
        return tuple(flip for flip in found if solved(flip.b) - solved(flip.a) == direction)

    def _groups(self, outlines: Sequence[Problem]) -> tuple[Group, ...]:
        return tuple(
            self._group(name, group, [problem for problem, its in groups.items() if its == group])
            for name, groups in group_problems(outlines).items()
            for group in in_order(groups.values())
        )

    def _group(self, name: str, group: str, members: Sequence[str]) -> Group:
        difference = estimate_difference({problem: self._differences[problem] for problem in members}, self._clusters)
        assert difference is not None  # a group has members
        a, b = (math.fsum(means[problem] for problem in members) / len(members) for means in (self._a, self._b))
        return Group(name, group, a, b, difference)


def _second(task: str, outlines: Sequence[Problem], cluster: str | None) -> dict[str, str] | None:
    if cluster is None:
        return None
    found = {problem.id: str(problem.metadata[cluster]) for problem in outlines if cluster in problem.metadata}
    if not found:
        known = sorted({key for problem in outlines for key in problem.metadata})
        hint = f"{nearest(cluster, known)}; they have {', '.join(known)}"
        raise InputError(f"--cluster {cluster}: the problems of {task} have no such field{hint}")
    return found


def _weights(run: Run, task: str, outlines: Sequence[Problem]) -> tuple[dict[str, tuple[str, float]] | None, tuple[str, ...]]:
    """Each problem's part and share where the task's score is not the mean over problems, and what is to be said about it."""
    from ..benchmarks.registry import load_benchmark

    spec = next(spec for result, spec in zip(run.results, run.config["task"], strict=True) if result.task == task)
    if spec.startswith(LM_EVAL):
        return None, ()
    try:
        benchmark = load_benchmark(spec, run.config.get("data"), **(run.config.get("task_options") or {}))
    except InputError as error:
        return None, (f"compared by the mean over problems; should the task weight them, that is not known here: {error}",)
    weights = getattr(benchmark, "weights", None)
    return (None if weights is None else weights(outlines)), ()


def _correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Pearson's correlation of the problem means, which is what pairing gains from. None where one side does not vary."""
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    product = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    spread = math.fsum((x - mean_a) ** 2 for x in a) * math.fsum((y - mean_b) ** 2 for y in b)
    return product / math.sqrt(spread) if spread > 0 else None
