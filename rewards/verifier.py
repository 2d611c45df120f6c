"""What a verifier is: one pure, picklable callable per sample.

A verifier never times itself: the pool that runs it does (`pool`). Its name and version are part of the identity of every
verdict, so a verifier that may answer differently has to change its version.

A verifier may also offer, and the pool then uses:
- `limits`, a `PoolLimits`: what one item may cost, unless the user of the pool says otherwise;
- `warm()`: called once in the warm parent of all workers, to import what is heavy;
- `quick(problem, completion) -> Verdict | None`: decides in the caller's process when that takes microseconds and cannot hang;
- `gold_completion(problem)` and `wrong_completions(problem)`: what `validate` expects to pass and to fail;
- `cache_key(problem, completion) -> str | None`: two items with one key get one verdict.
"""

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .errors import InputError, nearest
from .records import Completion, Problem, StepReward, Verdict


@runtime_checkable
class Verifier(Protocol):
    """Judges one completion of one problem."""

    @property
    def name(self) -> str:
        """Short name, as given to `--verifier`."""

    @property
    def version(self) -> str:
        """Changes whenever the same input may get another verdict."""

    def __call__(self, problem: Problem, completion: Completion) -> Verdict: ...


@dataclass(frozen=True)
class FunctionVerifier:
    """A plain function `reward(problem, completion) -> float` as a verifier."""

    function: Callable[..., Any]
    name: str
    version: str
    options: dict[str, object] = field(default_factory=dict)

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Return the function's number as a verdict; a Verdict is passed through, None means that it could not judge.

        A list of (start, end, value) is a process reward: its sum is the reward.
        """
        result = self.function(problem, completion, **self.options)
        if isinstance(result, Verdict):
            return result
        if isinstance(result, list):
            steps = tuple(step if isinstance(step, StepReward) else StepReward(*step) for step in result)
            return replace(verdict_of(sum(step.value for step in steps), self.name), step_rewards=steps)
        return verdict_of(result, self.name)


def verdict_of(reward: object, name: str) -> Verdict:
    """Turn a number into a verdict: 1 and above is correct, 0 and below wrong, between them partial."""
    if reward is None:
        return Verdict(reward=None, status="verifier_error", detail=f"{name} returned None")
    if not isinstance(reward, int | float) or not math.isfinite(reward):
        return Verdict(reward=None, status="verifier_error", detail=f"{name} returned {reward!r:.80}, not a finite number")
    number = float(reward)
    if number >= 1:
        return Verdict(reward=number, status="correct")
    return Verdict(reward=number, status="wrong" if number <= 0 else "partial")


def as_verifier(found: object, spec: str, options: Mapping[str, object]) -> Verifier:
    """Make a verifier from what a name led to: a class, a ready verifier, or a plain function. Raises InputError."""
    if isinstance(found, type):
        _check_options(found, spec, options)
        made = found(**options)
        if not isinstance(made, Verifier):
            raise InputError(f"{spec!r}: {found.__name__} is not a verifier: it needs name, version and __call__")
        return made
    if inspect.isfunction(found):
        return _wrap(found, spec, options)
    if not isinstance(found, Verifier):
        raise InputError(f"{spec!r}: expected a verifier class, a verifier or a function, found {type(found).__name__}")
    if options:
        raise InputError(f"{spec!r} is a ready verifier and takes no options; given: {', '.join(options)}")
    return found


def _wrap(function: Callable[..., Any], spec: str, options: Mapping[str, object]) -> Verifier:
    signature = inspect.signature(function)
    try:
        signature.bind(None, None)
    except TypeError:
        raise InputError(f"{spec!r}: expected a function of (problem, completion), found {signature}") from None
    _check_options(function, spec, options, skip=2)
    version = _source_hash(function, options)
    if list(signature.parameters)[1] == "completions":
        from .groups import GroupFunction

        return GroupFunction(function, spec, version, dict(options))
    return FunctionVerifier(function, spec, version, dict(options))


def _check_options(target: Callable[..., Any], spec: str, options: Mapping[str, object], skip: int = 0) -> None:
    parameters = list(inspect.signature(target).parameters.values())[skip:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters]
    for option in options:
        if option not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InputError(f"{spec!r} has no option {option!r}{nearest(option, known)}; {takes}")


def _source_hash(function: Callable[..., Any], options: Mapping[str, object]) -> str:
    """Hash the file the function stands in (its helpers count too), or its byte code where there is no file."""
    digest = hashlib.sha256(repr(sorted(options.items())).encode() if options else b"")
    source = inspect.getsourcefile(function)
    if source and Path(source).is_file():
        digest.update(Path(source).read_bytes())
    else:
        code = function.__code__
        digest.update(code.co_code + repr((code.co_names, [c for c in code.co_consts if not inspect.iscode(c)])).encode())
    return digest.hexdigest()[:12]
