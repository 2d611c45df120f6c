"""What a person sees while a run goes on: a live bar on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..rewards.records import Verdict
from .records import Rollout

SECONDS_BETWEEN_LINES = 10.0


class Progress(Protocol):
    """Is told of every rollout and verdict. Calls come from more than one thread."""

    def generated(self, rollout: Rollout) -> None: ...

    def judged(self, verdict: Verdict) -> None: ...


class TaskProgress(Progress, Protocol):
    """Is told as well of completions that were there already, as they are found."""

    def present(self) -> None: ...


class Counts:
    """Counts behind both displays."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.generated, self.fresh = total, done, 0
        self.tokens, self.judged, self.reward, self.errors = 0, 0, 0.0, 0
        self.started = time.monotonic()

    def add_rollout(self, rollout: Rollout) -> None:
        self.generated += 1
        self.fresh += 1
        self.tokens += rollout.length

    def add_verdict(self, verdict: Verdict) -> None:
        if verdict.reward is None:
            self.errors += 1
        else:
            self.judged += 1
            self.reward += verdict.reward

    @property
    def present(self) -> int:
        """How many completions were there already."""
        return self.generated - self.fresh

    def rates(self) -> str:
        """Tokens a second, running score, errors of the verifier if there are any."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        return f"{self.tokens / seconds:.0f} tok/s, {self.score()}"

    def score(self) -> str:
        score = f"score {self.reward / self.judged:.1%}" if self.judged else "score -"
        return f"{score}, {self.errors} verifier errors" if self.errors else score

    def eta(self) -> str:
        if not self.fresh:
            return "-"
        left = (self.total - self.generated) * (time.monotonic() - self.started) / self.fresh
        return f"{int(left) // 60}:{int(left) % 60:02d}"


class PlainProgress:
    """A line every few seconds."""

    def __init__(self, name: str, counts: Counts) -> None:
        self._name, self._counts, self._last = name, counts, time.monotonic()

    def generated(self, rollout: Rollout) -> None:
        self._counts.add_rollout(rollout)
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            counts = self._counts
            print(f"{self._name}: {counts.generated}/{counts.total}, {counts.rates()}, ETA {counts.eta()}", flush=True)

    def judged(self, verdict: Verdict) -> None:
        self._counts.add_verdict(verdict)

    def present(self) -> None:
        self._counts.generated += 1


class ScoreProgress:
    """For scoring existing completions, whose number is not known beforehand: a line every few seconds."""

    def __init__(self, done: int) -> None:
        self._done, self._judged, self._counts = done, 0, Counts(0, done)
        self._last = self._counts.started

    def judged(self, verdict: Verdict) -> None:
        self._counts.add_verdict(verdict)
        self._judged += 1
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            self._print()

    def finish(self) -> None:
        self._print()

    def _print(self) -> None:
        seconds = max(time.monotonic() - self._counts.started, 1e-9)
        print(f"score: {self._done + self._judged} judged, {self._judged / seconds:.0f}/s, {self._counts.score()}", flush=True)


@contextmanager
def show_progress(name: str, total: int) -> Iterator[TaskProgress]:
    """Show a task's progress until the block ends."""
    counts = Counts(total)
    if not sys.stdout.isatty():
        yield PlainProgress(name, counts)
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with Bar(*columns) as bar:
            yield _RichProgress(bar, bar.add_task(name, total=total, rates=""), counts)
    seconds = time.monotonic() - counts.started
    resumed = f" ({counts.present} were there already)" if counts.present else ""
    print(f"{name}: {counts.generated}/{total} samples{resumed} in {seconds:.1f} s, {counts.rates()}", flush=True)


class _RichProgress:
    def __init__(self, bar: object, task: object, counts: Counts) -> None:
        self._bar, self._task, self._counts = bar, task, counts

    def generated(self, rollout: Rollout) -> None:
        self._counts.add_rollout(rollout)
        self._show()

    def judged(self, verdict: Verdict) -> None:
        self._counts.add_verdict(verdict)
        self._show()

    def present(self) -> None:
        self._counts.generated += 1
        self._show()

    def _show(self) -> None:
        self._bar.update(self._task, completed=self._counts.generated, rates=self._counts.rates())  # type: ignore[attr-defined]
