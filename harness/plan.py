"""What a run is going to do, worked out before anything expensive: tasks, problems, verifiers, settings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..benchmarks.base import Benchmark, collect, verifier_of
from ..benchmarks.registry import load_benchmark
from ..rewards.errors import InputError
from ..rewards.plugins import load_verifier
from ..rewards.records import Problem
from ..rewards.serde import encode
from ..rewards.verifier import Verifier
from .config import RunConfig
from .identity import completion_key, request_seed
from .records import DecodeConfig, Request
from .source import Generator, Source, authors_own, settle

if TYPE_CHECKING:
    from .process.apply import Process


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task of a run: its problems (after `limit`), samples per problem, verifier and decode settings.

    `process` rewards the steps of its samples, in training.
    """

    benchmark: Benchmark
    problems: Sequence[Problem]
    samples: int
    verifier: Verifier
    decode: DecodeConfig
    process: "Process | None" = None

    @property
    def name(self) -> str:
        return self.benchmark.name

    @property
    def total(self) -> int:
        return len(self.problems) * self.samples


@dataclass(frozen=True, slots=True)
class Job:
    """One completion to have: its key, its problem and the request that makes it."""

    key: str
    problem: Problem
    request: Request


def plan_tasks(config: RunConfig, source: Source) -> list[TaskPlan]:
    """Load every task of a run. Raises InputError for what is unknown, missing or not allowed."""
    plans = [_plan(name, config, source) for name in config.task]
    names = [plan.name for plan in plans]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"--task: {twice!r} is given twice")
    return plans


def _plan(name: str, config: RunConfig, source: Source) -> TaskPlan:
    benchmark, verifier = load_task(name, config.data, config.task_options, config.rule, config.verifier, config.verifier_options)
    problems = checked_problems(benchmark)[: config.limit]
    decode = authors_own(config.decode, source, benchmark.name) if config.official else config.decode
    if decode.max_new_tokens is None:
        decode = replace(decode, max_new_tokens=_suggested(benchmark, "max_new_tokens"))
    if not decode.stop:
        decode = replace(decode, stop=tuple(_suggested(benchmark, "stop") or ()))
    samples = config.samples or _suggested(benchmark, "samples") or 1
    return TaskPlan(benchmark, problems, samples, verifier, settle(decode, source))


def checked_problems(benchmark: Benchmark) -> Sequence[Problem]:
    """Load a benchmark's problems. Raises InputError when there are none or an id occurs twice."""
    return collect(benchmark.name, (("", problem) for problem in benchmark.load()))


def load_task(
    name: str,
    data: str | None,
    options: Mapping[str, Any],
    rule: str | None,
    verifier: str | None,
    verifier_options: Mapping[str, Any],
) -> tuple[Benchmark, Verifier]:
    """Load a benchmark and what judges it. `rule` goes to the benchmark if it has such an option, else to the verifier."""
    benchmark = load_benchmark(name, data, **options)
    if rule is not None and "rule" in getattr(benchmark, "options", ()):
        benchmark, rule = load_benchmark(name, data, **options, rule=rule), None
    extra = dict(verifier_options) | ({} if rule is None else {"rule": rule})
    if verifier is not None:
        return benchmark, load_verifier(verifier, **extra)
    if not extra:
        return benchmark, verifier_of(benchmark)
    if not isinstance(benchmark.verifier, str):
        raise InputError(f"task {name!r} has a verifier of its own, which takes no options ({', '.join(extra)})")
    own = getattr(benchmark, "verifier_options", {})
    return benchmark, load_verifier(benchmark.verifier, **{**own, **extra})


def _suggested(benchmark: Benchmark, name: str) -> Any:
    """A user's benchmark need not give what `Benchmark` suggests."""
    return getattr(benchmark, name, None)


def jobs(plan: TaskPlan, model: Generator, seed: int) -> Iterator[Job]:
    """Every completion of a task, in order."""
    every = Jobs(plan, model, seed)
    return (every[number] for number in range(len(every)))


class Jobs:
    """Every completion of a task by number, problem by problem: the samples of a problem come together and share its prompt.

    Made when they are asked for; what stays in memory is the key of each that was seen.
    """

    def __init__(self, plan: TaskPlan, model: Generator, seed: int) -> None:
        self._plan, self._model, self._seed = plan, model, seed
        self._keys: dict[int, str] = {}
        self._prompt: tuple[int, tuple[int, ...]] = (-1, ())

    def __len__(self) -> int:
        return self._plan.total

    def __getitem__(self, number: int) -> Job:
        place, sample = divmod(number, self._plan.samples)
        problem, prompt_ids = self._plan.problems[place], self._prompt_ids(place)
        seed = request_seed(self._seed, self._plan.name, problem.id, sample)
        request = Request(problem.id, sample, prompt_ids, seed, messages=problem.prompt)
        asked = prompt_ids or encode(problem.prompt)  # an endpoint makes the tokens itself
        key = completion_key(self._model.info, self._plan.decode, asked, sample, seed)
        return Job(self._keys.setdefault(number, key), problem, request)

    def known(self) -> Iterator[tuple[str, Problem]]:
        """The key and the problem of each, in order; faster than one by one once they were seen."""
        for number in range(len(self)):
            yield self._keys.get(number) or self[number].key, self._plan.problems[number // self._plan.samples]

    def _prompt_ids(self, place: int) -> tuple[int, ...]:
        if self._prompt[0] != place:
            self._prompt = place, self._model.encode(self._plan.problems[place].prompt)
        return self._prompt[1]
