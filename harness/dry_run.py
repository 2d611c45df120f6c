"""`--dry-run`: the resolved plan of a run, without loading weights or writing anything."""

import yaml

from ..rewards.serde import encode
from .config import RunConfig
from .models.checkpoint import Checkpoint
from .plan import TaskPlan, plan_tasks
from .sharding import shard_from_environment
from .source import open_source


def print_plan(config: RunConfig, executor: str = "local", actors: int | None = None) -> None:
    """Print settings, checkpoint, tasks and who does the work as YAML; `settings` can be given back with `--config`."""
    source = open_source(config)
    plan = {
        "settings": encode(config),
        "checkpoint": _checkpoint(source) if isinstance(source, Checkpoint) else encode(source.info),
        "work": {"executor": executor, "actors": actors, "process": str(shard_from_environment())},
        "tasks": [_task(task) for task in plan_tasks(config, source)],
    }
    print(yaml.safe_dump(plan, sort_keys=False, allow_unicode=True), end="")


def _checkpoint(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "family": checkpoint.family.name,
        "revision": checkpoint.revision,
        "fingerprint": checkpoint.fingerprint(),
        "mask_id": checkpoint.mask,
        "stop_ids": list(checkpoint.stop_ids),
    }


def _task(plan: TaskPlan) -> dict[str, object]:
    return {
        "task": plan.name,
        "problems": len(plan.problems),
        "samples": plan.samples,
        "completions": plan.total,
        "data_revision": getattr(plan.benchmark, "revision", ""),
        "verifier": f"{plan.verifier.name} {plan.verifier.version}",
        "decode": encode(plan.decode),
        "first_prompt": [encode(message) for message in plan.problems[0].prompt],
    }
