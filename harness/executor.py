"""Where the work of a run is done: in this process and its children, or on a Ray cluster (`cluster`).

An executor loads what generates and opens pools that judge; the run itself, its files and its order are the same with each.
"""

from concurrent.futures import Future
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

from ..rewards.errors import InputError, nearest
from ..rewards.pool import VerifierPool
from ..rewards.records import Completion, Problem, Verdict
from ..rewards.verifier import Verifier
from .config import RunConfig
from .environment import environment
from .models.memory import parse_size
from .models.model import Model
from .source import Generator, Source, load_source

EXECUTORS = ("local", "ray")

SMALL_MODEL = 20_000_000
"""Parameters below which one thread decodes nearly as fast as two on an idle machine, and several times faster on a busy one."""


class Pool(Protocol):
    """What judges: `VerifierPool`, or many of them elsewhere."""

    def submit(self, problem: Problem, completion: Completion, group: int = 1) -> "Future[Verdict]": ...

    def give_up_groups(self) -> None: ...

    def __enter__(self) -> "Pool": ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Executor(Protocol):
    """Loads and opens what a run needs."""

    def load(self, config: RunConfig, source: Source, device: str) -> tuple[Generator, dict[str, Any]]:
        """What generates, and a description of what it runs on."""

    def pool(self, verifier: Verifier, workers: int | None) -> Pool:
        """What judges; `workers` is how many processes do so, per machine or per task of a cluster."""


class Local:
    """Everything here."""

    def load(self, config: RunConfig, source: Source, device: str) -> tuple[Generator, dict[str, Any]]:
        model = load_source(config, source, device)
        if isinstance(model, Model):
            _set_threads(model, config.threads)
            model.kv_budget = None if config.kv_budget is None else parse_size(config.kv_budget, "--kv-budget")
        return model, environment(model, config)

    def pool(self, verifier: Verifier, workers: int | None) -> VerifierPool:
        return VerifierPool(verifier, workers)

    def __enter__(self) -> "Local":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def open_executor(name: str, actors: int | None = None) -> AbstractContextManager[Executor]:
    """The executor called `name`. `actors` is how many models a cluster is to hold (default: one per accelerator)."""
    if name not in EXECUTORS:
        raise InputError(f"--executor {name}: not one of {', '.join(EXECUTORS)}{nearest(name, EXECUTORS)}")
    if name == "local":
        if actors is not None:
            raise InputError("--actors is for --executor ray; a local run has one model")
        return Local()
    try:
        from .cluster import Cluster
    except ImportError:
        raise InputError("--executor ray needs Ray; install it with: pip install 'unmask[ray]'") from None
    return Cluster(actors)


def _set_threads(model: Model, asked: int | None) -> None:
    """Threads that share a small matrix mostly wait for each other, and badly so beside the verifier's processes."""
    import torch

    small = sum(p.numel() for p in model.network.parameters()) < SMALL_MODEL
    if (threads := asked or (1 if small else None)) is not None:
        torch.set_num_threads(threads)
