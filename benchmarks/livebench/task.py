"""Which questions make up a LiveBench release, and how their scores add up.

A release holds the questions released on or before its date and not yet removed. Its score is the mean over categories of the
mean over tasks. Later releases than 2024-11-25 are not public.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ...rewards.errors import InputError, nearest
from ...rewards.records import Message, Problem
from ..base import collect
from ..lcb_tests import read_metadata
from ..rows import Row
from ..sources import Hub, HubRows, LocalFile, Source, locate
from . import coding
from .instructions import CHECKS

RELEASES = ("2024-06-24", "2024-07-26", "2024-08-31", "2024-11-25")
TASKS: Mapping[str, tuple[str, ...]] = {
    "math": ("AMPS_Hard", "math_comp", "olympiad"),
    "reasoning": ("spatial", "web_of_lies_v2", "zebra_puzzle"),
    "language": ("connections", "plot_unscrambling", "typos"),
    "data_analysis": ("cta", "tablejoin", "tablereformat"),
    "instruction_following": ("paraphrase", "simplify", "story_generation", "summarize"),
    "coding": coding.TASKS,
}
CATEGORY = {task: category for category, tasks in TASKS.items() for task in tasks}
_SINCE = {"spatial": "2024-07-26"}


@dataclass(frozen=True)
class LiveBench:
    """The public questions of one release. `only` keeps some categories or tasks; `rule` is the scoring rule."""

    options: ClassVar[tuple[str, ...]] = ("data", "release", "only", "rule", "max_new_tokens")
    variant_option: ClassVar[str] = "release"

    release: str = RELEASES[-1]
    only: Sequence[str] = ()
    rule: str = "default"
    data: Path | None = None

    name: str = "livebench"
    description: str = "Public LiveBench questions, each task by its own scorer"
    size: int | None = None
    verifier: str = "unmask.benchmarks.livebench.verifier:LiveBenchVerifier"
    verifier_options: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "mean of category means"
    samples: int = 1
    max_new_tokens: int = 4096  # upstream's default
    prompt_template: str = ""
    prompt_source: str = "the question's own text as the only user turn (LiveBench/LiveBench @ b0fb577b)"
    notes: tuple[str, ...] = ("The overall score is the mean over categories of the mean over tasks, not over questions.",)

    def __post_init__(self) -> None:
        if self.release not in RELEASES:
            raise InputError(
                f"livebench@{self.release}: no public release{nearest(self.release, RELEASES)}; releases: {', '.join(RELEASES)}"
            )
        only = [self.only] if isinstance(self.only, str) else self.only
        for name in only:
            if name not in TASKS and name not in CATEGORY:
                known = [*TASKS, *CATEGORY]
                raise InputError(
                    f"livebench: only: no category or task {name!r}{nearest(name, known)}; known: {', '.join(known)}"
                )
        object.__setattr__(self, "only", tuple(only))
        object.__setattr__(self, "name", f"livebench@{self.release}")
        object.__setattr__(self, "verifier_options", {"rule": self.rule})

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks asked, in the order of the categories."""
        released = (task for task in CATEGORY if _SINCE.get(task, "") <= self.release)
        return tuple(task for task in released if not self.only or task in self.only or CATEGORY[task] in self.only)

    @property
    def revision(self) -> str:
        places = "; ".join(f"{task} {place.revision}" for task, place in self._places.items())
        return f"{self.release}: {places}"

    def load(self) -> tuple[Problem, ...]:
        """Return the questions of the release. Raises InputError when the data of a task is missing or malformed."""
        return collect(self.name, self._placed())

    def gold(self, problem: Problem) -> str | None:
        """Return the gold answer in the form that the question asks for; instructions have none."""
        gold, task = problem.reference["ground_truth"], problem.reference["task"]
        if not gold:
            return None
        if task == "math_comp" and not problem.reference["subtask"].startswith("aime"):
            return str(gold) * 5
        if task == "zebra_puzzle" and problem.reference["release"] < RELEASES[-1]:
            return f"***{gold}***"
        forms = {"AMPS_Hard": "$\\boxed{%s}$", "olympiad": "Answer: %s", "web_of_lies_v2": "**%s**", "spatial": "**%s**"}
        tagged = {"zebra_puzzle": "<solution>%s</solution>", "connections": "<solution>%s</solution>"}
        return str({**forms, **tagged}.get(task, "%s") % gold)

    def aggregate(self, problems: Iterable[Problem], scores: Mapping[str, float]) -> dict[str, float]:
        """Return the scores per task and category and the overall score, as upstream defines them (`aggregate`)."""
        return aggregate(problems, scores)

    def weights(self, problems: Sequence[Problem]) -> dict[str, tuple[str, float]]:
        """Return the task of each of `problems` and its share in the overall score (`weights`)."""
        return weights(problems)

    @cached_property
    def _places(self) -> dict[str, LocalFile | HubRows]:
        return {task: locate(_source(task), self.data) for task in self.tasks}

    def _placed(self) -> Iterator[tuple[str, Problem]]:
        for task, place in self._places.items():
            for row in read_metadata(_jsonl(place)) if task in coding.TASKS else place.rows():
                if row.text("task") == task and _in_release(row, self.release):
                    yield row.where, self._problem(task, row, place)

    def _problem(self, task: str, row: Row, place: LocalFile | HubRows) -> Problem:
        question_id = row.text("question_id")
        return Problem(
            id=f"livebench/{question_id}",
            task=self.name,
            prompt=(Message("user", _turn(row)),),
            reference={
                "task": task,
                "ground_truth": "" if CATEGORY[task] in ("instruction_following", "coding") else _gold(row),
                "subtask": str(row.first("subtask") or ""),
                "release": _day(row.text("livebench_release_date")),
                "instructions": list(_instructions(row)),
                **(coding.reference(row, _jsonl(place)) if task in coding.TASKS else {}),
            },
            metadata={"category": CATEGORY[task], "task": task, "release": _day(row.text("livebench_release_date"))},
        )


