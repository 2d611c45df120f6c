"""Which problems a step trains on: an endless stream of draws, shuffled anew every epoch.

Draw number k is a pure function of (seed, k), so the data cursor that a run saves is one number.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ..harness.plan import TaskPlan
from ..rewards.records import Problem


@dataclass(frozen=True, slots=True)
class Draw:
    """A problem that a step trains on; `number` counts draws from 0 over the whole run."""

    number: int
    task: TaskPlan
    problem: Problem


class ProblemStream:
    """The problems of all tasks, in epochs: each problem once per epoch, in an order that the seed and the epoch determine."""

    def __init__(self, tasks: Sequence[TaskPlan], seed: int) -> None:
        self._problems = [(task, problem) for task in tasks for problem in task.problems]
        self._seed = seed
        self._epoch = -1
        self._order: list[int] = []

    def __len__(self) -> int:
        """Problems in an epoch."""
        return len(self._problems)

    def draw(self, start: int, count: int) -> list[Draw]:
        """Draws `start` to `start + count`."""
        return [self._one(number) for number in range(start, start + count)]

    def _one(self, number: int) -> Draw:
        epoch, place = divmod(number, len(self._problems))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, list(range(len(self._problems)))
            random.Random(f"epoch/{self._seed}/{epoch}").shuffle(self._order)
        return Draw(number, *self._problems[self._order[place]])
