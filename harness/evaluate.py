"""Runs an evaluation into a run directory: generate, verify meanwhile, report. Repeating it resumes.

One thread generates; verdicts come from the pool's processes while it does. Every completion and every verdict is on disk
as soon as it exists. What is there already is neither generated nor judged again, but for what a verifier could not judge.
Several processes may share a run (`sharding`); the one that finds it complete writes the results.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..rewards.errors import InputError
from ..rewards.groups import is_group
from ..rewards.records import Completion, Problem, Verdict
from ..rewards.serde import encode
from .config import RunConfig, first_difference, write_config
from .executor import Executor, Local, Pool
from .plan import Job, Jobs, TaskPlan, plan_tasks
from .process.placement import token_rewards
from .progress import Progress, TaskProgress, show_progress
from .records import Request, Rollout, Sample
from .results import TaskResult, VerifierInfo, summarise
from .sharding import CHUNK, Claims, Shard
from .source import Source, open_source
from .store import Generated, Judged, Lock, Log, check_no_strangers, drop_torn_line, make_folder, turn, write_atomically

if TYPE_CHECKING:
    from .dataset.rows import Entry, Origin


class RunError(RuntimeError):
    """The run did what it could, and its result must not be used as it is. The message says why."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The results of all tasks, and where the run directory is.

    There are none yet while other processes still work on `missing` completions, and none here if another wrote them.
    """

    tasks: tuple[TaskResult, ...]
    path: Path
    missing: int = 0


def evaluate(config: RunConfig, out: Path | str, shard: Shard | None = None, executor: Executor | None = None) -> RunResult:
    """Score a checkpoint; returns the results that `results.json` holds.

    `shard` says which of several processes this is (default: the only one), `executor` where the work is done (default: here).
    Raises InputError for bad settings and RunError when too many samples could not be judged.
    """
    return run(config, Path(out), write_table, shard, executor)


Write = Callable[[Path, Iterator["Entry"], Mapping[str, "Origin"]], None]


def write_table(out: Path, entries: "Iterator[Entry]", origins: "Mapping[str, Origin]") -> None:
    """Leave the samples of a run as one table."""
    from .dataset.write import write_samples

    write_samples(out / "samples.parquet", entries, origins)


def run(config: RunConfig, out: Path, write: Write, shard: Shard | None = None, executor: Executor | None = None) -> RunResult:
    """Generate and judge into the run directory `out`; `write` makes a product of the finished samples."""
    shard = shard or Shard()
    source = open_source(config)
    plans = plan_tasks(config, source)
    make_folder(out)
    lock = Lock(out, shard.rank)
    try:
        return _Run(config, out, source, plans, write, shard, executor or Local()).go()
    finally:
        lock.release()


class _Run:
    def __init__(
        self,
        config: RunConfig,
        out: Path,
        source: Source,
        plans: list[TaskPlan],
        write: Write,
        shard: Shard,
        executor: Executor,
    ) -> None:
        self._config, self._out, self._plans, self._write_product = config, out, plans, write
        self._shard, self._executor = shard, executor
        with turn(out):
            self._check_folder()
        self._model, self._environment = executor.load(config, source, shard.device(config.device))
        with turn(out):
            self._claim_folder()
        self._jobs = [Jobs(plan, self._model, config.seed) for plan in plans]
        self._records = Log(out / "records", Generated, shard.rank)

    def go(self) -> RunResult:
        claims = Claims(self._out, self._shard)
        try:
            for place, (plan, jobs) in enumerate(self._tasks()):
                self._task(plan, jobs, claims, place << 40)
            with turn(self._out):
                return self._finish()
        finally:
            claims.close()
            self._records.close()

    def _tasks(self) -> Iterator[tuple[TaskPlan, Jobs]]:
        return zip(self._plans, self._jobs, strict=True)

    def _finish(self) -> RunResult:
        """Write the results if nothing is missing, as whoever ends last finds."""
        self._records.refresh()
        if self._shard.size > 1 and self._is_written():
            return RunResult((), self._out)
        if missing := sum(self._missing(plan, jobs) for plan, jobs in self._tasks()):
            return RunResult((), self._out, missing)
        results = tuple(self._summary(plan, jobs) for plan, jobs in self._tasks())
        self._write("results.json", {"schema": 1, "tasks": encode(results)})
        self._write_samples()
        self._write(".finished", self._sizes())
        self._check_errors(results)
        return RunResult(results, self._out)

    def _is_written(self) -> bool:
        """Whether another process has written the results of exactly what there is."""
        path = self._out / ".finished"
        return path.exists() and json.loads(path.read_text("utf-8")) == self._sizes()

    def _sizes(self) -> dict[str, int]:
        parts = sorted([*self._out.glob("records/part-*.jsonl"), *self._out.glob("verdicts/*/part-*.jsonl")])
        return {str(part.relative_to(self._out)): size for part in parts if (size := part.stat().st_size)}

    def _missing(self, plan: TaskPlan, jobs: Jobs) -> int:
        with self._verdicts(plan) as verdicts:
            return sum(not (key in self._records and key in verdicts) for key, _ in jobs.known())

    def _check_folder(self) -> None:
        """Refuse a folder that is neither empty nor of the same run."""
        existing = self._out / "config.yaml"
        if not existing.exists():
            check_no_strangers(self._out, "run directory")
        elif difference := first_difference(self._config, existing):
            raise InputError(f"--out: {self._out} is a run with other settings ({difference}); choose another folder")

    def _claim_folder(self) -> None:
        """Take the folder, once all is loaded; what names and "auto" stand for today must be what they stood for at first."""
        meant = {"fingerprint": self._model.info.fingerprint, "dtype": self._model.info.dtype}
        meant |= {f"data of {plan.name}": getattr(plan.benchmark, "revision", "") for plan in self._plans}
        path = self._out / "identity.json"
        if not path.exists():
            write_config(self._config, self._out / "config.yaml")
            self._write("identity.json", meant)
        for name, theirs in json.loads(path.read_text("utf-8")).items():
            if meant.get(name) != theirs:
                change = f"{name} was {theirs!r}, is now {meant.get(name)!r}"
                raise InputError(f"--out: {self._out} was made with something else ({change}); choose another folder")
        self._describe()

    def _describe(self) -> None:
        """Write down what the run is made with: once, if several processes share it."""
        from .dataset.write import write_problems

        if self._shard.rank == 0 or not (self._out / "environment.json").exists():
            self._write("environment.json", self._environment)
            origins = self._origins()
            problems = ((problem, origins[plan.name]) for plan in self._plans for problem in plan.problems)
            write_problems(self._out / "problems.parquet", problems)

    def _task(self, plan: TaskPlan, jobs: Jobs, claims: Claims, base: int) -> None:
        name = plan.name if self._shard.size == 1 else f"{plan.name}, {self._shard}"
        with self._verdicts(plan) as verdicts:
            session = Session(self._records, verdicts, plan)
            try:
                with (
                    self._executor.pool(plan.verifier, self._shard.workers(self._config.workers)) as pool,
                    show_progress(name, plan.total) as progress,
                ):
                    share = _Share(session.over(pool, progress), plan, jobs, claims, base, progress, self._shard)
                    session.start()
                    for requests in (share.own(), share.others()):
                        for rollout in self._model.generate(requests, plan.decode, max_batch=self._config.max_batch):
                            session.add(share.job_of(rollout), rollout)
                    session.finish()
            finally:
                if session.tokens:
                    self._log_session(plan, session)

    def _verdicts(self, plan: TaskPlan) -> Log[Judged]:
        from .identity import verifier_folder

        return Log(self._out / "verdicts" / verifier_folder(plan.verifier), Judged, self._shard.rank)

    def _origins(self) -> "dict[str, Origin]":
        from .dataset.origin import origin_of

        return {plan.name: origin_of(plan, self._config) for plan in self._plans}

    def _samples(self, plan: TaskPlan, jobs: Jobs) -> Iterator[tuple[str, Problem, Sample]]:
        with self._verdicts(plan) as verdicts:
            for key, problem in jobs.known():
                record, judged = self._records.get(key), verdicts.get(key)
                yield key, problem, Sample(plan.name, problem.id, record.cluster, record.rollout, judged.verdict)

    def _entries(self) -> "Iterator[Entry]":
        from .dataset.rows import Entry

        for plan, jobs in self._tasks():
            for key, problem, sample in self._samples(plan, jobs):
                yield Entry(key, problem, sample, self._token_rewards(sample.rollout, sample.verdict))

    def _token_rewards(self, rollout: Rollout, verdict: Verdict) -> list[float] | None:
        """The reward of each token, where the verifier rewards steps."""
        text = getattr(self._model, "text", None)  # an endpoint has no tokens
        if verdict.step_rewards is None or verdict.reward is None or text is None:
            return None
        return token_rewards(rollout, verdict, text)

    def _summary(self, plan: TaskPlan, jobs: Jobs) -> TaskResult:
        return summarise(
            (sample for _, _, sample in self._samples(plan, jobs)),
            plan.benchmark,
            plan.problems,
            task=plan.name,
            metric=getattr(plan.benchmark, "metric", "mean"),
            samples=plan.samples,
            tokens_per_second=self._tokens_per_second(plan),
            data_revision=getattr(plan.benchmark, "revision", ""),
            verifier=VerifierInfo(plan.verifier.name, plan.verifier.version),
            seed=self._config.seed,
            notes=tuple(getattr(plan.benchmark, "notes", ())),
        )

    def _write_samples(self) -> None:
        self._write_product(self._out, self._entries(), self._origins())

    def _log_session(self, plan: TaskPlan, session: "Session") -> None:
        line = {"task": plan.name, "samples": session.samples, "tokens": session.tokens, "seconds": round(session.seconds, 3)}
        path = self._out / "sessions.jsonl"
        with turn(self._out):
            drop_torn_line(path)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(line)}\n")

    def _tokens_per_second(self, plan: TaskPlan) -> float | None:
        path = self._out / "sessions.jsonl"
        drop_torn_line(path)
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        mine = [line for line in lines if line["task"] == plan.name]
        seconds = sum(line["seconds"] for line in mine)
        return round(sum(line["tokens"] for line in mine) / seconds, 1) if seconds else None

    def _check_errors(self, results: tuple[TaskResult, ...]) -> None:
        for result in results:
            errors = result.statuses.get("verifier_error", 0)
            total = result.problems * result.samples
            if errors > self._config.max_verifier_errors * total:
                raise RunError(
                    f"{result.task}: {errors} of {total} samples could not be judged "
                    f"(allowed: {self._config.max_verifier_errors:.0%}); see `detail` in {self._out / 'verdicts'}"
                )

    def _write(self, name: str, data: dict[str, Any]) -> None:
        write_atomically(self._out / name, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def completion_of(rollout: Rollout) -> Completion:
    """What a verifier gets to see of a rollout: the response proper."""
    length = rollout.length
    if rollout.trajectory == "none":
        return Completion(rollout.text, finish=rollout.finish)
    return Completion(rollout.text, rollout.token_ids[:length], rollout.step_map[:length], rollout.finish)


def nothing_generated(rollout: Rollout) -> Verdict:
    """The verdict on a request that could not be decoded."""
    return Verdict(0.0, "unparsed", detail=f"nothing was generated: {rollout.detail}")


class Session:
    """One task in one process: writes what comes, hands it to the pool, and writes the verdicts."""

    def __init__(self, records: Log[Generated], verdicts: Log[Judged], plan: TaskPlan) -> None:
        self._records, self._verdicts, self._plan = records, verdicts, plan
        self._changed = threading.Condition()
        self._waiting = 0
        self._failure: BaseException | None = None
        self.samples = self.tokens = 0
        self._started: float | None = None
        self._ended: float | None = None
        self.when_stored: Callable[[str], None] | None = None

    def over(self, pool: Pool, progress: Progress) -> "Session":
        self._pool, self._progress = pool, progress
        return self

    @property
    def seconds(self) -> float:
        """Time spent generating so far."""
        return 0.0 if self._started is None else (self._ended or time.monotonic()) - self._started

    def start(self) -> None:
        self._started = time.monotonic()

    def add(self, job: Job, rollout: Rollout) -> None:
        """Write a new rollout and have it judged. Raises what went wrong with an earlier verdict, if anything did."""
        if self._failure is not None:
            raise self._failure
        self._records.append(Generated(job.key, self._plan.name, job.problem.cluster, rollout))
        self.samples, self.tokens, self._ended = self.samples + 1, self.tokens + rollout.length, time.monotonic()
        self._progress.generated(rollout)
        self._judge(job, rollout)

    def judge_recorded(self, job: Job, *, again: bool = False) -> None:
        """Judge a completion of an earlier session, unless that was done; `again` does so even then."""
        known = None if again else self.verdict(job)
        if known is None:
            self._judge(job, self._records.get(job.key).rollout)
        else:
            self._progress.judged(known)

    def has(self, job: Job) -> bool:
        """Whether its completion is there."""
        return job.key in self._records

    def verdict(self, job: Job) -> Verdict | None:
        """The verdict that is there. A verifier's error is none, unless it is of this launch: then it was tried again."""
        with self._changed:
            if job.key not in self._verdicts:
                return None
            verdict = self._verdicts.get(job.key).verdict
            stale = verdict.status == "verifier_error" and not self._verdicts.is_new(job.key)
        return None if stale else verdict

    def refresh(self) -> None:
        """Read what other processes have written."""
        with self._changed:
            self._records.refresh()
            self._verdicts.refresh()

    def sync(self) -> None:
        """Have all that was written where other machines see it."""
        self._records.sync()
        self._verdicts.sync()

    def finish(self) -> None:
        """Wait for all verdicts."""
        self._pool.give_up_groups()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting == 0)
        if self._failure is not None:
            raise self._failure

    def _judge(self, job: Job, rollout: Rollout) -> None:
        if rollout.finish == "error":
            self._store(job.key, nothing_generated(rollout))
            return
        completion = completion_of(rollout)
        with self._changed:
            self._waiting += 1
        verdict = self._pool.submit(job.problem, completion, self._plan.samples)
        verdict.add_done_callback(partial(self._when_judged, job.key))

    def _when_judged(self, key: str, future: Future[Verdict]) -> None:
        """Called by the pool, in its own thread or here: keep the verdict, or what went wrong, for this thread to raise."""
        try:
            if not future.cancelled():
                self._store(key, future.result())
        except Exception as error:
            self._failure = error
        with self._changed:
            self._waiting -= 1
            self._changed.notify_all()

    def _store(self, key: str, verdict: Verdict) -> None:
        with self._changed:
            self._verdicts.append(Judged(key, verdict))
        self._progress.judged(verdict)
        if self.when_stored is not None:
            self.when_stored(key)


