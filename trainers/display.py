"""What a person sees of a training run: a live table on a terminal, a plain line per step otherwise."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..harness.progress import Counts
from ..harness.records import Rollout
from ..rewards.records import Verdict

SHOWN = ("reward", "groups_kept", "loss", "kl", "clip_fraction", "entropy", "grad_norm", "lr")
HISTORY = 12
SECONDS_BETWEEN_DRAWS = 0.2


def describe(line: Mapping[str, Any]) -> str:
    """A step's metrics in one line."""
    parts = [f"step {line['step']}"]
    if "reward" in line:
        parts.append(f"reward {line['reward']:.3f}, accuracy {line['accuracy']:.1%}, kept {line['groups_kept']}/{line['groups']}")
    parts += [f"{name} {line[name]:.4g}" for name in ("loss", "grad_norm") if name in line]
    if "eval_score" in line:
        parts.append(f"held out {line['eval_score']:.1%}")
    if "message" in line:
        parts.append(str(line["message"]))
    return f"{', '.join(parts)}, {line['seconds']:.1f} s"


class PlainView:
    """A line per step; rollouts and verdicts are not shown one by one."""

    def generated(self, rollout: Rollout) -> None:
        """One more response; too many to print."""

    def judged(self, verdict: Verdict) -> None:
        """One more verdict; too many to print."""

    def stage(self, step: int, what: str, total: int) -> None:
        """The stages of a step are shown on a terminal only."""

    def line(self, line: Mapping[str, Any]) -> None:
        print(describe(line), flush=True)

    def say(self, message: str) -> None:
        print(message, flush=True)


class LiveView:
    """The last steps as a table, and what is going on now."""

    def __init__(self, live: Any, steps: int) -> None:
        self._live, self._steps = live, steps
        self._lines: list[Mapping[str, Any]] = []
        self._said: list[str] = []
        self._now, self._counts, self._drawn = "", Counts(0, 0), 0.0

    def generated(self, rollout: Rollout) -> None:
        self._counts.add_rollout(rollout)
        self._draw()

    def judged(self, verdict: Verdict) -> None:
        self._counts.add_verdict(verdict)
        self._draw()

    def stage(self, step: int, what: str, total: int) -> None:
        self._now, self._counts = f"step {step}/{self._steps}: {what}", Counts(total, 0)
        self._draw(force=True)

    def line(self, line: Mapping[str, Any]) -> None:
        self._lines.append(line)
        self._draw(force=True)

    def say(self, message: str) -> None:
        self._said.append(message)
        self._draw(force=True)

    def _draw(self, *, force: bool = False) -> None:
        if force or time.monotonic() - self._drawn > SECONDS_BETWEEN_DRAWS:
            self._drawn = time.monotonic()
            self._live.update(self._table())

    def _table(self) -> Any:
        from rich.table import Table

        lines = self._lines[-HISTORY:]
        columns = [name for name in (*SHOWN, "eval_score", "seconds") if any(name in line for line in lines)]
        table = Table(caption=self._caption(), caption_justify="left")
        for name in ("step", *columns):
            table.add_column(name, justify="right")
        for line in lines:
            table.add_row(str(line["step"]), *(_cell(line.get(name)) for name in columns))
        return table

    def _caption(self) -> str:
        counts = self._counts
        done = f" {counts.generated}/{counts.total} responses, {counts.rates()}" if counts.total else ""
        return "\n".join([*self._said[-3:], f"{self._now}{done}"])


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


class SilentView(PlainView):
    """For ranks other than the first."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Rank 0 prints it."""

    def say(self, message: str) -> None:
        """Rank 0 says it."""


View = PlainView | LiveView


@contextmanager
def show_training(steps: int, rank: int) -> Iterator[View]:
    """Show a run until the block ends."""
    if rank > 0:
        yield SilentView()
    elif not sys.stdout.isatty():
        yield PlainView()
    else:
        from rich.live import Live

        with Live(auto_refresh=True, refresh_per_second=4, vertical_overflow="visible") as live:
            yield LiveView(live, steps)
