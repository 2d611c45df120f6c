"""Curves of a training run, from the flat JSON lines of its metrics.jsonl.

Whatever is a number is a curve; `step` is the axis. What a line lacks, or what is no finite number, is a gap.
"""

import json
import math
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"
FIRST = (
    *("reward", "eval_score", "accuracy", "score", "length", "tokens_per_forward", "tokens_per_step", "loss", "kl", "entropy"),
    *("clip", "grad", "lr", "gap", "advantage", "return", "groups", "tokens"),
)
"""Curves whose names hold one of these come first, and in this order; those that never change come last."""

_AXES = ("step", "epoch", "time")


def read_curves(folder: Path) -> list[dict[str, Any]]:
    """Return {"name", "x", "y"} for every metric; empty when there is no metrics.jsonl or nothing readable in it."""
    lines = _lines(folder / METRICS)
    names = dict.fromkeys(name for line in lines for name, value in line.items() if _is_number(value) and name not in _AXES)
    curves = []
    for name in names:
        points = [(line.get("step", number), line[name]) for number, line in enumerate(lines) if _is_number(line.get(name))]
        points = [(x, y) for x, y in points if _is_number(x)]
        if points:
            curves.append({"name": name, "x": [x for x, _ in points], "y": [float(f"{y:.5g}") for _, y in points]})
    return sorted(curves, key=lambda curve: (len(set(curve["y"])) == 1, _place(curve["name"])))


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines that are JSON objects: a torn last one, or one of somebody else's, is no reason to show none."""
    found = []
    for raw in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict):
            found.append(line)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _place(name: str) -> tuple[int, str]:
    lowered = name.lower()
    return next((place for place, word in enumerate(FIRST) if word in lowered), len(FIRST)), lowered
