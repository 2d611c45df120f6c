"""`unmask score`: judges existing completions. No model is loaded and nothing is generated.

Lines are read, judged and written as a stream, in input order, so memory does not grow with the file. Repeating the command
goes on after the last verdict that was written.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ..rewards.errors import InputError, nearest
from ..rewards.pool import VerifierPool
from ..rewards.records import Completion, Problem, Verdict
from ..rewards.serde import dumps, encode, read_jsonl
from ..rewards.verifier import Verifier
from .evaluate import completion_of, nothing_generated
from .progress import ScoreProgress
from .results import VerifierInfo
from .statistics import Estimate, estimate
from .store import Generated, Lock, check_no_strangers, drop_torn_line, make_folder, write_atomically


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
    data_revision: str = ""
    notes: tuple[str, ...] = ()


class _Item(NamedTuple):
    """An input line with what it takes to judge it; `verdict` when there is nothing to judge."""

    number: int
    id: str
    problem: Problem
    completion: Completion
    verdict: Verdict | None = None


class _Input(NamedTuple):
    answer: Answer
    completion: Completion
    verdict: Verdict | None = None


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
        self, source: Path, out: Path, verifier: Verifier, problems: Mapping[str, Problem] | None, workers: int | None
    ) -> None:
        self._source, self._out, self._verifier, self._problems, self._workers = source, out, verifier, problems, workers
        self._rewards: dict[str, list[float]] = {}
        self._clusters: dict[str, str] = {}
        self._statuses: dict[str, int] = {}
        self._completions = 0

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
            score=estimate(self._rewards, self._clusters),
            problems=len(self._clusters),
            completions=self._completions,
            statuses=dict(sorted(self._statuses.items(), key=lambda item: -item[1])),
            **facts,
        )
        write_atomically(self._out / "results.json", json.dumps(encode(result), indent=1, ensure_ascii=False) + "\n")
        return result

    def _claim(self, facts: dict[str, Any]) -> None:
        """Take an empty folder, or one of the same scoring."""
        identity = {"source": str(self._source.resolve()), "size": _size(self._source), "task": facts.get("task")}
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
        inputs = enumerate(read_answers(self._source, task))
        done = self._recount(path, inputs) if path.exists() else 0
        progress = ScoreProgress(done)
        with path.open("a", encoding="utf-8") as file, VerifierPool(self._verifier, self._workers) as pool:
            waiting: dict[int, tuple[_Item, Verdict]] = {}
            following = done
            for item, verdict in self._verdicts(pool, inputs):
                waiting[item.number] = (item, verdict)
                progress.judged(verdict)
                while following in waiting:
                    self._write(file, *waiting.pop(following))
                    following += 1
        progress.finish()
        if self._completions == 0:
            raise InputError(f"{self._source}: holds no completions")

    def _verdicts(self, pool: VerifierPool, inputs: Iterator[tuple[int, _Input]]) -> Iterator[tuple[_Item, Verdict]]:
        """Judge the rest, in completion order."""
        decided: list[_Item] = []

        def to_judge() -> Iterator[tuple[_Item, Problem, Completion]]:
            for number, entry in inputs:
                item = self._item(number, entry)
                if item.verdict is None:
                    yield item, item.problem, item.completion
                else:
                    decided.append(item)

        for item, verdict in pool.map(to_judge()):
            yield item, verdict
            while decided:
                ready = decided.pop()
                yield ready, ready.verdict  # type: ignore[misc]
        yield from ((item, item.verdict) for item in decided)  # type: ignore[misc]

    def _recount(self, path: Path, inputs: Iterator[tuple[int, _Input]]) -> int:
        """Count the verdicts that are there, beside the lines they belong to."""
        done = 0
        for scored in read_jsonl(path, Scored):
            number, entry = next(inputs, (done, None))
            if entry is None or entry.answer.id != scored.id:
                raise InputError(f"{path}, line {done + 1}: is about {scored.id!r}, the source has another line there")
            self._count(self._item(number, entry), scored.reward, scored.status)
            done += 1
        return done

    def _item(self, number: int, entry: _Input) -> _Item:
        return _Item(number, entry.answer.id, self._problem(entry.answer, number), entry.completion, entry.verdict)

    def _problem(self, answer: Answer, number: int) -> Problem:
        name, place = answer.problem_id or answer.id, f"{self._source}, line {number + 1}"
        if self._problems is None:
            if answer.reference is None:
                raise InputError(f"{place}: field 'reference': missing; a verifier alone needs it (or give --task)")
            return Problem(name, "", (), answer.reference, answer.metadata or {})
        if name not in self._problems:
            hint = nearest(name, self._problems)
            raise InputError(f"{place}: field 'problem_id': the task has no problem {name!r}{hint}")
        return self._problems[name]

    def _write(self, file: Any, item: _Item, verdict: Verdict) -> None:
        line = Scored(
            item.id,
            verdict.reward,
            verdict.status,
            verdict.extracted,
            verdict.expected,
            round(verdict.seconds, 6),
            verdict.detail,
            verdict.parts,
        )
        file.write(f"{dumps(line)}\n")
        file.flush()
        self._count(item, verdict.reward, verdict.status)

    def _count(self, item: _Item, reward: float | None, status: str) -> None:
        self._completions += 1
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._clusters[item.problem.id] = item.problem.cluster
        if reward is not None:
            self._rewards.setdefault(item.problem.id, []).append(reward)


def _size(source: Path) -> int:
    files = [source] if source.is_file() else sorted((source / "records").glob("part-*.jsonl"))
    return sum(file.stat().st_size for file in files)
