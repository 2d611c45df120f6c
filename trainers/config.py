"""The settings of a training run: one strict schema, read from a YAML file and `key.path=value` assignments.

An unknown key is an error that names the nearest known one. Everything but the settings in `FREE` is part of the run's identity:
a run that is resumed has to be given the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..harness.config import parse_value, read_yaml
from ..harness.process.base import ProcessConfig
from ..harness.records import DecodeConfig
from ..harness.store import write_atomically
from ..rewards.errors import InputError
from ..rewards.serde import decode as decode_record
from ..rewards.serde import encode


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise InputError(f"{name} is {value!r}; it must be {wanted}")


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """Problems and their judge: a task with its options, and a verifier in place of the task's own.

    `data` reads the problems from a file; `limit` takes the first problems only. `process` rewards the steps of a training
    task's responses (see `harness.process.base.ProcessConfig`); what a trainer makes of steps is its own option.
    """

    task: str
    options: dict[str, Any] = field(default_factory=dict)
    data: str | None = None
    limit: int | None = None
    verifier: str | None = None
    verifier_options: dict[str, Any] = field(default_factory=dict)
    rule: str | None = None
    process: ProcessConfig | None = None

    def __post_init__(self) -> None:
        _require(self.limit is None or self.limit >= 1, "limit", self.limit, "at least 1")


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """The batch of a step: `problems` groups of `samples` responses each, over all ranks.

    A group is kept if the mean of its rewards lies from `min_reward` to `max_reward` and, with `drop_equal`, its rewards are not
    all equal. While groups are missing, as many new problems are drawn, in at most `refill` further rounds.
    """

    problems: int = 32
    samples: int = 8
    min_reward: float | None = None
    max_reward: float | None = None
    drop_equal: bool = True
    refill: int = 0

    def __post_init__(self) -> None:
        _require(self.problems >= 1, "problems", self.problems, "at least 1")
        _require(self.samples >= 1, "samples", self.samples, "at least 1")
        _require(self.refill >= 0, "refill", self.refill, "0 (no refill) or more")


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """Evaluation on held-out problems before the first step, after every `every` steps and after the last; 0 is never.

    `samples` defaults to the task's own, `decode` to the decoding of the rollouts. The best checkpoint is the one with the
    highest mean score over `tasks`.
    """

    tasks: tuple[TaskConfig, ...] = ()
    every: int = 0
    samples: int | None = None
    decode: DecodeConfig | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.every >= 0, "every", self.every, "0 (never) or more")
        _require(self.samples is None or self.samples >= 1, "samples", self.samples, "at least 1")
        _require(not self.every or bool(self.tasks), "tasks", list(self.tasks), "given where `every` is")


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """A checkpoint and the state to go on from, after every `every` steps and after the last. The `keep` newest checkpoints are
    kept, and the best one.
    """

    every: int = 10
    keep: int = 2

    def __post_init__(self) -> None:
        _require(self.every >= 1, "every", self.every, "at least 1")
        _require(self.keep >= 1, "keep", self.keep, "at least 1")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a block-size curriculum: `steps` steps (the last stage: None, all that are left) with these block sizes.

    Block expansion from B to 2B is two stages: rollouts with B and training rows with 2B, then both with 2B (TraceRL,
    arXiv 2509.06949, section 5.6).
    """

    rollout_block: int
    train_block: int
    steps: int | None = None

    def __post_init__(self) -> None:
        _require(self.steps is None or self.steps >= 1, "steps", self.steps, "at least 1")
        _require(self.rollout_block >= 1, "rollout_block", self.rollout_block, "at least 1")
        good = self.train_block >= self.rollout_block and self.train_block % self.rollout_block == 0
        _require(good, "train_block", self.train_block, f"a multiple of rollout_block ({self.rollout_block})")


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Low-rank adapters (Hu et al., arXiv 2106.09685) on the linear layers named in `targets`; all else is frozen."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    def __post_init__(self) -> None:
        _require(self.rank >= 1, "rank", self.rank, "at least 1")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and below 1")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """All settings of a training run.

    `trainer` holds `name` (as in `unmask list trainers`, `package.module:Class` or `file.py:Class`) and the trainer's own
    options. `revision`, `family`, `mask_id`, `block_size` and `adapter` say of the model what they say to `unmask eval`. `dtype`
    is what rollouts are computed in; the trainers that come with unmask update float32 weights. `trackers` are tensorboard,
    wandb and trackio; metrics.jsonl is always written. `max_verifier_errors` is the share of a step's samples above which a run
    stops.
    """

    model: str
    tasks: tuple[TaskConfig, ...]
    trainer: dict[str, Any]
    steps: int
    out: str
    groups: GroupConfig = field(default_factory=GroupConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    curriculum: tuple[Stage, ...] = ()
    lora: LoraConfig | None = None
    seed: int = 0
    revision: str | None = None
    family: str | None = None
    mask_id: int | None = None
    block_size: int | None = None
    adapter: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    threads: int | None = None
    workers: int | None = None
    max_batch: int = 32
    max_verifier_errors: float = 0.02
    trackers: tuple[str, ...] = ()
    project: str = "unmask"

    def __post_init__(self) -> None:
        _require(bool(self.tasks), "tasks", [], "one task or more (see `unmask list tasks`)")
        _require(isinstance(self.trainer.get("name"), str), "trainer", self.trainer, "a trainer's name, or `name` and options")
        _require(self.steps >= 1, "steps", self.steps, "at least 1")
        _require(0 <= self.seed < 2**63, "seed", self.seed, "between 0 and 2**63 - 1")
        _require(self.max_batch >= 1, "max_batch", self.max_batch, "at least 1")
        _require(self.threads is None or self.threads >= 1, "threads", self.threads, "at least 1")
        _require(self.workers is None or self.workers >= 1, "workers", self.workers, "at least 1")
        _require(0 <= self.max_verifier_errors <= 1, "max_verifier_errors", self.max_verifier_errors, "a share between 0 and 1")
        alone = self.groups.samples == 1 and self.groups.drop_equal
        _require(not alone, "groups.samples", 1, "at least 2, or drop_equal false: the rewards of a group of one are all equal")
        open_ended = [stage.steps is None for stage in self.curriculum[:-1]]
        _require(not any(open_ended), "curriculum", "a stage without steps", "followed by no other stage")

    def model_options(self) -> dict[str, Any]:
        """What `open_checkpoint` and `load_model` are told besides the model's name."""
        return {name: getattr(self, name) for name in ("revision", "family", "mask_id", "block_size", "adapter")}

    @property
    def trainer_name(self) -> str:
        return str(self.trainer["name"])

    @property
    def trainer_options(self) -> dict[str, Any]:
        return {key: value for key, value in self.trainer.items() if key != "name"}

    def stage(self, step: int) -> Stage | None:
        """The stage of the curriculum that step (from 1) belongs to; None without a curriculum."""
        for stage in self.curriculum:
            if stage.steps is None or step <= stage.steps:
                return stage
            step -= stage.steps
        return self.curriculum[-1] if self.curriculum else None


