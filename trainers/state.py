"""What a run goes on from: `state/step-N`, written as a whole or not at all.

Tensors go through torch.distributed.checkpoint, each rank writing and reading its own shards, so that a job may go on with
another number of ranks; everything else is one pickle of plain data. Folders appear by renaming: a crash or a full disk leaves
the last good one as it was.
"""

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from ..harness.evaluate import RunError
from ..rewards.errors import InputError
from ..rewards.serde import decode, encode
from .parallel import all_max, rank
from .sharding import barrier

TENSOR, SHARDED = "__tensor__", "__sharded__"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the loop is: steps done, problems drawn, tokens generated and forwarded so far, and the best evaluation."""

    schema: ClassVar[int] = 1

    step: int = 0
    drawn: int = 0
    tokens: int = 0
    forwarded: float = 0.0
    best_step: int | None = None
    best_score: float | None = None


def folder_of(parent: Path, step: int) -> Path:
    """The folder of a step's state or checkpoint."""
    return parent / f"step-{step:05d}"


def steps_in(parent: Path) -> list[int]:
    """The steps whose folders are complete, ascending."""
    return sorted(int(path.name[5:]) for path in parent.glob("step-*") if path.name[5:].isdigit())


@contextmanager
def whole_folder(target: Path, last_good: str) -> Iterator[Path]:
    """Let a block write into a new folder which becomes `target` when the block ends well; on all ranks together.

    Raises RunError, naming `last_good`, where writing fails.
    """
    temporary = target.with_name(f".{target.name}.new")
    failure: BaseException | None = None
    try:
        if rank() == 0:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        barrier()
        yield temporary
    except (OSError, RuntimeError, CheckpointException) as error:
        failure = error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        failure = error
    if all_max(float(failure is not None)):
        if rank() == 0:
            shutil.rmtree(temporary, ignore_errors=True)
        reason = _reason(failure) if failure is not None else "another rank failed"
        raise RunError(
            f"{target} could not be written ({reason}); {last_good}; make room and give the same command again"
        ) from failure
    if rank() == 0:
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    barrier()


def _reason(error: BaseException) -> str:
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


def write_state(folder: Path, weights: Mapping[str, Tensor], trainer: Mapping[str, Any], progress: Progress) -> None:
    """Write trainable weights, the trainer's state and the loop's own into `folder`. All ranks together."""
    tensors: dict[str, Tensor] = {f"weights.{name}": weight.detach() for name, weight in weights.items()}
    plain = _without_tensors(trainer, "trainer", tensors)
    with _one_process_is_fine():
        save(tensors, storage_writer=FileSystemWriter(folder / "tensors"), no_dist=not _many())
    if rank() == 0:
        torch.save(plain, folder / "trainer.pt")
        facts = {"sharded": any(isinstance(weight, DTensor) for weight in weights.values()), "progress": encode(progress)}
        (folder / "progress.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")


def read_progress(folder: Path) -> Progress:
    """The loop's own state."""
    return decode(Progress, _facts(folder)["progress"], str(folder / "progress.json"))


def _facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "progress.json").read_text("utf-8"))
    return facts


def read_state(folder: Path, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read `folder` into the trainable `weights`, in place, and return the trainer's state.

    Raises InputError where the run was sharded and this process is not, or the other way round.
    """
    like = next(iter(weights.values()))
    was_sharded = _facts(folder)["sharded"]
    if was_sharded != isinstance(like, DTensor):
        now = "with torchrun (any number of processes)" if was_sharded else "without torchrun"
        raise InputError(f"{folder.parent.parent}: the run was started {now}; go on in the same way")
    plain = torch.load(folder / "trainer.pt", weights_only=True)
    reader = FileSystemReader(folder / "tensors")
    stored = reader.read_metadata().state_dict_metadata
    tensors = {f"weights.{name}": weight.detach() for name, weight in weights.items()}
    tensors |= {key: _room(stored[key], like if sharded else None) for key, sharded in _places(plain)}
    with _one_process_is_fine():
        load(tensors, storage_reader=reader, no_dist=not _many())
    state: dict[str, Any] = _with_tensors(plain, tensors)
    return state


@contextmanager
def _one_process_is_fine() -> Iterator[None]:
    """torch warns of a checkpoint that one process writes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _many() -> bool:
    return torch.distributed.is_initialized()


def _without_tensors(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Replace every tensor inside plain data by its place in `tensors`."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach()
        return {TENSOR: path, SHARDED: isinstance(value, DTensor)}
    if isinstance(value, Mapping):
        return {key: _without_tensors(item, f"{path}.{key}", tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_without_tensors(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    return value


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if TENSOR in value:
            return tensors[value[TENSOR]]
        return {key: _with_tensors(item, tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_with_tensors(item, tensors) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def _places(value: Any) -> Iterator[tuple[str, bool]]:
    if isinstance(value, dict):
        if TENSOR in value:
            yield value[TENSOR], value[SHARDED]
        else:
            for item in value.values():
                yield from _places(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _places(item)


def _room(stored: Any, like: Tensor | None) -> Tensor:
    """An empty tensor to read into, spread over the ranks as `like` is."""
    if isinstance(like, DTensor):
        from torch.distributed.tensor import empty

        out: Tensor = empty(*stored.size, dtype=stored.properties.dtype, device_mesh=like.device_mesh, placements=like.placements)
        return out
    return torch.empty(stored.size, dtype=stored.properties.dtype)
