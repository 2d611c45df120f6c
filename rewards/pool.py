"""The verification pool: runs any verifier in worker processes that can be killed, and streams the verdicts.

An item's clock starts when a worker picks it up; wall time, CPU time and memory are limited. A worker that hangs, eats memory
or leaves is killed with its process group and replaced from a warm parent in milliseconds; the item is tried once more, then
becomes a `verifier_error`; other items do not notice. `submit` blocks while the queue is full, so memory is bounded. There is
no SIGALRM and nothing runs in the host process but one thread, so it works from any thread, in notebooks, under asyncio
(`asyncio.wrap_future`), inside Ray workers, and from a script without a main guard. Linux and macOS.

Not covered: isolation. A verifier is trusted code; what it judges is not, and runs in `unmask.sandbox`.
"""

import os
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, replace
from types import TracebackType
from typing import TypeVar

from . import _wire
from ._parcel import Parcel, pack
from ._supervisor import Item, Setup, Supervisor
from .errors import InputError
from .groups import incomplete, is_group
from .limits import PoolLimits as PoolLimits
from .records import Completion, Problem, Verdict
from .verifier import Verifier

Key = TypeVar("Key")

_CACHE_ENTRIES = 10_000  # about a kilobyte each; repeats (the samples of a problem) come close together


class VerifierPool:
    """Runs `verifier` over items in `workers` processes (default: one per usable core). A context manager.

    `limits` defaults to the verifier's own (`verifier.limits`) or `PoolLimits()`. At most `pending` items are queued or
    running at once (default: 16 per worker). `parcel` is the verifier as another process packed it, if it came from one.
    """

    def __init__(
        self,
        verifier: Verifier,
        workers: int | None = None,
        limits: PoolLimits | None = None,
        pending: int | None = None,
        *,
        parcel: Parcel | None = None,
    ) -> None:
        self.verifier = verifier
        self.workers = usable_cores() if workers is None else workers
        self.limits: PoolLimits = limits or getattr(verifier, "limits", None) or PoolLimits()
        self.pending = pending or 16 * self.workers
        if self.workers < 1 or self.pending < 1:
            raise InputError(f"a verification pool needs at least one worker and one place, not {workers} and {pending}")
        self._quick = getattr(verifier, "quick", None)
        self._key = getattr(verifier, "cache_key", None)
        self._cache: OrderedDict[str, Verdict] = OrderedDict()
        self._places = threading.BoundedSemaphore(self.pending)
        self._groups: dict[str, list[tuple[Completion, Future[Verdict]]]] = {}
        self._judges_groups = is_group(verifier)
        self._pid = os.getpid()
        self._closed = False
        self._supervisor = Supervisor(_setup(parcel or pack(verifier), self.workers, self.limits))

    def submit(self, problem: Problem, completion: Completion, group: int = 1) -> "Future[Verdict]":
        """Queue one item and return its future. Blocks while the pool is full; do not call it from a future's callback then.

        A verifier of groups waits until `group` completions of the problem were submitted and judges them together; other
        verifiers do not mind. The future raises InputError when the verifier cannot be loaded, and RuntimeError when the pool
        is closed first.
        """
        self._check_open()
        if self._judges_groups:
            return self._join(problem, completion, group)
        if verdict := self._decide_here(problem, completion):
            return _done(verdict)
        future: Future[Verdict] = Future()
        if self._key and (key := self._key(problem, completion)) is not None:
            future.add_done_callback(lambda future: self._remember(key, future))
        item = Item(_encode(problem, completion))
        future.add_done_callback(lambda future: future.cancelled() and item.future.cancel())
        self._put(item, [future])
        return future

    def submit_group(self, problem: Problem, completions: Sequence[Completion]) -> "list[Future[Verdict]]":
        """Queue all samples of a problem for a verifier of groups."""
        return [self.submit(problem, completion, len(completions)) for completion in completions]

    def give_up_groups(self) -> None:
        """Say that no further completions come: groups that are not complete get `verifier_error` verdicts."""
        for problem, members in self._groups.items():
            for _, future in members:
                future.set_result(incomplete(problem, len(members)))
        self._groups.clear()

    def map(self, items: Iterable[tuple[Key, Problem, Completion]]) -> Iterator[tuple[Key, Verdict]]:
        """Judge (key, problem, completion) triples; yield (key, verdict) in completion order.

        Takes from `items` only as fast as the pool has room, so an endless iterator is fine.
        """
        finished: queue.SimpleQueue[tuple[Key, Future[Verdict]]] = queue.SimpleQueue()
        running = 0
        for key, problem, completion in items:
            future = self.submit(problem, completion)
            future.add_done_callback(lambda done, key=key: finished.put((key, done)))  # type: ignore[misc]
            running += 1
            while running and (running >= self.pending or not finished.empty()):
                yield _result(finished.get())
                running -= 1
        for _ in range(running):
            yield _result(finished.get())

    def close(self, *, abort: bool = False) -> None:
        """Wait for what is queued (or drop it, with `abort`), end the worker processes, return when they are gone."""
        self._closed = True
        self.give_up_groups()
        if os.getpid() == self._pid:
            self._supervisor.stop(abort=abort)

    def __enter__(self) -> "VerifierPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(abort=kind is not None)

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("this verification pool belongs to the parent process; make a new one after a fork")
        if self._closed:
            raise RuntimeError("this verification pool is closed")
        if self._supervisor.failure is not None:
            raise self._supervisor.failure

    def _join(self, problem: Problem, completion: Completion, group: int) -> "Future[Verdict]":
        future: Future[Verdict] = Future()
        members = self._groups.setdefault(problem.id, [])
        members.append((completion, future))
        if len(members) >= group:
            del self._groups[problem.id]
            item = Item(_encode(problem, [completion for completion, _ in members]), size=len(members))
            self._put(item, [future for _, future in members])
        return future

    def _put(self, item: Item, futures: "list[Future[Verdict]]") -> None:
        """Hand an item to the supervisor; its verdicts, or what went wrong, go to `futures`."""
        self._places.acquire()
        item.future.add_done_callback(lambda done: _distribute(done, futures))
        item.future.add_done_callback(lambda _: self._places.release())
        self._supervisor.put(item)

    def _decide_here(self, problem: Problem, completion: Completion) -> Verdict | None:
        if self._quick and (verdict := _timed(self._quick, problem, completion)):
            return verdict
        if self._key and (key := self._key(problem, completion)) is not None and (known := self._cache.get(key)):
            return replace(known, seconds=0.0)
        return None

    def _remember(self, key: str, future: "Future[Verdict]") -> None:
        """Keep the verdict for items with the same key. Runs in the supervisor's thread only."""
        if future.cancelled() or future.exception() or future.result().status == "verifier_error":
            return
        self._cache[key] = future.result()
        if len(self._cache) > _CACHE_ENTRIES:
            self._cache.popitem(last=False)


