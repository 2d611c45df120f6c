"""Lends workers to callers: starts them when first needed, replaces broken and old ones, bounds how many run at a time.

Thread-safe. A worker is used by one caller at a time; a caller that waits for its own worker to start blocks nobody else.
After a fork of the host process the child starts with a pool of its own. There are two kinds of workers: light ones, and
heavy ones that have imported large packages before the first program; the bound is on programs that run at a time, so that
mixed programs do not make one kind displace the other.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from .backends.base import Backend
from .channel import WorkerBroken
from .errors import SandboxFault, SandboxUnavailable
from .records import Limits
from .worker import GuestOutcome, GuestSpec, Worker

_RUNS_PER_WORKER = 2000


class Pool:
    """At most `size` programs at a time, in workers of `backend`."""

    def __init__(self, backend: Backend, size: int, limits: Limits) -> None:
        self.backend, self.size, self.limits = backend, size, limits
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._free = threading.Semaphore(self.size)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._lent: set[Worker] = set()
        self._closed = False

    def run(self, guests: Sequence[GuestSpec], limits: Limits, *, heavy: bool) -> list[GuestOutcome]:
        """Run one request. A broken worker is replaced and the request retried once; then SandboxFault."""
        problem = ""
        for _ in range(2):
            try:
                with self._lend(heavy=heavy) as worker:
                    self.backend.fit(worker, limits)
                    return worker.run(guests, limits)
            except (WorkerBroken, SandboxUnavailable) as error:
                problem = str(error).removeprefix(f"{self.backend.name}: ")
        raise SandboxFault(f"{self.backend.name}: {problem}")

    @contextmanager
    def _lend(self, *, heavy: bool) -> Iterator[Worker]:
        if self._pid != os.getpid():
            self._reset()  # a fork: the workers belong to the parent
        with self._free:
            worker = self._take(heavy) or self.backend.start(heavy=heavy, limits=self.limits)
            with self._lock:
                self._lent.add(worker)
            try:
                yield worker
            except BaseException:  # whatever happened, what the worker is doing is not known
                worker.retired = True
                raise
            finally:
                self._give_back(worker)

    def _take(self, heavy: bool) -> Worker | None:
        """An idle worker of the kind, the one used last."""
        with self._lock:
            if self._closed:
                raise SandboxFault("the sandbox has been closed")
            for i in reversed(range(len(self._idle))):
                if self._idle[i].heavy == heavy:
                    return self._idle.pop(i)
        return None

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            self._lent.discard(worker)
            keep = not (worker.retired or self._closed or worker.runs >= _RUNS_PER_WORKER)
            if keep:
                self._idle.append(worker)
        if not keep:
            worker.close()

    def workers(self) -> list[Worker]:
        """The workers that are up now."""
        with self._lock:
            return [*self._idle, *self._lent]

    def close(self) -> None:
        """End all workers, those in use as well."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._closed = True
            workers, self._idle = [*self._idle, *self._lent], []
        for worker in workers:
            with suppress(OSError):
                worker.close()
