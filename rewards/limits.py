"""What one attempt at one item may cost in the verification pool. A module of its own, so that verifiers can name limits."""

from dataclasses import dataclass

from .errors import InputError


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Seconds of wall time, seconds of CPU time of the worker, bytes of memory beyond what the warm worker holds.

    None means no limit. CPU time and memory of a verifier's own child processes are not counted.
    """

    wall: float | None = 60.0
    cpu: float | None = 30.0
    memory: int | None = 2 << 30

    def __post_init__(self) -> None:
        for name in ("wall", "cpu", "memory"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"pool limit {name!r}: must be positive or None, is {value}")
