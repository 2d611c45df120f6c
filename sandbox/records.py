"""The records of the sandbox: what to run, within which limits, and what happened. Plain frozen data, no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MiB = 1 << 20
_NO_LIMIT = 1 << 48

ExecutionStatus = Literal["ok", "error", "timeout", "memory", "output", "signal", "denied"]
Kind = Literal["passed", "wrong", "timeout", "memory", "output", "crashed", "denied", "skipped"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use. Sizes are bytes, times seconds; the clocks start when the program starts.

    CPU time decides about a slow program; wall time (default 1.5 x CPU + 1 s) only ends one that sleeps, so that a busy
    machine does not turn right answers into timeouts. `disk` and `files` bound each writable file system (work directory,
    shared memory). `stack` is that of the main thread; `processes` counts threads too.
    """

    cpu_seconds: float = 6.0
    wall_seconds: float | None = None
    memory: int = 512 * MiB
    processes: int = 64
    open_files: int = 256
    output: int = 16 * MiB
    error_output: int = 64 << 10
    file_size: int = 64 * MiB
    disk: int = 64 * MiB
    files: int = 2048
    stack: int = 256 * MiB

    def __post_init__(self) -> None:
        for name in ("cpu_seconds", "memory", "processes", "open_files", "output", "error_output", "disk", "files", "stack"):
            if not 0 < getattr(self, name) < _NO_LIMIT:
                raise ValueError(f"limit {name!r} must be above 0 and finite, not {getattr(self, name)}")
        if not 0 < self.wall < _NO_LIMIT:
            raise ValueError(f"limit 'wall_seconds' must be above 0 and finite, not {self.wall_seconds}")

    @property
    def wall(self) -> float:
        """The wall-clock limit in seconds, with the default filled in."""
        return 1.5 * self.cpu_seconds + 1.0 if self.wall_seconds is None else self.wall_seconds


@dataclass(frozen=True, slots=True)
class Program:
    """A Python program. With `prelude`, the names that LiveCodeBench puts before every program are already defined.

    `files` are written to the work directory (the current directory) before it starts: plain relative names, no directories.
    """

    source: str | bytes
    args: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    prelude: bool = False


@dataclass(frozen=True, slots=True)
class Execution:
    """What one program did.

    `ok` means exit code 0, nothing more: it is no statement about the output. `stdout` is the beginning of the output up to
    its limit, `stderr` the end of it. `signal` is the number of the signal that ended the program. `peak_memory` is the
    largest resident size in bytes, the shared interpreter included. `isolated` is False only for the `process` backend.
    """

    status: ExecutionStatus
    exit_code: int | None
    stdout: bytes
    stderr: bytes
    stdout_truncated: bool
    stderr_truncated: bool
    cpu_seconds: float
    wall_seconds: float
    peak_memory: int
    signal: int | None = None
    backend: str = ""
    isolated: bool = True
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TestVerdict:
    """The verdict on one test: `passed`, or why not, in one line. `skipped` only after an early stop."""

    __test__ = False  # not a pytest class

    kind: Kind
    detail: str = ""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory: int = 0
