"""Rewards summed per problem: what `score` needs of millions of completions, in memory that grows with the problems only."""

from array import array

from .statistics import Estimate, estimate_means


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

    def estimate(self) -> Estimate | None:
        """The score over problems with a judged completion, or None if there are none."""
        means = {problem: self._totals[i] / self._counts[i] for problem, i in self._places.items() if self._counts[i]}
        return estimate_means(means, self._clusters, binary=self._binary and max(self._counts, default=0) == 1)
