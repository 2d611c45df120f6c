"""Benchmarks of mathematics: one question, one short answer, judged by the `math` verifier.

What differs between the sets is data (`Source`s, notes) and how a row is read; those stand in one small file per set. Asking,
numbering and finding the data are the same for all and stand here. Few-shot prompts are not offered.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ..rewards.errors import InputError, nearest
from ..rewards.records import Message, Problem
from .base import BOXED_PROMPT, BOXED_PROMPT_SOURCE, collect
from .rows import Row
from .sources import HubRows, LocalFile, Source, locate

# Official column names first, then those of dLLM-RL's JSON and of common hub copies.
QUESTION = ("problem", "question", "Problem")
ANSWER = ("answer", "ground_truth_answer", "Answer")
IDS = ("unique_id", "id", "ID", "problem_idx", "problem_id")


class Item(NamedTuple):
    """What a row says: the question, the reference answer, and what else is known."""

    question: str
    answer: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class MathBenchmark:
    """A set of questions with short answers. `read` turns a row into an `Item` (None: not a problem of this set)."""

    options: ClassVar[tuple[str, ...]] = ("data", "split", "prompt_template", "max_new_tokens")
    variant_option: ClassVar[str] = "split"

    name: str
    description: str
    sources: Mapping[str, Source]
    read: Callable[[Row], Item | None]
    size: int | None
    verifier: str = "math"
    verifier_options: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "mean"
    samples: int = 1
    # dLLM-RL generates up to 2,000 tokens for every instruct model; 2,048 is the next multiple of all usual block sizes.
    max_new_tokens: int = 2048
    prompt_template: str = BOXED_PROMPT
    prompt_source: str = BOXED_PROMPT_SOURCE
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

    def keeps(self, item: Item) -> bool:
        """Tell whether the options leave this problem in."""
        return True

    def _placed(self) -> Iterator[tuple[str, Problem]]:
        for index, row in enumerate(self._location().rows()):
            item = self.read(row)
            if item is not None and self.keeps(item):
                yield row.where, self._problem(index, row, item)

    def _location(self) -> LocalFile | HubRows:
        return locate(self.sources[self.split], self.data)

    def _problem(self, index: int, row: Row, item: Item) -> Problem:
        own = row.first(*IDS)
        return Problem(
            id=f"{self.name}/{index if own is None else own}",
            task=self.name,
            # Not str.format: prompts and problems are full of braces.
            prompt=(Message("user", self.prompt_template.replace("{problem}", item.question)),),
            reference=item.answer,
            metadata=item.metadata,
        )


def optional(row: Row, **names: tuple[str, ...]) -> dict[str, Any]:
    """Return metadata under our names, for those of the columns that the row has."""
    found = {ours: row.first(*theirs) for ours, theirs in names.items()}
    return {ours: value for ours, value in found.items() if value is not None}
