"""Verdicts: records, verifiers, and the pool of killable workers that runs them. Imports sandbox only."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .compose import Cascade as Cascade
    from .compose import Gate as Gate
    from .compose import Part as Part
    from .compose import Weighted as Weighted
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
    "Cascade": "compose",
    "Completion": "records",
    "Gate": "compose",
    "InputError": "errors",
    "Message": "records",
    "Part": "compose",
    "PoolLimits": "limits",
    "Problem": "records",
    "StepReward": "records",
    "Verdict": "records",
    "Verifier": "verifier",
    "VerifierPool": "pool",
    "Weighted": "compose",
    "load_verifier": "plugins",
}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
