"""The supervisor of the verification pool: one thread that hands out items, watches the clock and replaces workers.

It talks to the warm parent (`_zygote`) over one socket and to every worker over another. A worker is known to be dead when
the warm parent says so, never by guess. An attempt that fails (the verifier raised, hung, ate memory or left) costs the
worker; the item is tried once more in a fresh one, then it becomes a `verifier_error`. Not covered here: back-pressure and
caching (`pool`).
"""

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from . import _wire
from ._parent import GRACE, WarmParent
from .errors import InputError
from .records import Verdict
from .serde import decode

ATTEMPTS = 2  # the first, and one more in a fresh worker
_RESTARTS = 3  # deaths of the warm parent in a row, without a verdict between them, that end the pool


@dataclass(slots=True, eq=False)
class Item:
    """One problem and `size` completions of it, encoded, on its way to as many verdicts. Its limits grow with its size."""

    message: bytes
    future: "Future[tuple[Verdict, ...]]" = field(default_factory=Future)
    size: int = 1
    attempts: int = 0


@dataclass(slots=True, eq=False)
class _Worker:
    sock: socket.socket
    inbox: _wire.Inbox = field(default_factory=_wire.Inbox)
    outbox: memoryview = field(default_factory=lambda: memoryview(b""))
    pid: int | None = None
    ready: bool = False
    served: int = 0
    item: Item | None = None
    started: float = 0.0
    killed: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the supervisor needs to know to start: the message for the warm parent and the limits of an item."""

    message: dict[str, Any]
    workers: int
    wall: float | None
    cpu: float | None
    memory: int | None


class Supervisor:
    """Runs items in killable workers. `put` and `stop` may be called from any thread; the rest is the thread's own."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._incoming: deque[Item] = deque()
        self._retry: deque[Item] = deque()
        self._workers: dict[int, _Worker] = {}
        self._next_key = 0
        self._unborn = 0
        self._fork_after = 0.0
        self._deaths = 0
        self._warm = False
        self._stopping = False
        self._aborting = False
        self.failure: Exception | None = None
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self._run, name="unmask-verifier-pool", daemon=True)
        self.thread.start()

    # Called from any thread.

    def put(self, item: Item) -> None:
        """Queue `item`; its future gets the verdict."""
        self._incoming.append(item)
        self._ring()
        if not self.thread.is_alive():
            self._fail_all()

    def stop(self, *, abort: bool) -> None:
        """Finish what is queued (or, with `abort`, drop it), end all processes and return when they are gone."""
        self._aborting = self._aborting or abort
        self._stopping = True
        self._ring()
        if threading.current_thread() is not self.thread:
            self.thread.join()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # full: it is ringing already; closed: nobody listens any more
            self._ringer.send(b"\0")

    # The thread.

    def _run(self) -> None:
        try:
            self._open_parent()
            try:
                while not self._done():
                    self._staff()
                    self._hand_out()
                    self._wait()
                    self._watch_clocks()
            finally:
                self._close_all()
        except Exception as error:  # kept for whoever waits on a future: this thread has no caller
            self.failure = error
        finally:
            self._fail_all()
            self._selector.close()
            self._bell.close()
            self._ringer.close()

    def _done(self) -> bool:
        busy = self._incoming or self._retry or any(worker.item for worker in self._workers.values())
        return self._stopping and (self._aborting or not busy)

    def _fail_all(self) -> None:
        items = [worker.item for worker in self._workers.values() if worker.item]
        for worker in self._workers.values():
            worker.item = None
        for queue in (self._retry, self._incoming):
            while queue:
                items.append(queue.popleft())
        for item in items:
            if self.failure is None:
                item.future.cancel()
            if not item.future.done():
                item.future.set_exception(self.failure or RuntimeError("the verification pool was closed before this verdict"))

    def _open_parent(self) -> None:
        self._warm = False
        self._parent = WarmParent(self._setup.message)
        self._selector.register(self._parent.sock, selectors.EVENT_READ)

    def _close_all(self) -> None:
        self._parent.end()
        for worker in self._workers.values():
            worker.sock.close()

    def _staff(self) -> None:
        """Ask for as many workers as are missing."""
        if not self._warm or time.monotonic() < self._fork_after:
            return
        while len(self._workers) < self._setup.workers:
            key, self._next_key = self._next_key, self._next_key + 1
            worker = self._workers[key] = _Worker(self._parent.fork(key))
            self._selector.register(worker.sock, selectors.EVENT_READ, key)

    def _hand_out(self) -> None:
        for worker in self._workers.values():
            if worker.ready and worker.item is None and worker.killed is None and (item := self._next_item(worker)):
                worker.item, worker.started = item, time.monotonic()
                worker.outbox = memoryview(item.message)
                self._flush(worker)

    def _next_item(self, worker: _Worker) -> Item | None:
        if self._retry and worker.served == 0:
            return self._retry.popleft()
        while self._incoming:
            item = self._incoming.popleft()
            if item.future.set_running_or_notify_cancel():
                return item
        return None

    def _flush(self, worker: _Worker) -> None:
        try:
            while worker.outbox:
                worker.outbox = worker.outbox[worker.sock.send(worker.outbox) :]
        except BlockingIOError:
            pass
        except OSError:
            worker.outbox = memoryview(b"")  # it died; the warm parent will say how
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outbox else 0)
        if worker.sock in self._selector.get_map() and self._selector.get_key(worker.sock).events != events:
            self._selector.modify(worker.sock, events, self._selector.get_key(worker.sock).data)

    def _wait(self) -> None:
        """Sleep until something happens, then listen to the workers first: a verdict that is there counts."""
        reported = False
        for key, events in self._selector.select(self._timeout()):
            if key.fileobj is self._bell:
                self._bell.recv(65536)
            elif key.fileobj is self._parent.sock:
                reported = True
            elif key.data in self._workers:
                if events & selectors.EVENT_WRITE:
                    self._flush(self._workers[key.data])
                if events & selectors.EVENT_READ:
                    self._hear_worker(self._workers[key.data])
        if reported:
            self._hear_parent()

    def _timeout(self) -> float | None:
        times = [self._fork_after] if self._fork_after else []
        for worker in self._workers.values():
            if worker.killed is not None:
                times.append(worker.killed + GRACE)
            elif worker.item and self._setup.wall is not None:
                times.append(worker.started + self._setup.wall * worker.item.size)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _hear_worker(self, worker: _Worker) -> None:
        try:
            data = worker.sock.recv(1 << 20)
            messages = worker.inbox.feed(data)
        except BlockingIOError:
            return
        except (OSError, _wire.WireError) as error:
            data, messages = b"", []
            worker.why = worker.why or f"the worker spoke nonsense: {error}"
        if not data:
            if worker.sock in self._selector.get_map():
                self._selector.unregister(worker.sock)
            self._kill(worker, "")
        for message in messages:
            self._take(worker, message)

    def _take(self, worker: _Worker, message: dict[str, Any]) -> None:
        if "ready" in message:
            worker.ready = True
            return
        item, worker.item = worker.item, None
        worker.served += 1
        if item is None:
            return
        self._deaths = 0
        verdicts = _verdicts(message)
        failed = next((verdict for verdict in verdicts if verdict.status == "verifier_error"), None)
        if failed is not None:
            worker.item = item
            self._kill(worker, failed.detail)
            return
        worker.ready = not message["last"]
        item.future.set_result(verdicts)

    def _kill(self, worker: _Worker, why: str) -> None:
        worker.ready = False
        worker.why = worker.why or why
        if worker.killed is None and worker.pid is not None:
            worker.killed = time.monotonic()
            self._parent.kill_worker(worker.pid)

    def _watch_clocks(self) -> None:
        now = time.monotonic()
        self._fork_after = self._fork_after if self._fork_after > now else 0.0
        for worker in list(self._workers.values()):
            if worker.killed is not None:
                if now > worker.killed + GRACE:
                    self._parent.kill()
            elif worker.item and self._setup.wall is not None:
                wall = self._setup.wall * worker.item.size
                if now < worker.started + wall:
                    continue
                self._hear_worker(worker)
                if worker.item and worker.killed is None:
                    self._kill(worker, f"took longer than {wall:g} s")

    def _hear_parent(self) -> None:
        reports = self._parent.reports()
        if reports is None:
            self._parent_died()
            return
        for message in reports:
            if "failed" in message:
                raise InputError(f"the verifier could not be loaded in a worker process: {message['failed']}")
            if "warm" in message:
                self._warm = True
            elif "born" in message:
                worker = self._workers[message["born"]]
                worker.pid = message["pid"]
                if worker.why:
                    self._kill(worker, worker.why)
            elif "unborn" in message:
                self._not_born(message)
            elif "dead" in message:
                key = next(key for key, worker in self._workers.items() if worker.pid == message["dead"])
                self._bury(key, message["why"])

    def _not_born(self, message: dict[str, Any]) -> None:
        self._unborn += 1
        self._bury(message["unborn"], message["why"])
        self._fork_after = time.monotonic() + 0.5
        if self._unborn > 20 and not self._workers:
            raise RuntimeError(f"the verification pool has no workers: {message['why']}")

    def _bury(self, key: int, why: str) -> None:
        worker = self._workers[key]
        if worker.item and worker.killed is None:
            self._hear_worker(worker)  # its last words may be a verdict
        del self._workers[key]
        if worker.sock in self._selector.get_map():
            self._selector.unregister(worker.sock)
        worker.sock.close()
        if worker.item:
            limit = self._setup.cpu and self._setup.cpu * worker.item.size
            cpu = f"used more than {limit:g} s of CPU" if limit else "used too much CPU"
            self._attempt_failed(worker, worker.why or (cpu if why == "cpu" else f"the worker {why}"))

    def _attempt_failed(self, worker: _Worker, why: str) -> None:
        item = worker.item
        assert item is not None
        item.attempts += 1
        if item.attempts < ATTEMPTS:
            self._retry.append(item)
            return
        spent = time.monotonic() - worker.started
        detail = f"{why} ({ATTEMPTS} attempts)"
        item.future.set_result((Verdict(reward=None, status="verifier_error", seconds=spent, detail=detail),) * item.size)

    def _parent_died(self) -> None:
        """All workers die with the warm parent. Start another, unless it never came up or dies again and again."""
        self._selector.unregister(self._parent.sock)
        code = self._parent.end()
        self._deaths += 1
        if not self._warm or self._deaths > _RESTARTS:
            raise RuntimeError(f"the warm parent of the verifier workers ended with code {code}")
        for key in list(self._workers):
            self._bury(key, "died with its warm parent")
        self._open_parent()


def _verdicts(message: dict[str, Any]) -> tuple[Verdict, ...]:
    if "error" in message:
        return (Verdict(reward=None, status="verifier_error", detail=str(message["error"])),)
    try:
        verdicts = [decode(Verdict, verdict, "verdict") for verdict in message["verdicts"]]
    except InputError as error:
        return (Verdict(reward=None, status="verifier_error", detail=str(error)),)
    return tuple(replace(verdict, seconds=message["seconds"] / len(verdicts)) for verdict in verdicts)
