"""Rewards summed per problem, and what a benchmark makes of them: score, parts, further metrics.

Memory grows with the problems, not with the completions, so that `score` can read millions of lines.
"""

from array import array
from collections.abc import Collection, Mapping

from ..benchmarks.base import Benchmark, breakdown
from ..rewards.records import Problem
from .statistics import Estimate, estimate_means, estimate_parts


class Tally:
    """Adds up rewards: some 150 bytes a problem (as much again for the estimate), nothing a completion."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._totals = array("d")
        self._counts = array("Q")
        self._clusters: dict[str, str] = {}  # only of problems that do not stand for themselves
        self._binary = True

    def __len__(self) -> int:
        return len(self._places)

    def add(self, problem: str, cluster: str, reward: float | None) -> None:
        """Count one completion. Without a reward (it could not be judged) only its problem is noted."""
        place = self._places.setdefault(problem, len(self._totals))
        if place == len(self._totals):
            self._totals.append(0.0)
            self._counts.append(0)
            if cluster != problem:
                self._clusters[problem] = cluster
        if reward is not None:
            self._totals[place] += reward
            self._counts[place] += 1
            self._binary = self._binary and reward in (0.0, 1.0)

    def means(self) -> dict[str, float]:
        """The mean reward of every problem that has a judged completion."""
        return {problem: self._totals[i] / self._counts[i] for problem, i in self._places.items() if self._counts[i]}

    def estimate(self, parts: Mapping[str, tuple[str, float]] | None = None) -> Estimate | None:
        """The score, or None where nothing was judged; `parts` weights the problems (`estimate_parts`)."""
        if parts is not None:
            return estimate_parts(self.means(), self._clusters, parts)
        return estimate_means(self.means(), self._clusters, binary=self._binary and max(self._counts, default=0) == 1)


class TaskTally:
    """Adds up the verdicts on a task; without a benchmark (a verifier alone) there are no parts and no further metrics.

    A benchmark may have `weights(problems)` (each problem's part and share of the official total, if that is not the mean over
    problems) and `metrics` (parts of verdicts that are scores of their own).
    """

    def __init__(self, benchmark: Benchmark | None, problems: Collection[Problem]) -> None:
        self._benchmark, self._problems = benchmark, problems
        self._rewards = Tally()
        self._metrics = {name: Tally() for name in getattr(benchmark, "metrics", ())}

    def __len__(self) -> int:
        return len(self._rewards)

    def add(self, problem: str, cluster: str, reward: float | None, parts: Mapping[str, float]) -> None:
        """Count one verdict."""
        self._rewards.add(problem, cluster, reward)
        for name, tally in self._metrics.items():
            if name in parts:
                tally.add(problem, cluster, parts[name])

    def score(self) -> Estimate | None:
        """The score as the benchmark defines it: its official total, else the mean over problems."""
        weights = getattr(self._benchmark, "weights", None)
        if weights is None:
            return self._rewards.estimate()
        means = self._rewards.means()
        return self._rewards.estimate(weights([problem for problem in self._problems if problem.id in means]))

    def breakdown(self) -> dict[str, float]:
        """The scores of the benchmark's parts."""
        return breakdown(self._benchmark, self._problems, self._rewards.means()) if self._benchmark is not None else {}

    def metrics(self) -> dict[str, float]:
        """The means of the benchmark's further metrics."""
        found = {name: tally.estimate() for name, tally in self._metrics.items()}
        return {name: estimate.mean for name, estimate in found.items() if estimate is not None}
