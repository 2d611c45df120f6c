"""What a verifier is: one pure, picklable callable per sample.

A verifier never times itself: the pool that runs it does (`pool`). Its name and version are part of the identity of every
verdict, so a verifier that may answer differently has to change its version.
"""

from typing import Protocol, runtime_checkable

from .records import Completion, Problem, Verdict


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
