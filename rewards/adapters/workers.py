"""A verifier that brings its own pool: safe to pickle, to fork and to call from any thread.

Frameworks that call a reward function give it no place to open and close anything. The pool is made at the first call in each
process, and its worker processes end with that process.
"""

import os
import threading
import weakref
from collections.abc import Iterable
from typing import Any

from ..plugins import load_verifier
from ..pool import VerifierPool
from ..records import Completion, Problem, Verdict
from ..verifier import Verifier


class PooledVerifier:
    """Judges batches in worker processes. `verifier` is one, or what `load_verifier` takes with `options`."""

    def __init__(self, verifier: Verifier | str, workers: int | None = None, **options: Any) -> None:
        self.verifier = load_verifier(verifier, **options) if isinstance(verifier, str) else verifier
        self._workers = workers
        self._pool: VerifierPool | None = None
        self._pid = 0
        self._lock = threading.Lock()

    def judge(self, items: Iterable[tuple[Problem, Completion]]) -> list[Verdict]:
        """Return one verdict per item, in order. A verifier that fails, hangs or dies costs its own item only."""
        pool = self._open()
        futures = [pool.submit(problem, completion) for problem, completion in items]
        return [future.result() for future in futures]

    def _open(self) -> VerifierPool:
        with self._lock:
            if self._pool is None or self._pid != os.getpid():  # a fork inherits the object, not the pool's thread
                self._pool, self._pid = VerifierPool(self.verifier, self._workers), os.getpid()
                weakref.finalize(self, self._pool.close, abort=True)
            return self._pool

    def __getstate__(self) -> dict[str, Any]:
        return {"verifier": self.verifier, "workers": self._workers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["verifier"], state["workers"])  # type: ignore[misc]
