"""`unmask score`: judges existing completions. No model is loaded and nothing is generated.

Lines are read, judged and written as a stream, in input order: at most `AHEAD` of them are in memory, and of each problem the
sum of its rewards. Repeating the command goes on after the last verdict that was written, and judges again what the verifier
could not judge.
"""

import hashlib
import json
import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

from ..benchmarks.base import Benchmark
from ..rewards.errors import InputError, nearest
from ..rewards.groups import is_group
from ..rewards.records import Completion, Problem, StepReward, Verdict
from ..rewards.serde import dump_line, encode, read_jsonl
from ..rewards.verifier import Verifier
from .evaluate import completion_of, nothing_generated
from .executor import Executor, Local, Pool
from .progress import ScoreProgress
from .results import VerifierInfo
from .statistics import Estimate
from .store import Generated, Lock, check_no_strangers, drop_torn_line, make_folder, write_atomically
from .tally import TaskTally

AHEAD = 1024
"""Lines that may be read and judged while an earlier one is still being judged."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An input line. `problem_id` (default: `id`) picks the task's reference; with a verifier alone, `reference` is here."""

    id: str
    completion: str
    reference: Any = None
    problem_id: str | None = None
    sample: int = 0
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """An output line of `verdicts.jsonl`, in input order."""

    id: str
    reward: float | None
    status: str
    extracted: str | None
    expected: str | None
    seconds: float
    detail: str
    parts: dict[str, float]
    step_rewards: tuple[StepReward, ...] | None = None


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """What `results.json` of a scoring holds. `problems` counts distinct problem ids."""

    schema: ClassVar[int] = 1

    source: str
    task: str | None
    verifier: VerifierInfo
    score: Estimate | None
    problems: int
    completions: int
    statuses: dict[str, int]
    breakdown: dict[str, float]
    metrics: dict[str, float]
    data_revision: str = ""
    notes: tuple[str, ...] = ()


class _Input(NamedTuple):
    """A completion to judge; `verdict` when there is nothing to judge."""

    answer: Answer
    completion: Completion
    verdict: Verdict | None = None


class _Item(NamedTuple):
    id: str
    problem: Problem


def read_answers(source: Path, task: str | None) -> Iterator[_Input]:
    """Yield the completions of a JSONL file, or those of `task` in a run directory. Raises InputError naming file and line."""
    if source.is_file():
        for answer in read_jsonl(source, Answer):
            yield _Input(answer, Completion(answer.completion))
        return
    parts = sorted((source / "records").glob("part-*.jsonl"))
    if not parts:
        raise InputError(f"{source}: neither a JSONL file of completions nor a run directory with records")
    for part in parts:
        for line in read_jsonl(part, Generated, torn_tail=True):
            if task is None or line.task == task:
                yield _recorded(line)


def _recorded(line: Generated) -> _Input:
    """A recorded completion is judged exactly as the run judged it."""
    rollout = line.rollout
    answer = Answer(line.key, rollout.text, None, rollout.problem_id, rollout.sample)
    return _Input(answer, completion_of(rollout), nothing_generated(rollout) if rollout.finish == "error" else None)