FREE = ("out", "device", "threads", "workers", "max_batch", "trackers", "project")
"""Settings that may change when a run is resumed."""


def read_train_config(file: Path, assignments: Sequence[str], out: Path | None = None) -> TrainConfig:
    """Read the settings of a training run. `out` defaults to runs/<name of the file>."""
    data = read_yaml(file)
    for assignment in assignments:
        assign(data, assignment)
    if out is not None:
        data["out"] = str(out)
    data.setdefault("out", str(Path("runs") / file.stem))
    return decode_record(TrainConfig, _with_numbers(_spelled_out(data)), str(file))


def _spelled_out(data: dict[str, Any]) -> dict[str, Any]:
    """`tasks: arith` and `trainer: rft` are short for a list of one task and for a mapping with a name."""
    out = dict(data)
    if isinstance(out.get("trainer"), str):
        out["trainer"] = {"name": out["trainer"]}
    if "tasks" in out:
        out["tasks"] = _tasks(out["tasks"])
    evaluation = out.get("evaluation")
    if isinstance(evaluation, Mapping) and "tasks" in evaluation:
        out["evaluation"] = {**evaluation, "tasks": _tasks(evaluation["tasks"])}
    return out


NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def _with_numbers(value: Any) -> Any:
    """Numbers such as 1e-6, which YAML 1.1 takes for text, are numbers."""
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value


def _tasks(given: Any) -> Any:
    if isinstance(given, str | Mapping):
        given = [given]
    return [{"task": one} if isinstance(one, str) else one for one in given] if isinstance(given, list) else given


def assign(data: dict[str, Any], assignment: str) -> None:
    """Apply one `key.path=value`; a number in the path is a place in a list, values are YAML."""
    path, equals, text = assignment.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"{assignment!r}: expected key.path=value, for example groups.samples=8")
    target: Any = data
    for depth, key in enumerate(keys[:-1]):
        target = _inside(target, key, ".".join(keys[: depth + 1]))
    if isinstance(target, list):
        target[_place(target, keys[-1], path)] = parse_value(text)
    else:
        target[keys[-1]] = parse_value(text)


def _inside(target: Any, key: str, path: str) -> Any:
    if isinstance(target, list):
        found = target[_place(target, key, path)]
    else:
        if target.get(key) is None:
            target[key] = {}
        found = target[key]
        if isinstance(found, str) and path.endswith(("trainer", "tasks")):
            found = target[key] = {"name" if path == "trainer" else "task": found}
    if not isinstance(found, dict | list):
        raise InputError(f"{path} is {found!r} and has nothing inside that could be set")
    return found


def _place(target: list[Any], key: str, path: str) -> int:
    if not key.isdigit() or int(key) >= len(target):
        raise InputError(f"{path}: expected a place in a list of {len(target)}, counted from 0")
    return int(key)


def write_train_config(config: TrainConfig, path: Path) -> None:
    """Write settings that `read_train_config` reads back as the same."""
    import yaml

    write_atomically(path, yaml.safe_dump(encode(config), sort_keys=False, allow_unicode=True))


def changed_setting(ours: TrainConfig, path: Path) -> str | None:
    """Compare with the settings in a run directory; returns "key.path was theirs, is now ours" for the first that matters."""
    theirs = encode(decode_record(TrainConfig, read_yaml(path), str(path)))
    mine = encode(ours)
    return next((found for name in mine if name not in FREE and (found := _difference(name, theirs[name], mine[name]))), None)


def _difference(path: str, theirs: Any, ours: Any) -> str | None:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        inside = (_difference(f"{path}.{key}", theirs.get(key), ours.get(key)) for key in {**theirs, **ours})
        return next((found for found in inside if found), None)
    return None if theirs == ours else f"{path} was {theirs!r}, is now {ours!r}"
