"""Verdicts: records, verifiers, and the pool of killable workers that runs them. Imports sandbox only."""

from importlib import import_module

_PUBLIC = {
    "Completion": "records",
    "InputError": "errors",
    "Message": "records",
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