class _Share:
    """The jobs of a task that fall to this process: claims chunks of them, and gives back those that are done."""

    def __init__(
        self,
        session: Session,
        plan: TaskPlan,
        jobs: Jobs,
        claims: Claims,
        base: int,
        progress: TaskProgress,
        shard: Shard,
    ) -> None:
        self._session, self._jobs, self._claims, self._base, self._progress = session, jobs, claims, base, progress
        self._sync = shard.size > 1
        # What is judged together is generated by one process and, where a verdict of it is missing, judged again together.
        self._group = plan.samples if is_group(plan.verifier) else 1
        self._chunk = -(-CHUNK // self._group) * self._group
        self._count = -(-len(jobs) // self._chunk)
        self._lock = threading.Lock()
        self._chunks: dict[str, int] = {}
        self._left: dict[int, int] = {}
        self._asked: dict[tuple[str, int], Job] = {}
        session.when_stored = self._stored

    def own(self) -> Iterator[Request]:
        """Yield what this process is to generate; what was generated and not judged is judged on the way."""
        return self._requests(self._claims.own(self._count))

    def others(self) -> Iterator[Request]:
        """The same of what others have not begun."""
        return self._requests(self._claims.others(self._count))

    def _requests(self, chunks: Iterator[int]) -> Iterator[Request]:
        for chunk in chunks:
            first = chunk * self._chunk
            jobs = [self._jobs[number] for number in range(first, min(first + self._chunk, len(self._jobs)))]
            todo = self._claim(chunk, jobs) if self._todo(jobs) else []
            if todo is not None:
                yield from self._missing(jobs, set(todo))

    def job_of(self, rollout: Rollout) -> Job:
        return self._asked.pop((rollout.problem_id, rollout.sample))

    def _todo(self, jobs: list[Job]) -> list[str]:
        """The keys of what has to be generated or judged."""
        groups = [jobs[start : start + self._group] for start in range(0, len(jobs), self._group)]
        return [job.key for group in groups if not all(map(self._is_done, group)) for job in group]

    def _is_done(self, job: Job) -> bool:
        return self._session.has(job) and self._session.verdict(job) is not None

    def _claim(self, chunk: int, jobs: list[Job]) -> list[str] | None:
        """Take a chunk; returns what is left to do of it, None when another process works on it."""
        if not self._claims.take(self._base + chunk):
            return None
        self._session.refresh()  # another process may have done some of it before it gave the chunk back, or died
        if todo := self._todo(jobs):
            with self._lock:
                self._chunks |= dict.fromkeys(todo, chunk)
                self._left[chunk] = len(todo)
        else:
            self._claims.give_back(self._base + chunk)
        return todo

    def _missing(self, jobs: list[Job], todo: set[str]) -> Iterator[Request]:
        for job in jobs:
            if self._session.has(job):
                self._progress.present()
                self._session.judge_recorded(job, again=job.key in todo)
            else:
                self._asked[job.request.problem_id, job.request.sample] = job
                yield job.request

    def _stored(self, key: str) -> None:
        """A verdict is written; after the last of a chunk other processes may look whether that is so."""
        with self._lock:
            chunk = self._chunks.pop(key)
            self._left[chunk] -= 1
            if self._left[chunk]:
                return
            del self._left[chunk]
        if self._sync:
            self._session.sync()
        self._claims.give_back(self._base + chunk)
