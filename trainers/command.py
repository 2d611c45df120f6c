"""`unmask train`: settings in, a trained checkpoint out. The harness finds `run` by name."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from .config import read_train_config
from .loop import train
from .plan import describe_plan, plan_training
from .sharding import is_first


def run(file: Path, assignments: Sequence[str], out: Path | None, *, dry_run: bool) -> int:
    """Train as a file and assignments say; returns the exit code. Raises InputError and RunError."""
    config = read_train_config(file, assignments, out)
    if dry_run:
        print(yaml.safe_dump(describe_plan(config, plan_training(config)), sort_keys=False, allow_unicode=True), end="")
        return 0
    progress = train(config)
    if is_first():
        print(f"run directory: {config.out}")
        print(f"newest checkpoint: {Path(config.out) / 'checkpoints' / f'step-{progress.step:05d}'}")
        if progress.best_step is not None:
            print(f"best on held-out problems: step {progress.best_step}, {progress.best_score:.1%}")
    return 0
