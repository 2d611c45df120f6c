"""The figures behind the page's charts, collected in one pass over a run: scores by group, statuses, distributions."""

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ...rewards.records import Problem
from ...rewards.serde import encode
from ..grouping import group_problems, in_order
from ..records import Sample
from ..statistics import Estimate, estimate

MOST_BINS = 32

DISTRIBUTIONS = {
    "tokens_per_forward": "tokens per forward pass",
    "length": "response length, tokens",
    "steps": "denoising steps per response",
}


class Collector:
    """Adds up one run. Memory grows with some numbers a sample, never with its text."""

    def __init__(self) -> None:
        self.statuses: dict[str, Counter[str]] = defaultdict(Counter)
        self.values = {name: array("d") for name in DISTRIBUTIONS}
        self._rewards: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._clusters: dict[str, str] = {}

    def add(self, sample: Sample) -> None:
        """Count one sample."""
        rollout, verdict = sample.rollout, sample.verdict
        self.statuses[sample.task][verdict.status] += 1
        if verdict.reward is not None:
            self._rewards[sample.task][sample.problem_id].append(verdict.reward)
            self._clusters[sample.problem_id] = sample.cluster
        if rollout.finish == "error":
            return
        self.values["length"].append(rollout.length)
        self.values["steps"].append(rollout.forward_passes.denoise)
        if rollout.forward_passes.total:
            self.values["tokens_per_forward"].append(rollout.length / rollout.forward_passes.total)

    def score(self, task: str, problems: Sequence[str] | None = None) -> Estimate | None:
        """The mean over problems, of all or of some."""
        rewards = self._rewards[task]
        chosen = rewards if problems is None else {name: rewards[name] for name in problems if name in rewards}
        return estimate(chosen, self._clusters)


def group_scores(collectors: Sequence[Collector], outlines: Mapping[str, Sequence[Problem]]) -> list[dict[str, Any]]:
    """Per task and metadata field: the score of every group in every run."""
    return [
        {
            "task": task,
            "field": name,
            "rows": [_group_row(collectors, task, groups, group) for group in in_order(groups.values())],
        }
        for task, problems in outlines.items()
        for name, groups in group_problems(problems).items()
    ]


def _group_row(collectors: Sequence[Collector], task: str, groups: Mapping[str, str], group: str) -> dict[str, Any]:
    members = [problem for problem, its in groups.items() if its == group]
    return {"name": group, "n": len(members), "runs": [encode(one.score(task, members)) for one in collectors]}


def histograms(collectors: Sequence[Collector]) -> list[dict[str, Any]]:
    """The distributions of all runs, in bins that they share."""
    found = []
    for name, title in DISTRIBUTIONS.items():
        runs = [one.values[name] for one in collectors]
        values = [value for run in runs for value in run]
        if values:
            low, width, count = bins(min(values), max(values), whole=name != "tokens_per_forward")
            counts = [_binned(run, low, width, count) for run in runs]
            means = [math.fsum(run) / len(run) if run else None for run in runs]
            found.append({"name": name, "title": title, "low": low, "width": width, "counts": counts, "means": means})
    return found


def bins(low: float, high: float, *, whole: bool) -> tuple[float, float, int]:
    """A start, a round width and a number of bins that hold everything from `low` to `high`."""
    wanted = (high - low) / MOST_BINS
    scale = 10.0 ** math.floor(math.log10(wanted)) if wanted > 0 else 1.0 if whole else 0.1
    width = next(step * scale for step in (1, 2, 5, 10) if step * scale >= wanted)
    width = max(width, 1.0) if whole else width
    start = math.floor(low / width + 1e-9) * width
    return start, width, math.floor((high - start) / width + 1e-9) + 1


def _binned(values: Sequence[float], low: float, width: float, count: int) -> list[int]:
    found = [0] * count
    for value in values:
        found[min(max(math.floor((value - low) / width + 1e-9), 0), count - 1)] += 1
    return found
