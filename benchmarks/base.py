"""What a benchmark is: a name, problems, and the verifier that judges them.

Only `name`, `verifier` and `load` have to be given; whoever inherits from `Benchmark` gets the rest as defaults. A benchmark
holds no results and runs nothing: the harness asks the problems, the verifier judges the answers.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from ..rewards.errors import InputError
from ..rewards.records import Problem
from ..rewards.verifier import Verifier

# Zero-shot protocol of the SDAR and TraDo evaluations (dLLM-RL, OpenCompass "gsm8k 0-shot v2"): one user turn, no system turn.
BOXED_PROMPT = "{problem}\nPlease reason step by step, and put your final answer within \\boxed{}."
BOXED_PROMPT_SOURCE = "SDAR/TraDo zero-shot boxed prompt (Gen-Verse/dLLM-RL @ 10b4fd1c; OpenCompass gsm8k 0-shot v2)"


class Benchmark(Protocol):
    """A task: problems, and how their answers are judged.

    It may also have `stop` (strings that end an answer), `gold` (see `gold_text`), `groups` or `aggregate` (see `breakdown`),
    `metrics` (parts of its verdicts that are reported as scores of their own), and `weights(problems) -> {id: (part, weight)}`
    when its official score is not the mean over problems.
    """

    name: str
    """Short name, with the variant if it is not the default one: "gsm8k", "gsm8k@train"."""

    verifier: Verifier | str
    """A verifier, or what `load_verifier` understands: "math", "package.module:attribute", "file.py:attribute"."""

    verifier_options: Mapping[str, Any] = {}
    """Options for a verifier given by name."""

    description: str = ""
    """One line for `unmask list tasks`."""

    revision: str = ""
    """Which data: "sha256:<content hash>" for a file, "<hub id>@<commit>" for a hub dataset. Part of a run's identity."""

    size: int | None = None
    """Number of problems of the unmodified default variant, when known without loading."""

    metric: str = "mean"
    """What the mean of c/k over problems is called in reports: "mean", or "avg@k" where one sample says little."""

    samples: int = 1
    """Suggested samples per problem."""

    max_new_tokens: int = 2048
    """Suggested length limit of an answer."""

    prompt_template: str = ""
    """How a problem is asked, with a `{problem}` placeholder; empty when the rows carry complete prompts."""

    prompt_source: str = ""
    """Whose protocol the prompt is."""

    notes: tuple[str, ...] = ()
    """What a reader of the score should know: label errors, contamination."""

    def load(self) -> Sequence[Problem]:
        """Return all problems, in the order of the data. Raises InputError when data is missing or malformed."""


def verifier_of(benchmark: Benchmark) -> Verifier:
    """Return the benchmark's verifier, resolving a verifier given by name. Raises InputError for an unknown name."""
    if not isinstance(benchmark.verifier, str):
        return benchmark.verifier
    from ..rewards.plugins import load_verifier  # here, so that listing tasks does not load verifiers

    return load_verifier(benchmark.verifier, **benchmark.verifier_options)


def gold_text(benchmark: Benchmark, problem: Problem) -> str | None:
    """Return a completion that answers `problem` rightly, or None when the data holds none.

    A benchmark whose references are not short answers in text says it with a method `gold(problem) -> str | None`.
    """
    gold = getattr(benchmark, "gold", None)
    if gold is not None:
        return cast(str | None, gold(problem))
    return boxed(problem.reference) if isinstance(problem.reference, str) else None


def boxed(answer: str) -> str:
    """Return a short answer in a box."""
    return f"\\boxed{{{answer}}}"


def breakdown(benchmark: Benchmark, problems: Iterable[Problem], scores: Mapping[str, float]) -> dict[str, float]:
    """Return the scores of parts of a benchmark ("subject/Algebra": 0.7), and totals that its authors define.

    `scores` maps problem ids to the mean score over samples. The parts are the values of the metadata that the benchmark names
    in `groups`; a benchmark with a method `aggregate(problems, scores)` says it itself.
    """
    aggregate = getattr(benchmark, "aggregate", None)
    if aggregate is not None:
        return dict(aggregate(problems, scores))
    found: dict[str, list[float]] = defaultdict(list)
    for problem in problems:
        for group in getattr(benchmark, "groups", ()):
            if problem.id in scores and group in problem.metadata:
                found[f"{group}/{problem.metadata[group]}"].append(scores[problem.id])
    return {part: sum(values) / len(values) for part, values in sorted(found.items())}


def collect(task: str, placed: Iterable[tuple[str, Problem]]) -> tuple[Problem, ...]:
    """Return the problems of (place in the data, problem) pairs. Raises InputError when there are none, or an id comes twice."""
    problems: dict[str, Problem] = {}
    for where, problem in placed:
        if problem.id in problems:
            place = f"{where}: " if where else f"task {task!r}: "
            raise InputError(f"{place}problem id {problem.id!r} occurs twice")
        problems[problem.id] = problem
    if not problems:
        raise InputError(f"task {task!r}: the data holds no problems")
    return tuple(problems.values())