class Judge:
    """Scores the completions of `source` into the folder `out`. Problems come from a task, or from the lines themselves."""

    def __init__(
        self,
        source: Path,
        out: Path,
        verifier: Verifier,
        problems: Mapping[str, Problem] | None,
        workers: int | None,
        benchmark: Benchmark | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._executor = executor or Local()
        self._source, self._out, self._verifier, self._problems, self._workers = source, out, verifier, problems, workers
        self._tally = TaskTally(benchmark, (problems or {}).values())
        self._statuses: dict[str, int] = {}
        self._completions = 0
        self._sizes: Counter[str] = Counter()

    def run(self, **facts: Any) -> ScoreResult:
        """Judge what is left to judge and write `verdicts.jsonl` and `results.json`."""
        make_folder(self._out)
        lock = Lock(self._out)
        try:
            self._claim(facts)
            self._judge_rest(facts.get("task"))
        finally:
            lock.release()
        result = ScoreResult(
            source=str(self._source),
            verifier=VerifierInfo(self._verifier.name, self._verifier.version),
            score=self._tally.score(),
            problems=len(self._tally),
            completions=self._completions,
            statuses=dict(sorted(self._statuses.items(), key=lambda item: -item[1])),
            breakdown=self._tally.breakdown(),
            metrics=self._tally.metrics(),
            **facts,
        )
        write_atomically(self._out / "results.json", json.dumps(encode(result), indent=1, ensure_ascii=False) + "\n")
        return result

    def _claim(self, facts: dict[str, Any]) -> None:
        """Take an empty folder, or one of the same scoring."""
        identity = {"source": str(self._source.resolve()), "content": _content(self._source), "task": facts.get("task")}
        identity |= {"verifier": [self._verifier.name, self._verifier.version], "data_revision": facts.get("data_revision")}
        path, verdicts = self._out / "scoring.json", self._out / "verdicts.jsonl"
        if not path.exists():
            check_no_strangers(self._out, "scoring")
        # Where no verdict was written yet there is nothing to mix up: the source may have been mended since.
        if not path.exists() or not verdicts.exists() or verdicts.stat().st_size == 0:
            write_atomically(path, json.dumps(identity, indent=1) + "\n")
            return
        theirs = json.loads(path.read_text())
        for key, value in identity.items():
            if theirs.get(key) != value:
                raise InputError(f"--out: {self._out} is another scoring ({key} was {theirs.get(key)!r}); choose another folder")

    def _judge_rest(self, task: str | None) -> None:
        path = self._out / "verdicts.jsonl"
        drop_torn_line(path)
        if is_group(self._verifier):
            self._sizes = Counter(
                _problem_id(entry.answer) for entry in read_answers(self._source, task) if entry.verdict is None
            )
        with self._executor.pool(self._verifier, self._workers) as pool:
            if path.exists() and not self._sizes and any(line.status == "verifier_error" for line in read_jsonl(path, Scored)):
                self._mend(pool, path, task)
            inputs = enumerate(read_answers(self._source, task))
            done = self._recount(path, inputs) if path.exists() else 0
            self._rejoin(pool, task, done)
            progress = ScoreProgress(done)
            with path.open("ab") as file:
                for item, verdict in self._verdicts(pool, inputs):
                    self._write(file, progress, item, verdict)
        progress.finish()
        if self._completions == 0:
            raise InputError(f"{self._source}: holds no completions")

    def _verdicts(self, pool: Pool, inputs: Iterator[tuple[int, _Input]]) -> Iterator[tuple[_Item, Verdict]]:
        """Judge what is left of the input; yield the verdicts in its order."""
        waiting: deque[tuple[_Item, Future[Verdict]]] = deque()
        # A group is judged once its last sample was read, however far away that is.
        ahead = AHEAD if not self._sizes else sys.maxsize
        for number, entry in inputs:
            item = self._item(number, entry)
            waiting.append((item, self._judged(pool, item.problem, entry)))
            while waiting and (len(waiting) >= ahead or waiting[0][1].done()):
                item, future = waiting.popleft()
                yield item, future.result()
        for item, future in waiting:
            yield item, future.result()

    def _mend(self, pool: Pool, path: Path, task: str | None) -> None:
        """Judge again what a verifier could not judge in an earlier session, and put the verdicts in their places."""
        fresh = path.with_name(".verdicts.jsonl.new")
        pairs = zip(read_jsonl(path, Scored), enumerate(read_answers(self._source, task)), strict=False)
        again = self._verdicts(pool, (entry for line, entry in pairs if line.status == "verifier_error"))
        with fresh.open("wb") as file:
            for line in read_jsonl(path, Scored):
                file.write(dump_line(_scored(*next(again)) if line.status == "verifier_error" else line))
        fresh.replace(path)

    def _rejoin(self, pool: Pool, task: str | None, done: int) -> None:
        """Judge again what was written of groups that are not complete: the rest of them needs it."""
        if not self._sizes:
            return
        written = Counter(_problem_id(entry.answer) for entry in islice(read_answers(self._source, task), done))
        for number, entry in enumerate(islice(read_answers(self._source, task), done)):
            name = _problem_id(entry.answer)
            if written[name] < self._sizes[name]:
                self._judged(pool, self._problem(entry.answer, number), entry)

    def _judged(self, pool: Pool, problem: Problem, entry: _Input) -> "Future[Verdict]":
        if entry.verdict is None:
            return pool.submit(problem, entry.completion, self._sizes[_problem_id(entry.answer)])
        decided: Future[Verdict] = Future()
        decided.set_result(entry.verdict)
        return decided

    def _recount(self, path: Path, inputs: Iterator[tuple[int, _Input]]) -> int:
        """Count the verdicts that are there, beside the lines they belong to."""
        done = 0
        for scored in read_jsonl(path, Scored):
            number, entry = next(inputs, (done, None))
            if entry is None or entry.answer.id != scored.id:
                raise InputError(f"{path}, line {done + 1}: is about {scored.id!r}, the source has another line there")
            self._count(self._item(number, entry), scored)
            done += 1
        return done

    def _item(self, number: int, entry: _Input) -> _Item:
        return _Item(entry.answer.id, self._problem(entry.answer, number))

    def _problem(self, answer: Answer, number: int) -> Problem:
        name, place = _problem_id(answer), f"{self._source}, line {number + 1}"
        if self._problems is None:
            if answer.reference is None:
                raise InputError(f"{place}: field 'reference': missing; a verifier alone needs it (or give --task)")
            return Problem(name, "", (), answer.reference, answer.metadata or {})
        if name not in self._problems:
            hint = nearest(name, self._problems)
            raise InputError(f"{place}: field 'problem_id': the task has no problem {name!r}{hint}")
        return self._problems[name]

    def _write(self, file: BinaryIO, progress: ScoreProgress, item: _Item, verdict: Verdict) -> None:
        file.write(dump_line(_scored(item, verdict)))
        file.flush()
        self._count(item, verdict)
        progress.judged(verdict)

    def _count(self, item: _Item, found: Verdict | Scored) -> None:
        self._completions += 1
        self._statuses[found.status] = self._statuses.get(found.status, 0) + 1
        self._tally.add(item.problem.id, item.problem.cluster, found.reward, found.parts)


def _scored(item: _Item, verdict: Verdict) -> Scored:
    return Scored(
        item.id,
        verdict.reward,
        verdict.status,
        verdict.extracted,
        verdict.expected,
        round(verdict.seconds, 6),
        verdict.detail,
        verdict.parts,
        verdict.step_rewards,
    )


def _problem_id(answer: Answer) -> str:
    return answer.problem_id or answer.id


def _content(source: Path) -> str:
    """A hash of a file of completions, or of the records of a run directory."""
    digest = hashlib.blake2b(digest_size=16)
    for part in [source] if source.is_file() else sorted((source / "records").glob("part-*.jsonl")):
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
