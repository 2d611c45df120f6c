"""From run directories to a page: reads each run once, in bounded memory, and writes `report.html`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from ...rewards.errors import InputError
from ...rewards.records import Problem
from ...rewards.serde import encode
from ..compare import Comparison, compare_opened
from ..grouping import group_problems, in_order
from ..progress import SECONDS_BETWEEN_LINES
from ..records import ModelInfo
from ..results import TaskResult
from ..runs import Row, Run, open_run, read_json
from ..settings import settings
from ..store import write_atomically
from .charts import Collector, group_scores, histograms
from .chunks import Chunks
from .entries import entry
from .evidence import failed_test, find_tests
from .page import render
from .pieces import Pieces, find_pieces
from .training import METRICS, read_curves

_Key = tuple[str, str]
_LETTERS = {
    "correct": "c",
    "wrong": "w",
    "partial": "p",
    "unparsed": "u",
    "timeout": "t",
    "crashed": "x",
    "refused": "r",
    "verifier_error": "e",
}


class Report(NamedTuple):
    """What was written. `side_files` counts the files beside the page; `notes` are for the person who asked for it."""

    path: Path
    samples: int
    bytes: int
    side_files: int
    notes: tuple[str, ...]


def write_report(a: Path, b: Path | None = None, out: Path | None = None, allowed: Sequence[str] = ()) -> Report:
    """Write the page of one run, or of two side by side, to `out` (default: in the last run's directory).

    Raises InputError for what is no run, and for two runs that `compare` refuses.
    """
    runs = [_open(path) for path in (a, b) if path is not None]
    comparison = None
    if len(runs) == 2 and any(_has_samples(run) for run in runs):
        comparison = compare_opened(runs[0], runs[1], allowed)
    page = out or runs[-1].path / ("report.html" if len(runs) == 1 else f"compare-{runs[0].name}.html")
    if not page.parent.is_dir():
        raise InputError(f"--out {page}: there is no directory {page.parent}")
    return _Builder(runs, comparison, page).write()


def _open(path: Path) -> Run:
    """A run of the evaluation, or the directory of a training run, which need not hold samples."""
    if (path / METRICS).is_file() and not (path / "problems.parquet").exists():
        return Run(path)
    run = open_run(path)
    if not (path / "problems.parquet").exists():
        raise InputError(f"{path}: has no problems yet; the same `unmask eval` command goes on with the run")
    return run


@dataclass
class _Index:
    """What the page knows of every sample before it opens one. Columns, because they compress well."""

    problems: dict[_Key, int]
    problem_of: list[int]
    sample: list[int]
    status: list[list[str]]
    reward: list[list[float | None]]
    length: list[list[int]]
    speed: list[list[float]]

    @classmethod
    def of(cls, runs: int) -> "_Index":
        return cls({}, [], [], *(cast(list[list[Any]], [[] for _ in range(runs)]) for _ in range(4)))

    def add(self, rows: Sequence[Row | None]) -> int:
        """Note a sample; returns the number of its problem."""
        sample = next(row.sample for row in rows if row is not None)
        number = self.problems.setdefault((sample.task, sample.problem_id), len(self.problems))
        self.problem_of.append(number)
        self.sample.append(sample.rollout.sample)
        for place, row in enumerate(rows):
            rollout = None if row is None else row.sample.rollout
            self.status[place].append("." if row is None else _LETTERS[row.sample.verdict.status])
            self.reward[place].append(None if row is None else _short(row.sample.verdict.reward))
            self.length[place].append(0 if rollout is None else rollout.length)
            passes = 0 if rollout is None else rollout.forward_passes.total
            self.speed[place].append(round(rollout.length / passes, 2) if rollout is not None and passes else 0.0)
        return number

    def columns(self) -> dict[str, Any]:
        return {
            "problem": self.problem_of,
            "sample": self.sample,
            "status": ["".join(letters) for letters in self.status],
            "reward": self.reward,
            "length": self.length,
            "speed": self.speed,
        }


class _Builder:
    """Reads the runs and writes the page."""

    def __init__(self, runs: Sequence[Run], comparison: Comparison | None, page: Path) -> None:
        self._runs, self._comparison, self._page = runs, comparison, page
        self._collectors = [Collector() for _ in runs]
        self._index = _Index.of(len(runs))
        self._tests = [_wanted_tests(run) for run in runs]
        self._pieces: dict[tuple[str, str], Pieces | None] = {}

    def write(self) -> Report:
        outlines = {(p.task, p.id): p for run in self._runs if _has_samples(run) for p in run.outlines()}
        chunks = Chunks(self._page)
        ticker = _Ticker()
        for rows in _side_by_side([run.samples() if _has_samples(run) else iter(()) for run in self._runs]):
            problem = self._index.add(rows)
            ticker.tick(len(self._index.sample))
            chunks.add([self._entry(place, row) for place, row in enumerate(rows)], problem, self._prompt(rows, outlines))
        chunks.flush()
        title = " and ".join(run.name for run in self._runs)
        notes = self._notes()
        data = self._data(outlines, chunks, notes)
        write_atomically(self._page, render(f"{title} · unmask", data, chunks.inline, side_files=chunks.spilled))
        side_files = chunks.count if chunks.spilled else 0
        return Report(self._page, len(self._index.sample), self._page.stat().st_size, side_files, notes)

    def _entry(self, place: int, row: Row | None) -> dict[str, Any] | None:
        if row is None:
            return None
        sample = row.sample
        self._collectors[place].add(sample)
        number = failed_test(sample.verdict.detail)
        test = None if number is None else self._tests[place].get((sample.task, sample.problem_id, number))
        return entry(row, self._pieces_of(sample.rollout.model), test)

    def _pieces_of(self, model: ModelInfo) -> Pieces | None:
        key = (model.id, model.revision)
        if key not in self._pieces:
            self._pieces[key] = find_pieces(model)
        return self._pieces[key]

    def _prompt(self, rows: Sequence[Row | None], outlines: Mapping[_Key, Problem]) -> list[tuple[str, str]]:
        sample = next(row.sample for row in rows if row is not None)
        problem = outlines.get((sample.task, sample.problem_id))
        return [] if problem is None else [(message.role, message.content) for message in problem.prompt]

    def _notes(self) -> tuple[str, ...]:
        lost = [name for (name, _), pieces in self._pieces.items() if pieces is None]
        notes = [f"the tokenizer of {name} is not on this machine: the player shows token ids" for name in lost]
        notes += [
            f"{run.name} is not finished: it has {len(self._index.sample):,} judged samples so far"
            for run in self._runs
            if _has_samples(run) and not run.finished
        ]
        return tuple(notes)

    def _data(self, outlines: Mapping[_Key, Problem], chunks: Chunks, notes: Sequence[str]) -> dict[str, Any]:
        from ... import __version__

        by_task: dict[str, list[Problem]] = {}
        for (task, _), problem in outlines.items():
            by_task.setdefault(task, []).append(problem)
        return {
            "version": __version__,
            "runs": [self._facts(place, by_task) for place in range(len(self._runs))],
            "comparison": None if self._comparison is None else encode(self._comparison),
            "groups": group_scores(self._collectors, by_task),
            "histograms": histograms(self._collectors),
            "problems": [list(key) for key in self._index.problems],
            "fields": self._fields(by_task),
            "index": self._index.columns(),
            "chunks": {"count": chunks.count, "folder": chunks.folder.name if chunks.spilled else None},
            "notes": list(notes),
        }

    def _facts(self, place: int, by_task: Mapping[str, Sequence[Problem]]) -> dict[str, Any]:
        run, collector = self._runs[place], self._collectors[place]
        results = {result.task: result for result in run.results} if _has_samples(run) else {}
        environment = run.path / "environment.json"
        return {
            "name": run.name,
            "curves": read_curves(run.path),
            "config": [] if results or not (run.path / "config.yaml").exists() else _flat(run.config),
            "environment": _flat(read_json(environment)) if environment.exists() else [],
            "tasks": [_task_facts(run, task, collector, results.get(task), len(by_task[task])) for task in collector.statuses],
        }

    def _fields(self, by_task: Mapping[str, Sequence[Problem]]) -> list[dict[str, Any]]:
        """For every metadata field that groups problems: its groups, and which of them each problem is in (-1: none)."""
        found: dict[str, dict[_Key, str]] = {}
        for task, problems in by_task.items():
            for name, groups in group_problems(problems).items():
                found.setdefault(name, {}).update({(task, problem): group for problem, group in groups.items()})
        return [self._field(name, groups) for name, groups in found.items()]

    def _field(self, name: str, groups: Mapping[_Key, str]) -> dict[str, Any]:
        values = in_order(groups.values())
        places = {value: number for number, value in enumerate(values)}
        of = [places[groups[key]] if key in groups else -1 for key in self._index.problems]
        return {"name": name, "values": values, "of": of}


def _task_facts(run: Run, task: str, collector: Collector, result: TaskResult | None, problems: int) -> dict[str, Any]:
    """The result of a task, or what can be said before there is one."""
    if result is not None:
        listed = [(key, value) for key, value in settings(run, result).items() if value is not None]
        return {**encode(result), "settings": [(key, str(value)) for key, value in listed]}
    statuses = dict(collector.statuses[task].most_common())
    return {"task": task, "score": encode(collector.score(task)), "problems": problems, "statuses": statuses, "settings": []}


class _Ticker:
    """Says now and then how far a long report is."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def tick(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            print(f"report: {done:,} samples", flush=True)


def _has_samples(run: Run) -> bool:
    return (run.path / "problems.parquet").exists()


def _wanted_tests(run: Run) -> dict[tuple[str, str, int], dict[str, str]]:
    """The tests that verdicts name, looked up among the run's references."""
    wanted: dict[_Key, set[int]] = {}
    for task, problem, detail in run.details() if _has_samples(run) else ():
        number = failed_test(detail)
        if number is not None:
            wanted.setdefault((task, problem), set()).add(number)
    return find_tests(run, wanted)


def _side_by_side(runs: Sequence[Iterator[Row]]) -> Iterator[tuple[Row | None, ...]]:
    """Pair the samples of two runs by problem and sample number. Little is held where both come in the same order."""
    if len(runs) == 1:
        yield from ((row,) for row in runs[0])
        return
    waiting: dict[tuple[str, str, int], Row] = {}
    for row in runs[0]:
        yield row, _advance(runs[1], _place(row), waiting)
    yield from ((None, row) for row in (*waiting.values(), *runs[1]))


def _advance(rows: Iterator[Row], place: tuple[str, str, int], waiting: dict[tuple[str, str, int], Row]) -> Row | None:
    """Take the row at `place` out of those that wait, or read on until it comes."""
    if place in waiting:
        return waiting.pop(place)
    for row in rows:
        if _place(row) == place:
            return row
        waiting[_place(row)] = row
    return None


def _place(row: Row) -> tuple[str, str, int]:
    return row.sample.task, row.sample.problem_id, row.sample.rollout.sample


def _short(reward: float | None) -> float | None:
    return None if reward is None else round(reward, 4)


def _flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        elif value is not None:
            found.append((f"{prefix}{key}", str(value)))
    return found
