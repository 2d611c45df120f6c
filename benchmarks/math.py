r"""MATH (Hendrycks et al.): 5,000 competition problems for testing, 7,500 for training; and the 8k set TraceRL trains on.

Asked zero-shot with a boxed answer. The hub's rows hold a worked solution whose last `\boxed{}` is the answer; re-keyed copies
and dLLM-RL's JSON hold the answer itself. Rows without any answer (two multiple-choice problems of the training split) cannot
be judged and are left out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..rewards.errors import InputError
from ..rewards.extract import boxes
from .math500 import level
from .mathematics import ANSWER, QUESTION, Item, MathBenchmark, optional
from .rows import Row
from .sources import Hub, Source

_SUBJECTS = (
    *("algebra", "counting_and_probability", "geometry", "intermediate_algebra"),
    *("number_theory", "prealgebra", "precalculus"),
)
_BARE_BOX = re.compile(r"\\boxed\s+([^\s${}]+)")
_REVISION = "21a5633873b6a120296cce3e2df9d5550074f4a3"


def read(row: Row) -> Item | None:
    """Read a row of the hub set (answer inside the solution) or of a copy with an answer column."""
    answer = _answer(row)
    if not answer:
        return None
    metadata = optional(row, subject=("subject", "type"), in_math500=("in_math500",))
    given = row.first("level")
    if given not in (None, "Level ?"):  # two geometry problems have no level
        metadata["level"] = level(row, given)
    return Item(row.text(*QUESTION), answer, metadata)


def _answer(row: Row) -> str:
    given = row.first(*ANSWER)
    if given is not None:
        return str(given).strip()
    return last_boxed(row.text("solution")).strip()


def last_boxed(text: str) -> str:
    r"""Return what the last `\boxed{...}` holds, or what follows a bare `\boxed 3` as some solutions write; empty without one."""
    bare = _BARE_BOX.findall(text)
    return (boxes(text) or bare or [""])[-1]


@dataclass(frozen=True, kw_only=True)
class LevelledMath(MathBenchmark):
    """A set whose problems have levels; `levels` keeps some of them (TraceRL and others train on 3 to 5)."""

    options: ClassVar[tuple[str, ...]] = (*MathBenchmark.options, "levels")

    levels: Sequence[int] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.levels, list | tuple) or not set(self.levels) <= {1, 2, 3, 4, 5}:
            raise InputError(f"task {self.name!r}: levels: expected a list of numbers from 1 to 5, found {self.levels!r}")
        if self.levels:
            object.__setattr__(self, "size", None)

    def keeps(self, item: Item) -> bool:
        return not self.levels or item.metadata.get("level") in self.levels


def _source(split: str) -> Source:
    return Source(stem=f"math/math_{split}", hub=Hub("EleutherAI/hendrycks_math", _REVISION, split, _SUBJECTS))


MATH = LevelledMath(
    name="math",
    description="Competition mathematics, the whole MATH test split (train: math@train)",
    size=5000,
    sources={"test": _source("test"), "train": _source("train")},
    read=read,
    notes=("MATH train sets in circulation hold problems of this test split (see math_train): check with validate --overlap.",),
)

MATH_TRAIN = LevelledMath(
    name="math_train",
    description="The 8k RL training set of TraceRL: MATH levels 3 to 5",
    size=8521,
    sources={"train": Source(stem="dllm_rl_format/MATH_train", origin="Gen-Verse/MATH_train, file train/MATH_train.json")},
    read=read,
    notes=(
        "2,937 of its problems are from the MATH test split (none from MATH-500): a full-MATH score after it is contaminated.",
    ),
)
