"""Benchmarks whose problems are the rows of a table: one row, one question.

What differs between the sets is data (`Source`s, notes), the verifier, and how a row is read; those stand in one small file per
set. Asking, numbering and finding the data are the same for all and stand here. Few-shot prompts are not offered.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ..rewards.errors import InputError, nearest
from ..rewards.records import Message, Problem
from .base import boxed, collect
from .rows import Row
from .sources import HubRows, LocalFile, Source, locate

# Official column names first, then those of dLLM-RL's JSON and of common hub copies.
QUESTION = ("problem", "question", "Problem")
ANSWER = ("answer", "ground_truth_answer", "Answer")
IDS = ("unique_id", "task_id", "id", "ID", "problem_idx", "problem_id")


class Item(NamedTuple):
    """What a row says: the question, what the verifier needs, what else is known, and a right completion if there is one."""

    question: str
    reference: Any
    metadata: dict[str, Any]
    gold: str | None = None


@dataclass(frozen=True, kw_only=True)
class RowBenchmark:
    """A set of questions. `read` turns a row into an `Item` (None: not a problem of this set)."""

    options: ClassVar[tuple[str, ...]] = ("data", "split", "prompt_template", "max_new_tokens")
    variant_option: ClassVar[str] = "split"
    groups: ClassVar[tuple[str, ...]] = ("subject", "level", "difficulty")

    name: str
    description: str
    sources: Mapping[str, Source]
    read: Callable[[Row], Item | None]
    size: int | None
    verifier: str
    prompt_template: str
    prompt_source: str
    verifier_options: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "mean"
    samples: int = 1
    # dLLM-RL generates up to 2,000 tokens for every instruct model; 2,048 is the next multiple of all usual block sizes.
    max_new_tokens: int = 2048
    notes: tuple[str, ...] = ()
    split: str = ""
    data: Path | None = None

    def __post_init__(self) -> None:
        default = next(iter(self.sources))
        split = self.split or default
        if split not in self.sources:
            known = ", ".join(self.sources)
            raise InputError(f"task {self.name!r} has no split {split!r}{nearest(split, self.sources)}; splits: {known}")
        if "{problem}" not in self.prompt_template:
            raise InputError(f"task {self.name!r}: prompt_template has no {{problem}} placeholder")
        object.__setattr__(self, "split", split)
        if split != default:
            object.__setattr__(self, "name", f"{self.name.partition('@')[0]}@{split}")
            object.__setattr__(self, "size", None)

    @cached_property
    def revision(self) -> str:
        return self._location().revision

    def load(self) -> tuple[Problem, ...]:
        """Return the problems in the order of the data. Raises InputError for missing data or a malformed row."""
        return collect(self.name, self._placed())

    def gold(self, problem: Problem) -> str | None:
        """Return a right completion: the row's own solution, else a boxed answer when the reference is one."""
        if problem.id in self._golds:
            return self._golds[problem.id]
        return boxed(problem.reference) if isinstance(problem.reference, str) else None

    def keeps(self, item: Item) -> bool:
        """Tell whether the options leave this problem in."""
        return True

    def _placed(self) -> Iterator[tuple[str, Problem]]:
        return ((where, problem) for where, problem, _ in self._items())

    def _items(self) -> Iterator[tuple[str, Problem, Item]]:
        for index, row in enumerate(self._location().rows()):
            item = self.read(row)
            if item is not None and self.keeps(item):
                yield row.where, self._problem(index, row, item), item

    @cached_property
    def _golds(self) -> dict[str, str]:
        return {problem.id: item.gold for _, problem, item in self._items() if item.gold is not None}

    def _location(self) -> LocalFile | HubRows:
        return locate(self.sources[self.split], self.data)

    def _problem(self, index: int, row: Row, item: Item) -> Problem:
        own = row.first(*IDS)
        return Problem(
            id=f"{self.name}/{index if own is None else own}",
            task=self.name,
            # Not str.format: prompts and problems are full of braces.
            prompt=(Message("user", self.prompt_template.replace("{problem}", item.question)),),
            reference=item.reference,
            metadata=item.metadata,
        )


def optional(row: Row, **names: tuple[str, ...]) -> dict[str, Any]:
    """Return metadata under our names, for those of the columns that the row has."""
    found = {ours: row.first(*theirs) for ours, theirs in names.items()}
    return {ours: value for ours, value in found.items() if value is not None}
