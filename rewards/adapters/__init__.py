"""Our verifiers in the shapes of other frameworks: columns (Ray Data, `datasets`), TRL, verl."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .columns import BatchScorer as BatchScorer
    from .columns import score_batch as score_batch
    from .trl import as_trl as as_trl

_PUBLIC = {"BatchScorer": "columns", "as_trl": "trl", "score_batch": "columns"}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
