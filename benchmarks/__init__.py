"""Problems: where they come from, how they are asked, which verifier judges them. Imports rewards only."""

from importlib import import_module

_PUBLIC = {
    "Benchmark": "base",
    "Hub": "sources",
    "Listing": "registry",
    "Source": "sources",
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
