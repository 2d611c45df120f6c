"""Problems: where they come from, how they are asked, which verifier judges them. Imports rewards only."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Benchmark as Benchmark
    from .base import breakdown as breakdown
    from .base import verifier_of as verifier_of
    from .overlap import find_overlap as find_overlap
    from .registry import Listing as Listing
    from .registry import list_benchmarks as list_benchmarks
    from .registry import load_benchmark as load_benchmark
    from .sources import Hub as Hub
    from .sources import Source as Source
    from .sources import data_folder as data_folder
    from .validation import validate as validate

_PUBLIC = {
    "Benchmark": "base",
    "Hub": "sources",
    "Listing": "registry",
    "Source": "sources",
    "breakdown": "base",
    "data_folder": "sources",
    "find_overlap": "overlap",
    "list_benchmarks": "registry",
    "load_benchmark": "registry",
    "validate": "validation",
    "verifier_of": "base",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
