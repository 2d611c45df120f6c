"""unmask: an evaluation and reward harness for diffusion language models, with pluggable trainers.

The public names below are resolved on first use (PEP 562), so that `import unmask` loads neither torch nor sympy.
The repository root is the package: `rewards/records.py` is `unmask.rewards.records`.
"""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "Benchmark": "benchmarks",
    "Completion": "rewards",
    "DecodeConfig": "harness",
    "InputError": "rewards",
    "Problem": "rewards",
    "Rollout": "harness",
    "Sample": "harness",
    "Verdict": "rewards",
    "Verifier": "rewards",
    "VerifierPool": "rewards",
    "evaluate": "harness",
    "load_benchmark": "benchmarks",
    "load_model": "harness",
    "load_verifier": "rewards",
}

__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str) -> object:
    package = _PUBLIC.get(name)
    if package is None:
        raise AttributeError(f"module 'unmask' has no attribute {name!r}")
    return getattr(import_module(f"unmask.{package}"), name)


def __dir__() -> list[str]:
    return list(__all__)