def aggregate(problems: Iterable[Problem], scores: Mapping[str, float]) -> dict[str, float]:
    """Return the score per task ("math/olympiad"), per category ("math") and overall ("average"), as upstream defines them.

    `scores` maps problem ids to the mean score over samples; problems without a score are left out.
    """
    by_task: dict[tuple[str, str], list[float]] = defaultdict(list)
    for problem in problems:
        if problem.id in scores:
            by_task[problem.metadata["category"], problem.metadata["task"]].append(scores[problem.id])
    tasks = {key: sum(values) / len(values) for key, values in by_task.items()}
    by_category: dict[str, list[float]] = defaultdict(list)
    for (category, _), value in tasks.items():
        by_category[category].append(value)
    categories = {category: sum(values) / len(values) for category, values in by_category.items()}
    overall = {"average": sum(categories.values()) / len(categories)} if categories else {}
    return {**{f"{category}/{task}": value for (category, task), value in tasks.items()}, **categories, **overall}


def weights(problems: Sequence[Problem]) -> dict[str, tuple[str, float]]:
    """Return each problem's task and its weight in "average" of `aggregate`, when all of `problems` have a score.

    Tasks are strata of their own: which tasks there are is fixed, which questions they hold is chance.
    """
    places = {problem.id: (problem.metadata["category"], problem.metadata["task"]) for problem in problems}
    size = Counter(places.values())
    tasks = Counter(category for category, _ in size)
    return {
        problem: (f"{category}/{task}", 1 / (len(tasks) * tasks[category] * size[category, task]))
        for problem, (category, task) in places.items()
    }


def _source(task: str) -> Source:
    category = CATEGORY[task]
    return Source(stem=f"livebench/{category}__{task}", hub=Hub(f"livebench/{category}", "", "test"))


def _jsonl(place: LocalFile | HubRows) -> Path:
    """Return the file of a coding task, whose tests are too big to be carried along."""
    if isinstance(place, LocalFile) and place.path.name.endswith((".jsonl", ".jsonl.gz")):
        return place.path
    found = place.path if isinstance(place, LocalFile) else "the hub"
    raise InputError(f"{found}: the coding tasks of LiveBench are read from JSON Lines files only")


def _in_release(row: Row, release: str) -> bool:
    removed = _day(str(row.first("livebench_removal_date") or ""))
    return _day(row.text("livebench_release_date")) <= release and (not removed or removed > release)


def _day(value: str) -> str:
    """Return the day of a date; parquet copies hold times."""
    return value[:10]


def _turn(row: Row) -> str:
    turns = row.values.get("turns")
    if not isinstance(turns, list) or len(turns) != 1 or not isinstance(turns[0], str):
        raise InputError(f"{row.where}: field 'turns': expected a list with one question")
    return turns[0]


def _gold(row: Row) -> str:
    value = row.values.get("ground_truth")
    if isinstance(value, list) and value:  # older AMPS_Hard rows list equal forms; upstream takes the last
        value = value[-1]
    if isinstance(value, dict):
        return repr(value)
    if not isinstance(value, str) or not value:
        raise InputError(f"{row.where}: field 'ground_truth': missing or not text")
    return value


def _instructions(row: Row) -> Iterator[dict[str, Any]]:
    names, settings = row.values.get("instruction_id_list") or [], row.values.get("kwargs") or []
    if len(names) != len(settings):
        raise InputError(f"{row.where}: field 'kwargs': {len(settings)} entries for {len(names)} instructions")
    for name, kwargs in zip(names, settings, strict=True):
        if name not in CHECKS:
            raise InputError(f"{row.where}: field 'instruction_id_list': no instruction {name!r}{nearest(str(name), CHECKS)}")
        yield {"id": name, "kwargs": {key: value for key, value in (kwargs or {}).items() if value is not None}}


LIVEBENCH = LiveBench()
