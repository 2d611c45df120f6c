"""A run's settings: one dataclass, read from a YAML file, flags and `--set key.path=value`, in this order.

An unknown key is an error that names the nearest known one. Which settings are part of a run's identity stands in
`IDENTITY`: the others (batch size, threads, workers) may change when a run is resumed. So may the device, where the dtype that
"auto" stands for stays the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..rewards.errors import InputError, nearest
from ..rewards.serde import decode as decode_record
from ..rewards.serde import encode
from .models.memory import parse_size
from .records import DecodeConfig
from .store import write_atomically

OFFICIAL = "official"
"""The name under which `--decode` takes the settings of a checkpoint's authors."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The settings of an evaluation.

    `limit` takes the first problems of each task; `samples` defaults to the task's own; `rule` is the scoring rule, an option of
    the task or of its verifier; `verifier` replaces the task's, `verifier_options` are its options. `threads` are torch's on a
    CPU (default: one for a small model, else torch's own choice), `workers` the processes that verify (default: one per core).
    `family`, `mask_id` and `block_size` say of the model what its checkpoint does not: which kind it is (a known family's name, a
    YAML file or a plug-in), its mask token and the block size it was trained with. `adapter` is the directory of a LoRA.
    `kv_budget` is the most memory that an exact cache may take, such as 2GiB. `official` takes the decode settings that the
    checkpoint's authors report for each task; what `decode` sets goes on top.
    """

    model: str
    task: tuple[str, ...]
    limit: int | None = None
    samples: int | None = None
    seed: int = 0
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    task_options: dict[str, Any] = field(default_factory=dict)
    verifier: str | None = None
    verifier_options: dict[str, Any] = field(default_factory=dict)
    rule: str | None = None
    data: str | None = None
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    max_batch: int = 32
    kv_budget: str | None = None
    threads: int | None = None
    workers: int | None = None
    max_verifier_errors: float = 0.02
    family: str | None = None
    mask_id: int | None = None
    block_size: int | None = None
    adapter: str | None = None
    official: bool = False

    def __post_init__(self) -> None:
        _require(bool(self.model), "--model", self.model, "a checkpoint: demo, a directory or a hub id")
        _require(bool(self.task), "--task", "", "one or more task names (see `unmask list tasks`)")
        _require(self.limit is None or self.limit >= 1, "--limit", self.limit, "at least 1")
        _require(self.samples is None or self.samples >= 1, "--samples", self.samples, "at least 1")
        _require(0 <= self.seed < 2**63, "--seed", self.seed, "between 0 and 2**63 - 1")
        if self.kv_budget is not None:
            parse_size(self.kv_budget, "--kv-budget")
        _require(self.max_batch >= 1, "max_batch", self.max_batch, "at least 1")
        _require(self.threads is None or self.threads >= 1, "threads", self.threads, "at least 1")
        _require(self.workers is None or self.workers >= 1, "workers", self.workers, "at least 1")
        _require(0 <= self.max_verifier_errors <= 1, "max_verifier_errors", self.max_verifier_errors, "a share between 0 and 1")
        _require(self.data is None or len(self.task) == 1, "--data", self.data, "given with a single task only")

    def model_options(self) -> dict[str, Any]:
        """What `open_checkpoint` and `load_model` are told besides the model's name."""
        return {name: getattr(self, name) for name in ("revision", "family", "mask_id", "block_size", "adapter")}


IDENTITY = (
    "model",
    "task",
    "limit",
    "samples",
    "seed",
    "decode",
    "task_options",
    "verifier",
    "verifier_options",
    "rule",
    "data",
    "revision",
    "dtype",
    "family",
    "mask_id",
    "block_size",
    "adapter",
    "official",
)
"""Settings that make two runs different runs."""


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise InputError(f"{name} is {value!r}; it must be {wanted}")


def read_config(file: Path | None, flags: Mapping[str, Any], sets: Sequence[str], preset: str | None) -> RunConfig:
    """Merge a YAML file, flags (None: not given), a decode preset and `--set` assignments into a RunConfig."""
    data = read_yaml(file) if file else {}
    for name, value in flags.items():
        if value is not None:
            data[name] = value
    if preset == OFFICIAL:
        data["official"] = True
    elif preset is not None:
        _merge(data, "decode", _preset(preset))
    for assignment in sets:
        _assign(data, assignment)
    if isinstance(data.get("task"), str):
        data["task"] = [name.strip() for name in data["task"].split(",") if name.strip()]
    missing = [f"--{name}" for name in ("model", "task") if name not in data]
    if missing:
        raise InputError(
            f"{' and '.join(missing)} missing, for example `unmask eval --model demo --task arith --limit 20 --out DIR`"
        )
    return decode_record(RunConfig, data, str(file) if file else "settings")


def _preset(name: str) -> Mapping[str, Any]:
    from .decoding.presets import PRESETS

    if name not in PRESETS:
        known = (OFFICIAL, *PRESETS)
        raise InputError(f"--decode {name}: not one of {', '.join(known)}{nearest(name, known)}; see `unmask list decoders`")
    return PRESETS[name].settings


def _merge(data: dict[str, Any], section: str, values: Mapping[str, Any]) -> None:
    existing = data.get(section) or {}
    if not isinstance(existing, Mapping):
        raise InputError(f"settings: field {section!r}: expected an object, found {existing!r}")
    data[section] = {**existing, **values}


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a file of settings. Raises InputError when it cannot be read or is no mapping of names."""
    import yaml

    try:
        data = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise InputError(f"{file}: expected `key: value` lines at the top, with names as keys")
    return data


def _assign(data: dict[str, Any], assignment: str) -> None:
    """Apply one `key.path=value`. `task.NAME` and `verifier.NAME` are options of the task and its verifier; values are YAML."""
    path, equals, text = assignment.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"--set {assignment}: expected key=value, for example --set decode.threshold=0.9")
    if keys[0] in ("task", "verifier") and len(keys) == 2:
        keys[0] += "_options"
    target = data
    for key in keys[:-1]:
        _merge(target, key, {})
        target = target[key]
    target[keys[-1]] = parse_value(text)


def parse_value(text: str) -> Any:
    """Read a setting's value as YAML; numbers such as 1e-3, which YAML 1.1 takes for text, are numbers."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return value
        return number if math.isfinite(number) else value
    return value


def write_config(config: RunConfig, path: Path) -> None:
    """Write a config that `--config` reads back as the same RunConfig."""
    import yaml

    write_atomically(path, yaml.safe_dump(encode(config), sort_keys=False, allow_unicode=True))


def first_difference(ours: RunConfig, path: Path) -> str | None:
    """Compare with the config in a run directory; returns "key: theirs, ours" for the first that makes it another run."""
    theirs = decode_record(RunConfig, read_yaml(path), str(path))
    mine, other = encode(ours), encode(theirs)
    for name in IDENTITY:
        if mine[name] != other[name]:
            return _difference(name, other[name], mine[name])
    return None


def _difference(name: str, theirs: Any, ours: Any) -> str:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        key = next(key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key))
        return f"{name}.{key} was {theirs.get(key)!r}, is now {ours.get(key)!r}"
    return f"{name} was {theirs!r}, is now {ours!r}"
