"""unmask: an evaluation and reward harness for diffusion language models, with pluggable trainers.

The public names below are resolved on first use (PEP 562), so that `import unmask` loads neither torch nor sympy.
The repository root is the package: `rewards/records.py` is `unmask.rewards.records`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .benchmarks import Benchmark as Benchmark
    from .benchmarks import load_benchmark as load_benchmark
    from .harness import DecodeConfig as DecodeConfig
    from .harness import Model as Model
    from .harness import Request as Request
    from .harness import Rollout as Rollout
    from .harness import RunConfig as RunConfig
    from .harness import Sample as Sample
    from .harness import load_model as load_model
    from .harness import load_rollouts as load_rollouts
    from .harness.evaluate import evaluate as evaluate
    from .harness.rollout import rollout as rollout
    from .rewards import Completion as Completion
    from .rewards import InputError as InputError
    from .rewards import Message as Message
    from .rewards import Problem as Problem
    from .rewards import Verdict as Verdict
    from .rewards import Verifier as Verifier
    from .rewards import VerifierPool as VerifierPool
    from .rewards import load_verifier as load_verifier

__version__ = "0.1.0"

_PUBLIC = {
    "Benchmark": "benchmarks",
    "Completion": "rewards",
    "DecodeConfig": "harness",
    "InputError": "rewards",
    "Message": "rewards",
    "Model": "harness",
    "Problem": "rewards",
    "Request": "harness",
    "Rollout": "harness",
    "RunConfig": "harness",
    "Sample": "harness",
    "Verdict": "rewards",
    "Verifier": "rewards",
    "VerifierPool": "rewards",
    "evaluate": "harness.evaluate",  # from the module itself: a package's attribute of this name is the module
    "load_benchmark": "benchmarks",
    "load_model": "harness",
    "load_rollouts": "harness",
    "load_verifier": "rewards",
    "rollout": "harness.rollout",
}

__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str) -> object:
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module 'unmask' has no attribute {name!r}")
    return getattr(import_module(f"unmask.{module}"), name)


def __dir__() -> list[str]:
    return list(__all__)
