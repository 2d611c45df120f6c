"""Generates and judges: the samples of a step's draws, or of an evaluation. Verdicts come while generation goes on.

Everything is on disk as soon as it exists, under keys made of weights, settings, prompt, sample and seed: a step that was
interrupted uses again what it had. Ranks share the work by number and exchange results through the run directory only.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..harness.evaluate import Session
from ..harness.identity import Named, completion_key, request_seed, verifier_folder
from ..harness.models.model import Model
from ..harness.plan import Job, TaskPlan
from ..harness.process.apply import Process
from ..harness.process.base import Context
from ..harness.progress import Progress
from ..harness.records import DecodeConfig, Request, Sample
from ..harness.store import Generated, Judged, Log
from ..rewards.errors import InputError
from ..rewards.groups import is_group
from ..rewards.pool import VerifierPool
from ..rewards.verifier import Verifier
from .parallel import rank, world_size
from .problems import Draw
from .sharding import barrier


class Pools:
    """One verification pool per verifier, kept for the whole run."""

    def __init__(self, workers: int | None) -> None:
        self._workers = workers
        self._pools: dict[tuple[str, str], VerifierPool] = {}
        self._stack = ExitStack()

    def of(self, verifier: Verifier) -> VerifierPool:
        """The pool of a verifier, started when it is first asked for."""
        key = (verifier.name, verifier.version)
        if key not in self._pools:
            self._pools[key] = self._stack.enter_context(VerifierPool(verifier, self._workers))
        return self._pools[key]

    def __enter__(self) -> "Pools":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Order:
    """What to generate: samples of one task, decoded in one way."""

    task: TaskPlan
    decode: DecodeConfig
    jobs: Sequence[Job]


@dataclass(slots=True)
class Clock:
    """Seconds spent generating, and waiting for verdicts after that."""

    generating: float = 0.0
    judging: float = 0.0


def order(model: Model, task: TaskPlan, draws: Iterable[Draw], decode: DecodeConfig, samples: int, seed: int) -> Order:
    """The jobs of `draws` of a task, `samples` each. A problem that is drawn again gets other seeds."""
    jobs = []
    for draw in draws:
        prompt_ids = model.encode(draw.problem.prompt)
        for sample in range(samples):
            own = request_seed(seed, f"{task.name}#{draw.number}", draw.problem.id, sample)
            request = Request(draw.problem.id, sample, prompt_ids, own)
            jobs.append(Job(completion_key(model.info, decode, prompt_ids, sample, own), draw.problem, request))
    return Order(task, decode, jobs)


def collect(
    model: Model, orders: Sequence[Order], folder: Path, pools: Pools, progress: Progress, max_batch: int, clock: Clock
) -> list[list[Sample]]:
    """Have all jobs of `orders` generated and judged, this rank's share of them here; returns every rank's samples, in order."""
    for one in orders:
        if world_size() > 1 and is_group(one.task.verifier):
            raise InputError(f"task {one.task.name!r}: verifier {one.task.verifier.name!r} judges groups, which ranks share")
        mine = one.jobs[rank() :: world_size()]
        with _logs(folder, one.task.verifier) as (records, verdicts):
            session = Session(records, verdicts, one.task).over(pools.of(one.task.verifier), progress)
            _generate(model, mine, one.decode, session, records, max_batch, clock)
        if one.task.process is not None:
            _reward_steps(one, one.task.process, mine, folder, model, pools, max_batch, clock)
    barrier()
    return [_samples(one, folder) for one in orders]


def _generate(
    model: Model,
    jobs: Sequence[Job],
    decode: DecodeConfig,
    session: Session,
    records: Log[Generated],
    max_batch: int,
    clock: Clock,
) -> None:
    started = time.monotonic()
    for job in jobs:
        if job.key in records:
            session.judge_recorded(job)
    missing = {(job.request.problem_id, job.request.seed): job for job in jobs if job.key not in records}
    requests = (job.request for job in missing.values())
    session.start()
    for rollout in model.generate(requests, decode, max_batch=max_batch):
        session.add(missing[rollout.problem_id, rollout.seed], rollout)
    generated = time.monotonic()
    session.finish()
    clock.generating += generated - started
    clock.judging += time.monotonic() - generated


def _reward_steps(
    one: Order, process: Process, jobs: Sequence[Job], folder: Path, model: Model, pools: Pools, max_batch: int, clock: Clock
) -> None:
    """Reward the steps of judged samples; the combined verdicts have a log of their own, and what is in it is not done again."""
    started = time.monotonic()
    verifier = one.task.verifier
    context = Context(lambda: model, model.tokenizer, lambda task: pools.of(verifier), pools.of, max_batch=max_batch)
    problems = {job.problem.id: job.problem for job in jobs}
    with _logs(folder, verifier) as (records, verdicts), _logs(folder, _judge(one.task)) as (_, rewarded):
        todo = [job for job in jobs if job.key not in rewarded]
        samples = (_sample(one, job, records, verdicts) for job in todo)
        for job, sample in zip(todo, process.stream(samples, problems, context), strict=True):
            rewarded.append(Judged(job.key, sample.verdict))
    clock.judging += time.monotonic() - started


@dataclass(frozen=True, slots=True)
class _Both:
    """A verifier together with a process reward."""

    name: str
    version: str


def _judge(task: TaskPlan) -> Named:
    """Who says what a sample of the task is worth in the end."""
    verifier, process = task.verifier, task.process
    if process is None:
        return verifier
    return _Both(f"{verifier.name}+{process.name}", f"{verifier.version} {process.version}")


@contextmanager
def _logs(folder: Path, verifier: Named) -> Iterator[tuple[Log[Generated], Log[Judged]]]:
    """The logs of a folder, this rank's own part open for writing."""
    with ExitStack() as stack:
        records = Log(folder / "records", Generated, rank())
        stack.callback(records.close)
        verdicts = Log(folder / "verdicts" / verifier_folder(verifier), Judged, rank())
        stack.callback(verdicts.close)
        yield records, verdicts


def _samples(one: Order, folder: Path) -> list[Sample]:
    with _logs(folder, _judge(one.task)) as (records, verdicts):
        return [_sample(one, job, records, verdicts) for job in one.jobs]


def _sample(one: Order, job: Job, records: Log[Generated], verdicts: Log[Judged]) -> Sample:
    record, judged = records.get(job.key), verdicts.get(job.key)
    return Sample(one.task.name, job.problem.id, record.cluster, record.rollout, judged.verdict)
