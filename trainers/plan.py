"""What a training run is going to do, worked out before anything expensive: tasks, trainer, settings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..harness.config import RunConfig
from ..harness.decoding.settings import resolve
from ..harness.models.checkpoint import Checkpoint, fingerprint, open_checkpoint
from ..harness.models.model import Model
from ..harness.plan import TaskPlan, plan_tasks
from ..harness.process.apply import Process
from ..harness.records import DecodeConfig
from ..rewards.errors import InputError
from ..rewards.plugins import load_object
from ..rewards.serde import encode
from .base import TRAINERS, Trainer
from .config import TaskConfig, TrainConfig

GROUP = "unmask.trainers"
NEEDED = ("step", "state_dict", "load_state_dict", "save")


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """The tasks of a run, resolved: those trained on and those held out, each with its settings as those of a run."""

    checkpoint: Checkpoint
    tasks: tuple[TaskPlan, ...]
    held_out: tuple[TaskPlan, ...]
    task_configs: tuple[RunConfig, ...]
    held_out_configs: tuple[RunConfig, ...]


def plan_training(config: TrainConfig) -> TrainPlan:
    """Load checkpoint settings and tasks. Raises InputError for what is unknown, missing or not allowed."""
    checkpoint = open_checkpoint(config.model, **config.model_options())
    trainer_class(config.trainer_name)
    evaluation = config.evaluation
    training = [run_config(config, task, config.decode, config.groups.samples, config.seed) for task in config.tasks]
    decode = evaluation.decode or config.decode
    held_out = [run_config(config, task, decode, evaluation.samples, evaluation.seed) for task in evaluation.tasks]
    tasks = [_rewarded(plan_tasks(one, checkpoint)[0], task) for one, task in zip(training, config.tasks, strict=True)]
    tests = [_unrewarded(plan_tasks(one, checkpoint)[0], task) for one, task in zip(held_out, evaluation.tasks, strict=True)]
    for stage in config.curriculum:
        stage_decode(config, tasks[0], stage.rollout_block, checkpoint)
        resolve(DecodeConfig(block_size=stage.train_block), checkpoint)
    return TrainPlan(checkpoint, tuple(tasks), tuple(tests), tuple(training), tuple(held_out))


def _rewarded(plan: TaskPlan, task: TaskConfig) -> TaskPlan:
    return plan if task.process is None else replace(plan, process=Process(task.process))


def _unrewarded(plan: TaskPlan, task: TaskConfig) -> TaskPlan:
    if task.process is not None:
        raise InputError(f"evaluation.tasks: {task.task}: process: steps are rewarded in training only")
    return plan


def run_config(config: TrainConfig, task: TaskConfig, decode: DecodeConfig, samples: int | None, seed: int) -> RunConfig:
    """The settings of `unmask eval` for one of the tasks."""
    return RunConfig(
        model=config.model,
        task=(task.task,),
        limit=task.limit,
        samples=samples,
        seed=seed,
        decode=decode,
        task_options=task.options,
        verifier=task.verifier,
        verifier_options=task.verifier_options,
        rule=task.rule,
        data=task.data,
        **config.model_options(),
        dtype=config.dtype,
        device=config.device,
        max_batch=config.max_batch,
    )


def stage_decode(config: TrainConfig, task: TaskPlan, block_size: int, checkpoint: Checkpoint) -> DecodeConfig:
    """The decoding of a task's rollouts with another block size."""
    return resolve(replace(task.decode, block_size=block_size, steps_per_block=config.decode.steps_per_block), checkpoint)


def trainer_class(name: str) -> Any:
    """The trainer that `name` names. Raises InputError where it is none."""
    found = load_object(name, GROUP, TRAINERS)
    lacking = [method for method in NEEDED if not hasattr(found, method)]
    if lacking or not callable(found):
        raise InputError(f"trainer {name!r} is no trainer: it lacks {', '.join(lacking) or 'a constructor'}")
    return found


def make_trainer(config: TrainConfig, model: Model) -> Trainer:
    """Build the trainer for `model`. Raises InputError for options it does not know."""
    trainer: Trainer = trainer_class(config.trainer_name)(model, config.trainer_options, config.steps)
    return trainer


def describe_plan(config: TrainConfig, plan: TrainPlan) -> Mapping[str, Any]:
    """The resolved plan as plain data, for `--dry-run`."""
    groups = config.groups
    return {
        "settings": encode(config),
        "checkpoint": {
            "family": plan.checkpoint.family.name,
            "revision": plan.checkpoint.revision,
            "fingerprint": fingerprint(plan.checkpoint.path),
        },
        "responses": {
            "a step": groups.problems * groups.samples,
            "a step at most": groups.problems * groups.samples * (1 + groups.refill),
            "in all, without refill": groups.problems * groups.samples * config.steps,
        },
        "tasks": [_describe_task(task) for task in plan.tasks],
        "held out": [_describe_task(task) for task in plan.held_out],
        "problems in both": overlap(plan),
    }


def _describe_task(task: TaskPlan) -> Mapping[str, Any]:
    return {
        "task": task.name,
        "problems": len(task.problems),
        "samples": task.samples,
        "data_revision": getattr(task.benchmark, "revision", ""),
        "verifier": f"{task.verifier.name} {task.verifier.version}",
        "process": f"{task.process.name} {task.process.version}" if task.process else None,
        "decode": encode(task.decode),
    }


def overlap(plan: TrainPlan) -> int:
    """How many held-out problems have the very prompt of a training problem."""
    seen = {problem.prompt for task in plan.tasks for problem in task.problems}
    return sum(problem.prompt in seen for task in plan.held_out for problem in task.problems)
