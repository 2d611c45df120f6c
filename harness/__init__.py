"""Models, decoding, the rollout engine, runs, statistics, command line. Imports sandbox, rewards and benchmarks."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import RunConfig as RunConfig
    from .dataset.read import load_rollouts as load_rollouts
    from .evaluate import RunResult as RunResult
    from .models.model import Model as Model
    from .models.model import load_model as load_model
    from .records import DecodeConfig as DecodeConfig
    from .records import Request as Request
    from .records import Rollout as Rollout
    from .records import Sample as Sample

_PUBLIC = {
    "DecodeConfig": "records",
    "Model": "models.model",
    "Request": "records",
    "Rollout": "records",
    "RunConfig": "config",
    "RunResult": "evaluate",
    "Sample": "records",
    "load_model": "models.model",
    "load_rollouts": "dataset.read",
}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
