"""Metrics: flat JSON lines in metrics.jsonl, and the same numbers to TensorBoard, Weights & Biases or trackio if asked for.

A line per step; `step` 0 holds the evaluation before training. Numbers of a rollout batch are computed here from its samples.
"""

import hashlib
import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..harness.records import Sample
from ..harness.store import write_atomically
from ..rewards.errors import InputError, nearest

Line = Mapping[str, float | int | str | None]


def batch_metrics(samples: Sequence[Sample]) -> dict[str, float]:
    """What a batch of judged rollouts says, filtered groups included.

    `reward` is the mean over judged samples, `accuracy` the share of them that is `correct`; `tokens` counts response tokens,
    `tokens_per_step` divides them by denoising passes, `tokens_per_forward` by all passes; `truncated` is the share without
    a stop.
    """
    rewards = [sample.verdict.reward for sample in samples if sample.verdict.reward is not None]
    correct = sum(sample.verdict.status == "correct" for sample in samples)
    tokens = sum(sample.rollout.length for sample in samples)
    denoise = sum(sample.rollout.forward_passes.denoise for sample in samples)
    passes = sum(sample.rollout.forward_passes.total for sample in samples)
    return {
        "reward": _ratio(sum(rewards), len(rewards)),
        "accuracy": _ratio(correct, len(rewards)),
        "samples": len(samples),
        "verifier_errors": len(samples) - len(rewards),
        "tokens": tokens,
        "length": _ratio(tokens, len(samples)),
        "truncated": _ratio(sum(sample.rollout.finish == "length" for sample in samples), len(samples)),
        "tokens_per_step": _ratio(tokens, denoise),
        "tokens_per_forward": _ratio(tokens, passes),
    }


def _ratio(value: float, by: float) -> float:
    return value / by if by else 0.0


class Tracker(Protocol):
    """Where else metrics go."""

    def log(self, numbers: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class MetricsLog:
    """metrics.jsonl of a run that goes on after `step` (0: from the start), and its trackers. Lines of steps that will be done
    again are dropped first.
    """

    def __init__(self, path: Path, step: int, trackers: Sequence[Tracker]) -> None:
        self._path, self._trackers = path, trackers
        if path.exists():
            kept = [line for line in read_metrics(path) if step and line["step"] <= step]
            write_atomically(path, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in kept))

    def write(self, line: Line) -> None:
        """Append a step's line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({name: _plain(value) for name, value in line.items()}, ensure_ascii=False) + "\n")
        numbers = {name: float(value) for name, value in line.items() if isinstance(value, int | float)}
        for tracker in self._trackers:
            tracker.log(numbers, int(numbers["step"]))

    def close(self) -> None:
        """Let the trackers finish."""
        for tracker in self._trackers:
            tracker.close()


def _plain(value: float | int | str | None) -> float | int | str | None:
    """JSON has no number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a torn last one is left out."""
    text = path.read_text("utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


class _TensorBoard:
    def __init__(self, folder: Path, project: str, config: Mapping[str, Any]) -> None:
        module = _import("torch.utils.tensorboard", "tensorboard")
        self._writer = module.SummaryWriter(str(folder / "tensorboard"))

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Run:
    """Weights & Biases, or trackio, which has the same calls."""

    name = "wandb"

    def __init__(self, folder: Path, project: str, config: Mapping[str, Any]) -> None:
        self._module = _import(self.name, self.name)
        # Folders elsewhere may have the same name; a resumed run goes on under the id that its place gives it.
        place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
        options = {"dir": str(folder), "resume": "allow", "id": f"{folder.name}-{place}"} if self.name == "wandb" else {}
        self._module.init(project=project, name=folder.name, config=dict(config), **options)

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._module.log(dict(numbers), step=step)

    def close(self) -> None:
        self._module.finish()


class _Trackio(_Run):
    name = "trackio"


TRACKERS: Mapping[str, Callable[[Path, str, Mapping[str, Any]], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Run,
    "trackio": _Trackio,
}


def open_trackers(names: Sequence[str], folder: Path, project: str, config: Mapping[str, Any]) -> list[Tracker]:
    """Start the trackers with these names. Raises InputError for one that is unknown or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise InputError(f"trackers: no tracker {name!r}{nearest(name, TRACKERS)}; known: {', '.join(TRACKERS)}")
    return [TRACKERS[name](folder, project, config) for name in names]


def _import(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"trackers: {package} is not installed; install it with `pip install {package}`") from None
