"""Runs an evaluation into a run directory: generate, verify meanwhile, report. Repeating it resumes.

One thread generates; verdicts come from the pool's processes while it does. Every completion and every verdict is on disk
as soon as it exists. What is there already is neither generated nor judged again, but for what a verifier could not judge.
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
from ..rewards.pool import VerifierPool
from ..rewards.records import Completion, Verdict
from ..rewards.serde import encode
from .config import RunConfig, first_difference, write_config
from .environment import environment
from .models.checkpoint import open_checkpoint
from .models.model import load_model
from .plan import Job, TaskPlan, jobs, plan_tasks
from .progress import Progress, show_progress
from .records import Rollout, Sample
from .results import TaskResult, VerifierInfo, summarise
from .store import Generated, Judged, Lock, Log, check_no_strangers, drop_torn_line, make_folder, write_atomically

if TYPE_CHECKING:
    from .dataset.rows import Entry, Origin

SMALL_MODEL = 20_000_000
"""Parameters below which one thread decodes nearly as fast as two on an idle machine, and several times faster on a busy one."""


class RunError(RuntimeError):
    """The run did what it could, and its result must not be used as it is. The message says why."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The results of all tasks, and where the run directory is."""

    tasks: tuple[TaskResult, ...]
    path: Path


def evaluate(config: RunConfig, out: Path | str) -> RunResult:
    """Score a checkpoint; returns the results that `results.json` holds.

    Raises InputError for bad settings and RunError when too many samples could not be judged.
    """
    return run(config, Path(out), write_table)


Write = Callable[[Path, Iterator["Entry"], Mapping[str, "Origin"]], None]


def write_table(out: Path, entries: "Iterator[Entry]", origins: "Mapping[str, Origin]") -> None:
    """Leave the samples of a run as one table."""
    from .dataset.write import write_samples

    write_samples(out / "samples.parquet", entries, origins)


def run(config: RunConfig, out: Path, write: Write) -> RunResult:
    """Generate and judge into the run directory `out`; `write` makes a product of the finished samples."""
    plans = plan_tasks(config, open_checkpoint(config.model, **config.model_options()))
    make_folder(out)
    lock = Lock(out)
    try:
        return _Run(config, out, plans, write).go()
    finally:
        lock.release()


class _Run:
    def __init__(self, config: RunConfig, out: Path, plans: list[TaskPlan], write: Write) -> None:
        self._config, self._out, self._plans, self._write_product = config, out, plans, write
        self._check_folder()
        self._model = load_model(config.model, dtype=config.dtype, device=config.device, **config.model_options())
        self._claim_folder()
        self._set_threads()
        self._write("environment.json", environment(self._model, config))
        self._records = Log(out / "records", Generated)

    def _set_threads(self) -> None:
        """Threads that share a small matrix mostly wait for each other, and badly so beside the verifier's processes."""
        import torch

        small = sum(p.numel() for p in self._model.network.parameters()) < SMALL_MODEL
        threads = self._config.threads or (1 if small else None)
        if threads is not None:
            torch.set_num_threads(threads)

    def go(self) -> RunResult:
        from .dataset.write import write_problems

        origins = self._origins()
        problems = ((problem, origins[plan.name]) for plan in self._plans for problem in plan.problems)
        write_problems(self._out / "problems.parquet", problems)
        try:
            results = tuple(self._task(plan) for plan in self._plans)
            self._write("results.json", {"schema": 1, "tasks": encode(results)})
            self._write_samples()
        finally:
            self._records.close()
        self._check_errors(results)
        return RunResult(results, self._out)

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
            return
        for name, theirs in json.loads(path.read_text("utf-8")).items():
            if meant.get(name) != theirs:
                change = f"{name} was {theirs!r}, is now {meant.get(name)!r}"
                raise InputError(f"--out: {self._out} was made with something else ({change}); choose another folder")

    def _task(self, plan: TaskPlan) -> TaskResult:
        todo = list(jobs(plan, self._model, self._config.seed))
        done = sum(job.key in self._records for job in todo)
        verdicts = self._verdicts(plan)
        session = Session(self._records, verdicts, plan)
        try:
            with (
                VerifierPool(plan.verifier, self._config.workers) as pool,
                show_progress(plan.name, plan.total, done) as progress,
            ):
                self._generate_and_judge(todo, session.over(pool, progress), plan)
        finally:
            verdicts.close()
            if session.tokens:
                self._log_session(plan, session)
        return self._summary(plan, todo)

    def _generate_and_judge(self, todo: list[Job], session: "Session", plan: TaskPlan) -> None:
        for job in todo:
            if job.key in self._records:
                session.judge_recorded(job)
        missing = {(job.request.problem_id, job.request.sample): job for job in todo if job.key not in self._records}
        requests = (job.request for job in missing.values())
        session.start()
        for rollout in self._model.generate(requests, plan.decode, max_batch=self._config.max_batch):
            session.add(missing[rollout.problem_id, rollout.sample], rollout)
        session.finish()

    def _verdicts(self, plan: TaskPlan) -> Log[Judged]:
        from .identity import verifier_folder

        return Log(self._out / "verdicts" / verifier_folder(plan.verifier), Judged)

    def _origins(self) -> "dict[str, Origin]":
        from .dataset.origin import origin_of

        return {plan.name: origin_of(plan, self._config) for plan in self._plans}

    def _entries(self, plan: TaskPlan, todo: list[Job]) -> "Iterator[Entry]":
        from .dataset.rows import Entry

        verdicts = self._verdicts(plan)
        try:
            for job in todo:
                record, judged = self._records.get(job.key), verdicts.get(job.key)
                sample = Sample(plan.name, job.problem.id, record.cluster, record.rollout, judged.verdict)
                yield Entry(job.key, job.problem, sample)
        finally:
            verdicts.close()

    def _summary(self, plan: TaskPlan, todo: list[Job]) -> TaskResult:
        return summarise(
            (entry.sample for entry in self._entries(plan, todo)),
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
        entries = (
            entry for plan in self._plans for entry in self._entries(plan, list(jobs(plan, self._model, self._config.seed)))
        )
        self._write_product(self._out, entries, self._origins())

    def _log_session(self, plan: TaskPlan, session: "Session") -> None:
        line = {"task": plan.name, "samples": session.samples, "tokens": session.tokens, "seconds": round(session.seconds, 3)}
        path = self._out / "sessions.jsonl"
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

    def over(self, pool: VerifierPool, progress: Progress) -> "Session":
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

    def judge_recorded(self, job: Job) -> None:
        """Judge a completion of an earlier session, unless that was done. A verifier's error is not a verdict: it tries again."""
        known = self._verdicts.get(job.key).verdict if job.key in self._verdicts else None
        if known is None or known.status == "verifier_error":
            self._judge(job, self._records.get(job.key).rollout)
        else:
            self._progress.judged(known)

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
