"""A data file of one's own as a task: `--task my.jsonl`, with a field mapping where the columns have other names.

Columns are found under their usual names; `fields` names others, also inside objects ("reward_model.ground_truth"). A question
is text, asked with the prompt template, or a complete conversation (a list of {role, content}), asked as it is. The reference
may be any JSON value that the verifier understands. Not covered: media, system prompts beside a text question, CSV.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ..rewards.errors import InputError, nearest
from ..rewards.records import Message, Problem
from ..rewards.verifier import Verifier
from .base import BOXED_PROMPT, collect
from .rows import Row, stem
from .sources import LocalFile

# Our field -> the columns it is looked for in, when the mapping does not say.
USUAL: Mapping[str, tuple[str, ...]] = {
    "problem": ("problem", "question", "prompt", "Problem", "query"),
    "reference": ("reference", "answer", "ground_truth_answer", "ground_truth", "solution", "Answer"),
    "id": ("id", "unique_id", "problem_id", "task_id", "question_id", "ID"),
    "cluster": ("cluster",),
    "metadata": ("metadata",),
}


@dataclass(frozen=True)
class OwnData:
    """The rows of `data` as problems, judged by any verifier."""

    options: ClassVar[tuple[str, ...]] = (
        *("name", "fields", "verifier", "verifier_options", "description"),
        *("prompt_template", "metric", "samples", "max_new_tokens"),
    )

    data: Path
    name: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    verifier: Verifier | str = "math"
    verifier_options: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    size: int | None = None
    metric: str = "mean"
    samples: int = 1
    max_new_tokens: int = 2048
    prompt_template: str = BOXED_PROMPT
    prompt_source: str = "the user's"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.fields:
            if name not in USUAL:
                raise InputError(f"task {self.data}: fields: no field {name!r}{nearest(name, USUAL)}; fields: {', '.join(USUAL)}")
        if "{problem}" not in self.prompt_template:
            raise InputError(f"task {self.data}: prompt_template has no {{problem}} placeholder")
        object.__setattr__(self, "name", self.name or stem(self.data))
        object.__setattr__(self, "description", self.description or f"Rows of {self.data}")

    @cached_property
    def revision(self) -> str:
        return LocalFile(self.data).revision

    def load(self) -> tuple[Problem, ...]:
        """Return one problem per row. Raises InputError naming file, line and field."""
        rows = enumerate(LocalFile(self.data).rows())
        return collect(self.name, ((row.where, self._problem(index, row)) for index, row in rows))

    def _problem(self, index: int, row: Row) -> Problem:
        own = self._find(row, "id")
        name = f"{self.name}/{index if own is None else own}"
        metadata = self._find(row, "metadata") or {}
        if not isinstance(metadata, dict):
            raise InputError(f"{row.where}: field 'metadata': expected an object")
        return Problem(
            id=name,
            task=self.name,
            prompt=self._prompt(row),
            reference=_plain(self._required(row, "reference")),
            metadata=metadata,
            cluster=str(self._find(row, "cluster") or name),
        )

    def _prompt(self, row: Row) -> tuple[Message, ...]:
        asked = self._required(row, "problem")
        if isinstance(asked, str):
            return (Message("user", self.prompt_template.replace("{problem}", asked)),)
        if isinstance(asked, list) and asked and all(_is_turn(turn) for turn in asked):
            return tuple(Message(turn["role"], turn["content"]) for turn in asked)
        raise InputError(f"{row.where}: field {self._column(row, 'problem')!r}: expected text or a list of {{role, content}}")

    def _required(self, row: Row, name: str) -> Any:
        value = self._find(row, name)
        if value is None or value == "" or value == []:
            column, known = self._column(row, name), ", ".join(row.values)
            hint = "" if name in self.fields else f"; name the column with fields.{name}"
            raise InputError(f"{row.where}: field {column!r}: missing or empty (columns: {known}){hint}")
        return value

    def _find(self, row: Row, name: str) -> Any:
        return _inside(row.values, self.fields[name]) if name in self.fields else row.first(*USUAL[name])

    def _column(self, row: Row, name: str) -> str:
        found = next((column for column in USUAL[name] if column in row.values), USUAL[name][0])
        return self.fields.get(name, found)


def _inside(values: Any, path: str) -> Any:
    """Follow `path` ("a.b.c") into nested objects; a column whose own name has dots is found first."""
    if isinstance(values, Mapping) and path in values:
        return values[path]
    head, _, rest = path.partition(".")
    return _inside(values[head], rest) if rest and isinstance(values, Mapping) and head in values else None


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)


def _plain(reference: Any) -> Any:
    """Numbers become text: verifiers of short answers expect the answer as it would be written."""
    return str(reference) if isinstance(reference, int | float) and not isinstance(reference, bool) else reference
