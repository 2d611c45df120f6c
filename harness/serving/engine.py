"""Continuous batching for requests that arrive while others are being decoded.

One thread drives the model. Requests whose decode settings are the same but for their length limits share forward passes: one
that arrives takes a free row at the next pass. Those with other settings wait until the rows are empty; who has waited longest
for that sets the settings next, and once somebody has waited `PATIENCE` seconds nobody is let in before them. Not covered:
HTTP, and several devices.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from ..models.model import Model
from ..records import DecodeConfig, Request, Rollout

PATIENCE = 5.0

Shown = list[int | None]
"""A response while it is decoded: token ids, None where the mask still stands."""


class BusyError(RuntimeError):
    """The queue is full, or the engine is closing. The message says which."""


@dataclass(eq=False)
class Ticket:
    """A request on its way. `watch`, if there is one, is called in the engine's thread after every pass with what is there."""

    prompt_ids: tuple[int, ...]
    decode: DecodeConfig
    seed: int
    watch: Callable[[Shown], None] | None = None
    result: "Future[Rollout]" = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)

    @property
    def shared(self) -> DecodeConfig:
        """What has to be equal for sharing forward passes."""
        return replace(self.decode, max_new_tokens=None)


class Engine:
    """Decodes tickets in the order they come, up to `max_batch` at a time; at most `max_waiting` queue for a row."""

    def __init__(self, model: Model, max_batch: int, max_waiting: int) -> None:
        self._model, self._max_batch, self._max_waiting = model, max_batch, max_waiting
        self._waiting: deque[Ticket] = deque()
        self._running: dict[str, Ticket] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._number = 0
        self._thread = threading.Thread(target=self._work, name="unmask-engine", daemon=True)
        self._thread.start()

    def submit(self, tickets: Sequence[Ticket]) -> None:
        """Queue tickets, all or none. Raises BusyError."""
        with self._changed:
            if self._closing:
                raise BusyError("the server is shutting down")
            if len(self._waiting) + len(tickets) > self._max_waiting:
                raise BusyError(f"{len(self._waiting)} requests are waiting and {self._max_waiting} may; try again later")
            self._waiting.extend(tickets)
            self._changed.notify_all()

    def load(self) -> tuple[int, int]:
        """How many requests are being decoded, and how many wait."""
        with self._changed:
            return len(self._running), len(self._waiting)

    def close(self, timeout: float | None = None) -> bool:
        """Take nothing more, finish what is there; returns whether that was done within `timeout` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (decode := self._next_settings()) is not None:
            try:
                for rollout in self._model.generate(self._requests(decode), decode, max_batch=self._max_batch, watch=self._watch):
                    ticket = self._running.pop(rollout.problem_id)
                    ticket.result.set_result(replace(rollout, decode=ticket.decode))
            except Exception as error:  # whatever it is belongs to the requests that were being decoded; the next ones may do
                self._fail(error)

    def _next_settings(self) -> DecodeConfig | None:
        """Wait for a ticket; its settings are the next ones. None when the engine is closed and nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return self._waiting[0].shared if self._waiting else None

    def _requests(self, decode: DecodeConfig) -> Iterator[Request | None]:
        """The tickets with these settings as they come; None when there is none right now and others are being decoded."""
        while True:
            ticket = self._take(decode)
            if ticket is not None:
                self._number += 1
                self._running[str(self._number)] = ticket
                yield Request(str(self._number), 0, ticket.prompt_ids, ticket.seed, ticket.decode.max_new_tokens)
            elif self._running:
                yield None
            else:
                return

    def _take(self, decode: DecodeConfig) -> Ticket | None:
        with self._changed:
            for ticket in self._waiting:
                if ticket.shared == decode:
                    self._waiting.remove(ticket)
                    # One whose client has gone is not decoded at all.
                    return ticket if ticket.result.set_running_or_notify_cancel() else self._take_again(decode)
                if time.monotonic() - ticket.arrived > PATIENCE:
                    return None
            return None

    def _take_again(self, decode: DecodeConfig) -> Ticket | None:
        same = next((ticket for ticket in self._waiting if ticket.shared == decode), None)
        return None if same is None else self._take(decode)

    def _watch(self, request: Request, shown: Callable[[], Shown]) -> None:
        watch = self._running[request.problem_id].watch
        if watch is not None:
            watch(shown())

    def _fail(self, error: Exception) -> None:
        for ticket in self._running.values():
            ticket.result.set_exception(error)
        self._running.clear()
