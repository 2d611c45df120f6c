"""LiveCodeBench, code generation: contest problems by release, date window, difficulty and platform.

`livecodebench@release_v6` is everything up to v6; `@v6` is what v6 added; `@v4_v6` a range. Prompt, extraction and comparison
are the official ones; the tests of a problem are read when it is judged. Not offered: the other scenarios (self-repair, test
output prediction, code execution), few-shot prompts for base models, prompts in the formats of single model families.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ..rewards.errors import InputError, nearest
from ..rewards.records import Message, Problem
from ..rewards.verifier import Verifier
from .base import collect
from .lcb_data import Dataset, Entry, parse_releases, read_dataset
from .lcb_notes import NOTES
from .rows import Row, parse_json

# Wording of the official generic chat prompt (lcb_runner/prompts/code_generation.py @ 28fef95e): scores depend on it.
SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate a correct "
    "Python program that matches the specification and passes all tests."
)
WITH_STARTER_CODE = (
    "### Question:\n{problem}\n\n### Format: You will use the following starter code to write the solution to the problem and "
    "enclose your code within delimiters.\n```python\n{starter_code}\n```\n\n"
    "### Answer: (use the provided format with backticks)\n\n"
)
WITHOUT_STARTER_CODE = (
    "### Question:\n{problem}\n\n### Format: Read the inputs from stdin solve the problem and write the answer to stdout (do not "
    "directly test on the sample inputs). Enclose your code within delimiters as follows. Ensure that when the python program "
    "runs, it reads the inputs, runs the algorithm and writes output to STDOUT.\n```python\n# YOUR CODE HERE\n```\n\n"
    "### Answer: (use the provided format with backticks)\n\n"
)
DIFFICULTIES = ("easy", "medium", "hard")
PLATFORMS = ("atcoder", "codeforces", "leetcode")
TESTS = {"all": (), "complete": ("complete",), "available": ("complete", "truncated", "public_from_statement")}


@dataclass(frozen=True)
class LiveCodeBench:
    """Problems of a range of releases; the options narrow it. Dates are days, both ends included."""

    options: ClassVar[tuple[str, ...]] = (
        *("data", "release", "after", "before", "difficulty", "platform", "tests", "rule", "max_new_tokens", "samples"),
    )
    variant_option: ClassVar[str] = "release"
    groups: ClassVar[tuple[str, ...]] = ("difficulty", "platform")

    release: str = "release_latest"
    data: Path | None = None
    after: str | date | None = None
    before: str | date | None = None
    difficulty: str = ""
    platform: str = ""
    tests: str = "all"
    """"all" insists on complete tests; "complete" keeps the problems that have them; "available" also those with a part."""
    rule: str = "default"
    """"official", or "default", which accepts every right output where a checker exists."""

    name: str = "livecodebench"
    description: str = "Contest problems, judged by hidden tests"
    size: int | None = 1055
    verifier: Verifier | str = "unmask.benchmarks.lcb_verifier:LiveCodeBenchVerifier"
    verifier_options: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "pass@1"
    samples: int = 10  # the official default, at temperature 0.2
    max_new_tokens: int = 2048  # official: 2,000
    prompt_template: str = WITHOUT_STARTER_CODE
    prompt_source: str = "LiveCodeBench generic chat prompt (LiveCodeBench/LiveCodeBench @ 28fef95e)"
    notes: tuple[str, ...] = ("Problems older than a model's training data are likely contaminated: use task.after.",)

    def __post_init__(self) -> None:
        first, last = parse_releases(self.release)
        tag = f"release_v{last}" if first == 1 and self.release.startswith("release") else self.release
        object.__setattr__(self, "release", tag)
        object.__setattr__(self, "name", f"livecodebench@{tag}")
        for option, known in (("difficulty", DIFFICULTIES), ("platform", PLATFORMS), ("tests", tuple(TESTS))):
            value = getattr(self, option)
            if value and value not in known:
                raise InputError(f"task {self.name!r}: {option} {value!r} is none of {', '.join(known)}{nearest(value, known)}")
        object.__setattr__(self, "verifier_options", {"rule": self.rule})
        for option in ("after", "before"):
            object.__setattr__(self, option, _day(getattr(self, option), f"task {self.name!r}: {option}"))
        if self._selection or tag != "release_v6":
            object.__setattr__(self, "size", None)

    @property
    def revision(self) -> str:
        return " ".join((self._dataset.revision, *self._selection))

    def load(self) -> tuple[Problem, ...]:
        """Return the problems, without reading their tests. Raises InputError when data or complete tests are missing."""
        entries = [entry for entry in self._dataset.entries if self._keeps(entry.row)]
        return collect(self.name, ((entry.row.where, self._problem(entry)) for entry in self._with_tests(entries)))

    @cached_property
    def _dataset(self) -> Dataset:
        return read_dataset(self.data, *parse_releases(self.release))

    @property
    def _selection(self) -> tuple[str, ...]:
        options = {name: getattr(self, name) for name in ("after", "before", "difficulty", "platform")}
        tests = () if self.tests == "all" else (f"tests={self.tests}",)
        return (*(f"{name}={value}" for name, value in options.items() if value), *tests)

    def _keeps(self, row: Row) -> bool:
        day = str(_day(row.text("contest_date")[:10], f"{row.where}: field 'contest_date'"))
        inside = str(self.after or day) <= day <= str(self.before or day)
        wanted = self.difficulty in ("", row.text("difficulty")) and self.platform in ("", row.text("platform"))
        return inside and wanted

    def _with_tests(self, entries: list[Entry]) -> list[Entry]:
        if self.tests != "all":
            return [entry for entry in entries if entry.completeness in TESTS[self.tests]]
        lacking = [entry for entry in entries if entry.completeness != "complete"]
        if lacking:
            raise InputError(
                f"task {self.name!r}: {len(lacking)} of {len(entries)} problems have no complete tests in this data; set "
                f"task.tests=complete to keep the other {len(entries) - len(lacking)} (no published score is over those)"
            )
        return entries

    def _problem(self, entry: Entry) -> Problem:
        row, question_id = entry.row, entry.row.text("question_id")
        starter_code = row.first("starter_code") or ""
        template = WITH_STARTER_CODE if starter_code else WITHOUT_STARTER_CODE
        asked = template.replace("{starter_code}", starter_code).replace("{problem}", row.text("question_content"))
        return Problem(
            id=f"livecodebench/{question_id}",
            task=self.name,
            prompt=(Message("system", SYSTEM), Message("user", asked)),
            reference={"tests_file": str(entry.tests), "question_id": question_id, "func_name": _function(row)},
            metadata=_metadata(entry),
        )


def _function(row: Row) -> str | None:
    metadata = parse_json(row.values.get("metadata") or "{}", f"{row.where}: field 'metadata'")
    name = metadata.get("func_name") if isinstance(metadata, dict) else None
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        raise InputError(f"{row.where}: field 'metadata': func_name {name!r} is not a name")
    return name


def _metadata(entry: Entry) -> dict[str, Any]:
    row = entry.row
    found = {
        "title": row.text("question_title"),
        "platform": row.text("platform"),
        "difficulty": row.text("difficulty"),
        "date": row.text("contest_date")[:10],
        "release": None if entry.release is None else f"v{entry.release}",
        "tests": entry.completeness,
        "note": NOTES.get(row.text("question_id")),
    }
    return {name: value for name, value in found.items() if value is not None}


def _day(value: str | date | None, where: str) -> str | None:
    """Return a day as "2024-08-01", which compares as it should."""
    if value is None:
        return None
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise InputError(f"{where}: expected a day such as 2024-08-01, found {str(value)[:40]!r}") from None


LIVECODEBENCH = LiveCodeBench()
