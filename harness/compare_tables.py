"""A comparison on the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from .compare import Comparison, Flip, Group, Side, TaskComparison
from .statistics import Estimate
from .tables import console, score_cells

SHOWN = 20
"""Flipped problems that are listed; `--json` has all."""


def print_comparison(comparison: Comparison) -> None:
    """Print what differs, then for each task the scores, the difference, its groups and the problems that flipped."""
    for task in comparison.tasks:
        _print_task(task)
    for name, tasks in (("A", comparison.only_a), ("B", comparison.only_b)):
        if tasks:
            _say(f"only in {name}: {', '.join(tasks)}")


def _print_task(task: TaskComparison) -> None:
    out = console()
    title = Text(f"{task.task}: {task.problems} problems in both runs", "bold")
    out.print(title)
    for key, (a, b) in task.differs.items():
        _say(f"  differs: {key}: {_value(a)} | {_value(b)}")
    out.print(_scores(task))
    _say(_sentence(task))
    for side, label in ((task.a, "A"), (task.b, "B")):
        _say(_left_out(side, label))
    for note in task.notes:
        _say(note)
    if task.groups:
        out.print(_groups(task.groups))
    _print_flips("solved in B only", task.gained)
    _print_flips("solved in A only", task.lost)


def _scores(task: TaskComparison) -> Table:
    table = Table()
    for name in ("", "run", "model", "samples", "score", "95% interval"):
        table.add_column(name, justify="right" if name in ("score", "95% interval", "samples") else "left", overflow="fold")
    for label, side in (("A", task.a), ("B", task.b)):
        low, high = side.samples
        count = str(low) if low == high else f"{low} to {high}"
        table.add_row(label, side.run, f"{side.model} ({side.fingerprint})", count, *score_cells(side.score))
    table.add_section()
    table.add_row("B - A", "", "", "", *_difference_cells(task.difference), style="bold")
    return table


def _sentence(task: TaskComparison) -> str:
    signs, found = task.signs, task.difference
    interval = {"t": "Student's t", "wilson": "Wilson"}[found.interval]
    how = f"{interval} interval, errors clustered by problem" + (f" and {task.cluster}" if task.cluster else "")
    correlation = "" if task.correlation is None else f", correlation {task.correlation:.2f}"
    return f"{how}{correlation}; sign test: {signs.wins} better, {signs.losses} worse, {signs.ties} equal, p = {signs.p:.2g}"


def _left_out(side: Side, label: str) -> str:
    parts = [f"{side.only} problems are only in {label}"] if side.only else []
    parts += [f"{side.unjudged} samples of {label} could not be judged"] if side.unjudged else []
    return "left out: " + ", ".join(parts) if parts else ""


def _groups(groups: Sequence[Group]) -> Table:
    table = Table(title="by group (intervals not corrected for their number)", title_justify="left")
    for name in ("field", "group", "problems", "A", "B", "B - A", "95% interval"):
        table.add_column(name, justify="left" if name in ("field", "group") else "right")
    for group in groups:
        cells = _difference_cells(group.difference)
        size = f"{group.difference.n}"
        table.add_row(group.field, group.name, size, f"{100 * group.a:.1f}", f"{100 * group.b:.1f}", *cells)
    return table


def _difference_cells(found: Estimate) -> tuple[str, str]:
    error = "" if found.se is None else f" ± {100 * found.se:.1f}"
    interval = "-" if found.low is None or found.high is None else f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"
    return f"{100 * found.mean:+.1f}{error}", interval


def _print_flips(title: str, flips: Sequence[Flip]) -> None:
    names = [flip.problem_id for flip in flips[:SHOWN]]
    more = f" and {len(flips) - SHOWN} more (--json lists them)" if len(flips) > SHOWN else ""
    _say(f"{title}: {len(flips)}" + (f": {', '.join(names)}{more}" if names else ""))


def _value(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _say(line: str) -> None:
    if line:
        console().print(line, markup=False, highlight=False)
