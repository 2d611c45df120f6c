"""`Sandbox`: runs programs in warm workers of one backend and says what they did. Thread-safe; a context manager.

It knows nothing of tests; `judging` builds verdicts on top of it.
"""

import re
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from types import TracebackType
from typing import NamedTuple

from . import runtime
from .backends.base import Backend
from .classify import to_execution
from .errors import SandboxFault
from .pool import Pool
from .records import Execution, Limits, Program
from .worker import GuestOutcome, GuestSpec

_HEAVY = re.compile(rb"^\s*(?:from|import)\s+(?:" + "|".join(runtime.HEAVY).encode() + rb")\b", re.MULTILINE)
_PLAIN_NAME = re.compile(r"[\w.+ -]{1,100}")


class Job(NamedTuple):
    """One program for `run_many`."""

    program: Program | str | bytes
    stdin: bytes = b""
    limits: Limits | None = None


class Sandbox:
    """Made by `open_sandbox`. `choice` says why this backend was chosen, and what kept stronger ones from being."""

    def __init__(self, backend: Backend, limits: Limits, workers: int, choice: str = "") -> None:
        self._pool = Pool(backend, workers, limits)
        self._finish = weakref.finalize(self, _close, self._pool, backend)
        self.limits = limits
        self.choice = choice

    @property
    def backend(self) -> str:
        """The name of the backend."""
        return self._pool.backend.name

    @property
    def isolated(self) -> bool:
        """Whether programs are kept from the host. False only for the `process` backend."""
        return self._pool.backend.isolated

    @property
    def workers(self) -> int:
        """How many programs run at a time at most."""
        return self._pool.size

    def run(
        self,
        program: Program | str | bytes,
        stdin: bytes = b"",
        args: Sequence[str] = (),
        files: Mapping[str, bytes] | None = None,
        limits: Limits | None = None,
    ) -> Execution:
        """Run one Python program to its end.

        Args:
            program: source text, or a `Program` that carries its own args and files.
            stdin: what it reads; afterwards its stdin is at the end.
            args: `sys.argv[1:]`.
            files: plain file names and their contents, put into the current directory.
            limits: instead of the sandbox's own.

        Raises ValueError for arguments that cannot be passed on, SandboxFault when the sandbox (not the program) failed.
        """
        program = _as_program(program, args, files or {})
        limits = limits or self.limits
        outcome = self.request([GuestSpec("program", program, stdin)], limits)[0]
        return self.describe(outcome, limits)

    def run_many(self, jobs: Iterable[Job], limits: Limits | None = None) -> Iterator[tuple[int, Execution | SandboxFault]]:
        """Run many programs and yield (position, what happened) as each ends.

        `jobs` is read only as far ahead as the workers need. A SandboxFault is yielded, not raised: the others go on.
        """
        with ThreadPoolExecutor(self.workers, thread_name_prefix="sandbox") as threads:
            running: dict[Future[Execution], int] = {}
            try:
                for position, job in enumerate(jobs):
                    own = job.limits or limits
                    running[threads.submit(self.run, job.program, job.stdin, limits=own)] = position
                    if len(running) >= 2 * self.workers:
                        yield from _finished(running)
                while running:
                    yield from _finished(running)
            finally:
                for future in running:
                    future.cancel()

    def request(self, guests: Sequence[GuestSpec], limits: Limits) -> list[GuestOutcome]:
        """Run one request of one or two guests in one worker (for `judging`)."""
        heavy = any(_HEAVY.search(_bytes(guest.program.source)) for guest in guests)
        return self._pool.run(guests, limits, heavy=heavy)

    def describe(self, outcome: GuestOutcome, limits: Limits) -> Execution:
        """Name what a guest did (for `judging`)."""
        return to_execution(outcome, limits, self.backend, isolated=self.isolated)

    def close(self) -> None:
        """End all workers and leave nothing behind. Programs still running in other threads end as SandboxFault."""
        self._finish()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _close(pool: Pool, backend: Backend) -> None:
    pool.close()
    backend.close()


def _finished(running: dict[Future[Execution], int]) -> Iterator[tuple[int, Execution | SandboxFault]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        position = running.pop(future)
        try:
            yield position, future.result()
        except SandboxFault as fault:
            yield position, fault


def _as_program(program: Program | str | bytes, args: Sequence[str], files: Mapping[str, bytes]) -> Program:
    if not isinstance(program, Program):
        program = Program(program)
    if args or files:
        program = replace(program, args=(*program.args, *args), files={**program.files, **files})
    for name in program.files:
        if not _PLAIN_NAME.fullmatch(name) or name.strip(". ") == "":
            raise ValueError(f"{name!r} is no plain file name (letters, digits, '_', '.', '+', '-', blanks; no directories)")
    return program


def _bytes(source: str | bytes) -> bytes:
    return source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
