"""From what a process did to the one word that says so, and the line that explains it.

Order: memory, time, output, then how it ended. A guest can only claim less than it did (an exit code, a last line), never
`ok`: that takes exit code 0 within every limit.
"""

import re
import signal

from .records import Execution, ExecutionStatus, Limits, MiB
from .worker import GuestOutcome

_OUT_OF_MEMORY = re.compile(r"[\w.]*MemoryError\b")
_REASONS = {
    "wall": ("timeout", "ran longer than the wall-clock limit of {wall:g} s"),
    "cpu": ("timeout", "used more than its {cpu_seconds:g} s of CPU time"),
    "memory": ("memory", "used more than its {memory_mib} MiB of memory"),
    "processes": ("denied", "made more than its {processes} processes"),
    "disk": ("output", "wrote more than {disk_mib} MiB or {files} files"),
    "output": ("output", "wrote more than its {output} bytes of output"),
}  # fmt: skip


def to_execution(outcome: GuestOutcome, limits: Limits, backend: str, *, isolated: bool) -> Execution:
    """Name what happened."""
    status, detail = _status(outcome, limits)
    return Execution(
        status=status,
        exit_code=outcome.exit,
        stdout=outcome.stdout,
        stderr=outcome.stderr,
        stdout_truncated=outcome.stdout_size > len(outcome.stdout),
        stderr_truncated=outcome.stderr_size > len(outcome.stderr),
        cpu_seconds=outcome.cpu,
        wall_seconds=outcome.wall,
        peak_memory=outcome.peak,
        signal=outcome.signal,
        backend=backend,
        isolated=isolated,
        detail=detail,
    )


def _status(outcome: GuestOutcome, limits: Limits) -> tuple[ExecutionStatus, str]:
    reason = outcome.killed or _reason(outcome, limits)
    if reason is not None:
        status, text = _REASONS[reason]
        values = {name: getattr(limits, name) for name in ("wall", "cpu_seconds", "processes", "files", "output")}
        return status, text.format(memory_mib=limits.memory // MiB, disk_mib=limits.disk // MiB, **values)  # type: ignore[return-value]
    if outcome.signal == signal.SIGSYS:
        return "denied", "made a system call that no program needs (killed by the filter)"
    if outcome.signal is not None:
        return "signal", f"ended by signal {outcome.signal} ({_name(outcome.signal)})"
    if outcome.exit != 0:
        return "error", last_line(outcome.stderr) or f"exit code {outcome.exit}"
    return "ok", ""


def _reason(outcome: GuestOutcome, limits: Limits) -> str | None:
    """Limits that the kernel enforced, or that were passed between two looks."""
    if outcome.oom and outcome.signal == signal.SIGKILL:
        return "memory"
    if outcome.exit not in (0, None) and _OUT_OF_MEMORY.match(last_line(outcome.stderr)):
        return "memory"
    if outcome.signal == signal.SIGXCPU or outcome.cpu > limits.cpu_seconds:
        return "cpu"
    full = max(limits.output + 1, limits.file_size)
    if outcome.signal == signal.SIGXFSZ or outcome.stdout_size > limits.output or outcome.stderr_size >= full:
        return "output"
    return None


def last_line(stderr: bytes) -> str:
    """The last line that is not blank: of a traceback, the one that names the error."""
    lines = stderr[-4096:].decode("utf-8", "replace").strip().splitlines()
    return printable(lines[-1].strip()[:300]) if lines else ""


def printable(text: str) -> str:
    """What a guest wrote, without the control characters that could play tricks on a terminal or a log."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "real-time"
