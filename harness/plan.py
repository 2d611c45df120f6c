"""What a run is going to do, worked out before anything expensive: tasks, problems, verifiers, settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..benchmarks.base import Benchmark, verifier_of
from ..benchmarks.registry import load_benchmark
from ..rewards.errors import InputError
from ..rewards.plugins import load_verifier
from ..rewards.records import Problem
from ..rewards.verifier import Verifier
from .config import RunConfig
from .identity import completion_key, request_seed
from .models.checkpoint import Checkpoint
from .models.model import Model, resolve
from .records import DecodeConfig, Request


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task of a run: its problems (after `limit`), samples per problem, verifier and decode settings."""

    benchmark: Benchmark
    problems: Sequence[Problem]
    samples: int
    verifier: Verifier
    decode: DecodeConfig

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


def plan_tasks(config: RunConfig, checkpoint: Checkpoint) -> list[TaskPlan]:
    """Load every task of a run. Raises InputError for what is unknown, missing or not allowed."""
    plans = [_plan(name, config, checkpoint) for name in config.task]
    names = [plan.name for plan in plans]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"--task: {twice!r} is given twice")
    return plans


def _plan(name: str, config: RunConfig, checkpoint: Checkpoint) -> TaskPlan:
    benchmark = load_benchmark(name, config.data, **config.task_options)
    problems = benchmark.load()[: config.limit]
    verifier = load_verifier(config.verifier) if config.verifier else verifier_of(benchmark)
    decode = config.decode
    if decode.max_new_tokens is None:
        decode = replace(decode, max_new_tokens=_suggested(benchmark, "max_new_tokens"))
    samples = config.samples or _suggested(benchmark, "samples") or 1
    return TaskPlan(benchmark, problems, samples, verifier, resolve(decode, checkpoint))


def _suggested(benchmark: Benchmark, name: str) -> Any:
    """A user's benchmark need not give what `Benchmark` suggests."""
    return getattr(benchmark, name, None)


def jobs(plan: TaskPlan, model: Model, seed: int) -> Iterator[Job]:
    """Every completion of a task, problem by problem: the samples of a problem come together and share its prompt."""
    for problem in plan.problems:
        prompt_ids = model.encode(problem.prompt)
        for sample in range(plan.samples):
            request = Request(problem.id, sample, prompt_ids, request_seed(seed, plan.name, problem.id, sample))
            yield Job(completion_key(model.info, plan.decode, prompt_ids, sample, request.seed), problem, request)
