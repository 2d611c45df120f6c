"""Verdicts: records, verifiers, and the pool of killable workers that runs them. Imports sandbox only."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import InputError as InputError
    from .limits import PoolLimits as PoolLimits
    from .plugins import load_verifier as load_verifier
    from .pool import VerifierPool as VerifierPool
    from .records import Completion as Completion
    from .records import Message as Message
    from .records import Problem as Problem
    from .records import StepReward as StepReward
    from .records import Verdict as Verdict
    from .verifier import Verifier as Verifier

_PUBLIC = {
    "Completion": "records",
    "InputError": "errors",
    "Message": "records",
    "PoolLimits": "limits",
    "Problem": "records",
    "StepReward": "records",
    "Verdict": "records",
    "Verifier": "verifier",
    "VerifierPool": "pool",
    "load_verifier": "plugins",
}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
