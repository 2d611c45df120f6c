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
from ..harness.identity import completion_key, request_seed, verifier_folder
from ..harness.models.model import Model
from ..harness.plan import Job, TaskPlan
from ..harness.progress import Progress
from ..harness.records import DecodeConfig, Request, Sample
from ..harness.store import Generated, Judged, Log
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
        mine = one.jobs[rank() :: world_size()]
        with _logs(folder, one.task.verifier) as (records, verdicts):
            session = Session(records, verdicts, one.task).over(pools.of(one.task.verifier), progress)
            _generate(model, mine, one.decode, session, records, max_batch, clock)
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


@contextmanager
def _logs(folder: Path, verifier: Verifier) -> Iterator[tuple[Log[Generated], Log[Judged]]]:
    """The logs of a folder, this rank's own part open for writing."""
    with ExitStack() as stack:
        records = Log(folder / "records", Generated, rank())
        stack.callback(records.close)
        verdicts = Log(folder / "verdicts" / verifier_folder(verifier), Judged, rank())
        stack.callback(verdicts.close)
        yield records, verdicts


def _samples(one: Order, folder: Path) -> list[Sample]:
    with _logs(folder, one.task.verifier) as (records, verdicts):
        out = []
        for job in one.jobs:
            record, judged = records.get(job.key), verdicts.get(job.key)
            out.append(Sample(one.task.name, job.problem.id, record.cluster, record.rollout, judged.verdict))
        return out
