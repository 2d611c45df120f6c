"""`--dry-run`: the resolved plan of a run, without loading weights or writing anything."""

import yaml

from ..rewards.serde import encode
from .config import RunConfig
from .models.checkpoint import Checkpoint
from .plan import TaskPlan, plan_tasks
from .source import open_source


def print_plan(config: RunConfig) -> None:
    """Print settings, checkpoint and tasks as YAML; the `settings` part can be given back with `--config`."""
    source = open_source(config)
    plan = {
        "settings": encode(config),
        "checkpoint": _checkpoint(source) if isinstance(source, Checkpoint) else encode(source.info),
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
