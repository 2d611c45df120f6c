"""Samples on the terminal: one after the other, and the replay of a trajectory.

On a terminal a key goes on, back, replays or ends; elsewhere everything is printed, without colours. Reads runs, changes nothing.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple, get_args

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ..rewards.errors import InputError, nearest
from ..rewards.records import Problem, Status
from .records import Sample
from .report.pieces import Pieces, find_pieces
from .runs import Row, open_run
from .tables import console
from .trajectory import Cell, Trajectory, trajectory

MASK = "░"
_STYLE = {"correct": "green", "wrong": "red", "partial": "yellow", "verifier_error": "magenta"}
_KEYS = "enter next · b back · r replay · q quit"


class Choice(NamedTuple):
    """Which samples to show."""

    statuses: frozenset[str] = frozenset()
    problem: str | None = None
    task: str | None = None
    limit: int | None = None


def choice(statuses: str | None, problem: str | None, task: str | None, limit: int | None) -> Choice:
    """Check what was asked for. Raises InputError for a status that there is none of, and a limit below 1."""
    wanted = frozenset(name.strip() for name in (statuses or "").split(",") if name.strip())
    known = get_args(Status)
    for name in sorted(wanted):
        if name not in known:
            raise InputError(f"--status {name}: not one of {', '.join(known)}{nearest(name, known)}")
    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}; it must be at least 1")
    return Choice(wanted, problem, task, limit)


def show(path: Path, chosen: Choice, *, replay: bool, seconds: float) -> None:
    """Show the chosen samples of a run. `seconds` is how long a replay may take. Raises InputError where there are none."""
    run = open_run(path)
    problems = {(problem.task, problem.id): problem for problem in run.outlines()}
    _check(chosen, problems)
    viewer = _Viewer(console(), problems, replay, seconds)
    shown = (
        viewer.page(_chosen(run.samples(), chosen)) if viewer.interactive else viewer.print_all(_chosen(run.samples(), chosen))
    )
    if not shown:
        raise InputError(f"{path}: no sample is what was asked for; see `unmask report` for what there is")


def _check(chosen: Choice, problems: dict[tuple[str, str], Problem]) -> None:
    tasks, names = {task for task, _ in problems}, [problem for _, problem in problems]
    if chosen.task is not None and chosen.task not in tasks:
        raise InputError(f"--task {chosen.task}: not in this run{nearest(chosen.task, tasks)}; it has {', '.join(sorted(tasks))}")
    if chosen.problem is not None and chosen.problem not in names:
        raise InputError(f"--problem {chosen.problem}: not in this run{nearest(chosen.problem, names)}")


def _chosen(rows: Iterable[Row], chosen: Choice) -> Iterator[Sample]:
    found = 0
    for row in rows:
        sample = row.sample
        if chosen.statuses and sample.verdict.status not in chosen.statuses:
            continue
        if chosen.problem not in (None, sample.problem_id) or chosen.task not in (None, sample.task):
            continue
        yield sample
        found += 1
        if found == chosen.limit:
            return


class _Viewer:
    def __init__(self, out: Console, problems: dict[tuple[str, str], Problem], replay: bool, seconds: float) -> None:
        self._out, self._problems, self._replay, self._seconds = out, problems, replay, seconds
        self._pieces: dict[str, Pieces | None] = {}

    @property
    def interactive(self) -> bool:
        return self._out.is_terminal and sys.stdin.isatty()

    def print_all(self, samples: Iterable[Sample]) -> int:
        """Print every sample; returns their number."""
        shown = 0
        for sample in samples:
            shown += 1
            self._out.print(self._sample(sample))
            if self._replay:
                self._print_steps(sample)
        return shown

    def page(self, samples: Iterator[Sample]) -> int:
        """Show one sample at a time, as keys are pressed; returns how many were seen."""
        seen: list[Sample] = []
        place = 0
        with _single_keys():
            while place < len(seen) or _read_on(samples, seen):
                key = self._present(seen[place])
                if key == "q":
                    return len(seen)
                place = max(place - 1, 0) if key == "b" else place + 1
        if seen:
            self._out.print("that was the last sample", style="dim")
        return len(seen)

    def _present(self, sample: Sample) -> str:
        """Show a sample and replay it as often as asked; returns the key that ends that."""
        self._out.print(self._sample(sample))
        if self._replay:
            self._play(sample)
        while (key := self._ask()) == "r":
            self._play(sample)
        return key

    def _ask(self) -> str:
        self._out.print(_KEYS, style="dim", end="", highlight=False)
        key = _read_key()
        self._out.print()
        return key

    def _sample(self, sample: Sample) -> RenderableType:
        verdict, rollout = sample.verdict, sample.rollout
        reward = "no reward" if verdict.reward is None else f"reward {verdict.reward:g}"
        title = Text.assemble(
            (f"{sample.problem_id} · sample {rollout.sample + 1}  ", "bold"),
            (verdict.status.replace("_", " "), f"bold {_STYLE.get(verdict.status, 'yellow')}"),
            f"  {reward}",
        )
        problem = self._problems.get((sample.task, sample.problem_id))
        prompt = [Text(printable(message.content), "dim") for message in problem.prompt] if problem else []
        response = Padding(Text(printable(rollout.text)), (1, 0))
        parts = [Rule(title, align="left", style="dim"), *prompt, response, _facts(sample), Text()]
        return Group(*parts)

    def _play(self, sample: Sample) -> None:
        """Replay on the terminal: a mask is as wide as what it becomes, and colour tells the confidence."""
        path = self._trajectory(sample)
        pause = min(self._seconds / max(path.steps, 1), 0.5)
        with Live(console=self._out, auto_refresh=False, transient=False) as live:
            for done in range(path.steps + 1):
                live.update(Group(_frame(path, done), Text(f"step {done} of {path.steps}", "dim")), refresh=True)
                time.sleep(pause)

    def _print_steps(self, sample: Sample) -> None:
        path = self._trajectory(sample)
        width = len(str(path.steps))
        for done in range(path.steps + 1):
            line = "".join(_reading(cell, done).replace("\n", "↵") for cell in path.cells)
            self._out.print(f"{done:{width}}  {line}", markup=False, highlight=False, soft_wrap=True)
        self._out.print()

    def _trajectory(self, sample: Sample) -> Trajectory:
        rollout = sample.rollout
        model = rollout.model
        if model.id not in self._pieces:
            self._pieces[model.id] = find_pieces(model)
        pieces = self._pieces[model.id]
        if pieces is None:
            texts, name = [f"[{i}]" for i in rollout.token_ids], _bracketed
        else:
            texts, name = pieces.split(rollout.token_ids), pieces.name
        return trajectory(rollout, texts, [(name(event.old), name(event.new)) for event in rollout.events])


def _read_on(samples: Iterator[Sample], seen: list[Sample]) -> bool:
    """Add the next sample to those seen, if there is one."""
    before = len(seen)
    seen.extend(islice(samples, 1))
    return len(seen) > before


def printable(text: str) -> str:
    """Text that cannot steer the terminal: control characters, but for line ends and tabs, become their pictures."""
    return text.translate(_CONTROLS)


_CONTROLS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_CONTROLS |= {0x7F: "␡"} | dict.fromkeys(range(0x80, 0xA0), "\ufffd")


def _facts(sample: Sample) -> RenderableType:
    verdict, rollout = sample.verdict, sample.rollout
    passes = rollout.forward_passes
    table = Table.grid(padding=(0, 2))
    listed = [("extracted", verdict.extracted), ("expected", verdict.expected), ("reason", verdict.detail or rollout.detail)]
    listed.append(("parts", ", ".join(f"{name} {value:g}" for name, value in verdict.parts.items())))
    cost = f"{rollout.length} tokens, {passes.total} forward passes ({passes.denoise} denoising), finish {rollout.finish}"
    for name, value in (*listed, ("cost", cost)):
        if value:
            table.add_row(Text(name, "dim"), Text(printable(value)))
    return table


def _frame(path: Trajectory, done: int) -> Text:
    text = Text()
    for cell in path.cells:
        text.append(_reading(cell, done), _style(cell, done, path.steps))
    return text


def _reading(cell: Cell, done: int) -> str:
    state = cell.at(done)
    if state is not None and state.text is not None:
        return printable(state.text)
    return "".join("\n" if character == "\n" else MASK for character in cell.text) or MASK


def _style(cell: Cell, done: int, steps: int) -> str:
    state = cell.at(done)
    if state is None or state.text is None:
        return "dim"
    fresh = "reverse " if state.step == done - 1 and done < steps else ""
    edited = "underline " if state.kind == "edit" else ""
    colour = "dim" if cell.extra else next(style for least, style in _CONFIDENCE if cell.confidence >= least)
    return f"{fresh}{edited}{colour}"


_CONFIDENCE: Sequence[tuple[float, str]] = ((0.9, "default"), (0.7, "yellow"), (0.4, "dark_orange"), (-1e9, "red"))
"""From which confidence on a token has which colour."""


def _bracketed(i: int) -> str:
    return f"[{i}]"


@contextmanager
def _single_keys() -> Iterator[None]:
    """Have key presses arrive at once and unseen, without Enter."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _read_key() -> str:
    """One key press. Ctrl-C, Ctrl-D and the end of input quit."""
    try:
        key = os.read(sys.stdin.fileno(), 1)
    except KeyboardInterrupt:
        return "q"
    return "q" if key in (b"", b"\x04") else key.decode("ascii", "replace").lower()
