"""Small training runs of the embedded model, for the tests of this folder."""

import json
from pathlib import Path
from typing import Any

import yaml
from unmask.harness.cli import main

PLUGIN = Path(__file__).with_name("plugin.py")
NUDGE = f"{PLUGIN}:Nudge"
JUDGES = Path(__file__).with_name("judges.py")
EXACT = f"{JUDGES}:exact"


def problems(level: int, size: int = 64, verifier: str = EXACT) -> dict[str, Any]:
    """Training problems of one level; a verifier that starts at once."""
    return {"task": "arith@train", "options": {"size": size, "levels": [level]}, "verifier": verifier}


SMALL: dict[str, Any] = {
    "model": "demo",
    "tasks": problems(1),
    "trainer": {"name": "rft", "lr": 1e-3},
    "steps": 2,
    "groups": {"problems": 4, "samples": 2, "drop_equal": False},
    "evaluation": {"every": 2, "tasks": {"task": "arith", "limit": 4, "verifier": EXACT}},
    "checkpoints": {"every": 1},
    "decode": {"max_new_tokens": 48},
    "device": "cpu",
    "workers": 1,
}


def write(folder: Path, **changes: Any) -> Path:
    """Write the small run's settings with some of them changed; returns the file."""
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump({**SMALL, **changes}))
    return file


def train(folder: Path, *more: str, out: str = "run", **changes: Any) -> int:
    """Run `unmask train` in this process; returns the exit code."""
    return main(["train", str(write(folder, **changes)), *more, "--out", str(folder / out)])


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics without what depends on the clock."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("seconds")} for line in lines]


def weights(run: Path, step: int) -> bytes:
    """The weights of a checkpoint, byte by byte."""
    return (run / "checkpoints" / f"step-{step:05d}" / "model.safetensors").read_bytes()