def _setup(parcel: Parcel, workers: int, limits: PoolLimits) -> Setup:
    return Setup({**parcel, "cpu": limits.cpu, "memory": limits.memory}, workers, limits.wall, limits.cpu, limits.memory)


def _encode(problem: Problem, completion: Completion | list[Completion]) -> bytes:
    fields = {name: getattr(problem, name) for name in ("id", "task", "reference", "metadata", "cluster")}
    fields["prompt"] = [[message.role, message.content] for message in problem.prompt]
    try:
        answer = [asdict(one) for one in completion] if isinstance(completion, list) else asdict(completion)
        return _wire.frame([fields, answer])
    except (TypeError, ValueError) as error:
        raise InputError(f"problem {problem.id!r} cannot be sent to a verifier: {error}; references are JSON data") from None


def _timed(quick: Callable[[Problem, Completion], Verdict | None], problem: Problem, completion: Completion) -> Verdict | None:
    started = time.perf_counter()
    try:
        verdict = quick(problem, completion)
    except InputError:
        raise
    except Exception:  # as at any worker boundary: the item goes to a worker, where this error becomes its status
        return None
    return None if verdict is None else replace(verdict, seconds=time.perf_counter() - started)


def _distribute(done: "Future[tuple[Verdict, ...]]", futures: "list[Future[Verdict]]") -> None:
    """Pass on an item's verdicts, its error, or that it was dropped."""
    if done.cancelled():
        for future in futures:
            future.cancel()
        return
    error = done.exception()
    for place, future in enumerate(futures):
        if not future.set_running_or_notify_cancel():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(done.result()[place])


def _done(verdict: Verdict) -> "Future[Verdict]":
    future: Future[Verdict] = Future()
    future.set_result(verdict)
    return future


def _result(finished: tuple[Key, "Future[Verdict]"]) -> tuple[Key, Verdict]:
    return finished[0], finished[1].result()


def usable_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
