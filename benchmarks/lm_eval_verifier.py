"""Judging one completion as a task of lm-evaluation-harness does: cut at its stop strings, its filters, its metrics.

The task is opened in the pool's warm parent, from the file that defines it; the row travels with the problem. Every metric that
has a number for a single answer is reported under lm-eval's own name ("exact_match,strict-match"); one of them is the reward.
Not covered: metrics over the whole set of answers (bleu, f1 over pairs), filters that vote among several answers.
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..rewards.errors import InputError
from ..rewards.records import Completion, Problem, Verdict
from ..rewards.verifier import verdict_of

NO_MATCH = "[invalid]"
"""What lm-eval's extraction filters return where they find nothing."""


def open_task(path: str) -> Any:
    """Return lm-eval's task object for the YAML file at `path`, its data loaded. Raises InputError when that fails."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise InputError(f"lm-evaluation-harness is not installed ({error}); pip install 'unmask[lm-eval]'") from None
    try:
        (task,) = TaskManager(include_defaults=False).load(path)["tasks"].values()
    except Exception as error:  # a task brings Python of its own, and its data comes through `datasets`: anything may be raised
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        raise InputError(f"lm_eval task {Path(path).stem!r} does not load ({reason})") from None
    return task


@functools.lru_cache(maxsize=8)
def _opened(path: str) -> Any:
    return open_task(path)


@dataclass(frozen=True)
class LmEvalVerifier:
    """The filters and metrics of the task defined at `path`. `metric` ("name,filter") is the reward; `until` ends an answer."""

    path: str
    metric: str
    until: tuple[str, ...]
    version: str
    name: str = "lm_eval"

    def warm(self) -> None:
        """Load lm-eval and the task once, before workers are forked."""
        _opened(self.path)

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Return the chosen metric as the reward and all of them as parts."""
        task, doc = _opened(self.path), problem.reference["doc"]
        answers = self._filtered(task, doc, completion.text)
        parts = {
            f"{metric},{name}": number
            for name, answer in answers.items()
            for metric, value in task.process_results(doc, [answer]).items()
            if (number := _number(value)) is not None
        }
        found, expected = str(answers[self._filter]), problem.reference["target"]
        if self.metric not in parts:
            return Verdict(None, "verifier_error", found, expected, parts, detail=f"no number called {self.metric!r} came back")
        verdict = verdict_of(parts[self.metric], self.metric)
        unparsed = found == NO_MATCH and verdict.status == "wrong"
        return Verdict(verdict.reward, "unparsed" if unparsed else verdict.status, found, expected, parts, detail=verdict.detail)

    def finds_an_answer(self, problem: Problem, text: str) -> bool:
        """Tell whether the filter of the chosen metric finds anything in a completion."""
        answers = self._filtered(_opened(self.path), problem.reference["doc"], text)
        return bool(answers[self._filter] != NO_MATCH)

    @property
    def _filter(self) -> str:
        return self.metric.rpartition(",")[2]

    def _filtered(self, task: Any, doc: dict[str, Any], text: str) -> dict[str, Any]:
        """Return what each filter of the task makes of one answer."""
        from lm_eval.api.instance import Instance

        instance = Instance("generate_until", doc, ("", {}), 0, (None, 0, 1), resps=[before(text, self.until)])
        task._instances = [instance]  # lm-eval filters all answers of a task at once, which it keeps here
        task.apply_filters()
        return dict(instance.filtered_resps)


def before(text: str, until: tuple[str, ...]) -> str:
    """Return the text before the first stop string, as lm-eval's own models give it."""
    return text[: min((text.index(stop) for stop in until if stop in text), default=len(text))]


def _number(value: Any) -> float | None:
    """Return a metric's value if it is one finite number; numpy's scalars count."""
    plain = value.item() if hasattr(value, "item") else value
    return float(plain) if isinstance(plain, int | float) and math.isfinite(plain) else None
