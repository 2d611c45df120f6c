"""Runs over a Ray cluster: models as actors that pull requests, verification as tasks around the local killable pool.

The process that started the run stays the only one that writes, so a run on a cluster leaves what any run leaves, and the same
command resumes it. Actors generate with continuous batching and take the next request when they have room for it; what a dead
one had taken is given to the others. A task whose machine dies is run again on another. Not covered: starting a cluster (`ray
start`; without one, Ray starts a cluster of this machine), and the loss of the machine this process runs on.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain, count, islice
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..rewards._parcel import Parcel, pack, unpack
from ..rewards.errors import InputError
from ..rewards.groups import incomplete, is_group
from ..rewards.pool import VerifierPool
from ..rewards.records import Completion, Message, Problem, Verdict
from ..rewards.verifier import Verifier
from .config import RunConfig
from .executor import Local
from .models.checkpoint import Checkpoint
from .models.model import Model
from .records import DecodeConfig, ModelInfo, Request, Rollout
from .source import Generator, Source, open_source

RETRIES = 3
"""How often a verification task is run again when its process or machine dies."""

ITEMS = 16
"""Completions in a verification task, at most: enough that Ray's own cost, a millisecond or two, is small beside theirs."""

PATIENCE = 60
"""How many times in a row an actor may fail, a second apart, before it is given up: Ray needs some time to restart one."""


class Cluster:
    """The Ray cluster that RAY_ADDRESS or `ray start` gives, else one of this machine. A context manager."""

    def __init__(self, actors: int | None = None) -> None:
        if actors is not None and actors < 1:
            raise InputError(f"--actors is {actors}; it must be at least 1")
        self._actors = actors

    def __enter__(self) -> "Cluster":
        self._ours = not ray.is_initialized()
        if self._ours:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            ray.shutdown()

    def load(self, config: RunConfig, source: Source, device: str) -> tuple[Generator, dict[str, Any]]:
        if not isinstance(source, Checkpoint):  # an endpoint: only its answers are judged on the cluster
            return Local().load(config, source, device)
        gpus = int(ray.cluster_resources().get("GPU", 0))
        wanted = self._actors or gpus or len([node for node in ray.nodes() if node["Alive"]])
        # No core is reserved: an actor beside a GPU needs little, and on a cluster without any the tasks that judge need theirs.
        options = {"num_cpus": 0, "num_gpus": 1 if gpus else 0, "scheduling_strategy": "SPREAD", "max_restarts": -1}
        actors = [_Actor.options(**options).remote(config, device) for _ in range(wanted)]  # type: ignore[attr-defined]
        try:
            info, facts = ray.get(actors[0].about.remote())
        except RayTaskError as error:
            raise error.cause from None
        except RayActorError as error:
            raise InputError(f"--executor ray: no model could be loaded ({_one_line(error)})") from None
        model = Model(source, None, info)
        return Models(actors, model), facts | {"executor": "ray", "actors": wanted}

    def pool(self, verifier: Verifier, workers: int | None) -> "ClusterPool":
        return ClusterPool(verifier, workers or 1)


@ray.remote
class _Actor:
    """A model of its own."""

    def __init__(self, config: RunConfig, device: str) -> None:
        self._model, self._facts = Local().load(config, open_source(config), device)

    def about(self) -> tuple[ModelInfo, dict[str, Any]]:
        return self._model.info, self._facts

    def generate(self, desk: Any, name: int, decode: DecodeConfig, max_batch: int) -> Iterator[Rollout]:
        """Yield rollouts of the requests it takes from the desk, until there are none."""
        requests = iter(lambda: ray.get(desk.take.remote(name)), None)
        yield from self._model.generate(requests, decode, max_batch=max_batch)


@ray.remote(num_cpus=0)
class _Desk:
    """Hands out requests, one at a time, to whoever asks first, and remembers who took what until it is finished."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self._taken: dict[_Key, tuple[int, Request]] = {}
        self._lost: set[int] = set()
        self._changed = asyncio.Condition()
        self._closed = False

    async def put(self, requests: Sequence[Request], finished: Sequence["_Key"], *, closed: bool) -> None:
        """Add requests and forget finished ones; `closed` says that there will be no more."""
        async with self._changed:
            self._waiting.extend(requests)
            self._closed = closed
            for key in finished:
                self._taken.pop(key, None)
            self._changed.notify_all()

    async def take(self, name: int) -> Request | None:
        """The next request, None when there is none left. `name` is that of one call of `generate`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._closed or name in self._lost)
            # An actor may die while it waits here; its question goes on without it and must not take anything.
            if not self._waiting or name in self._lost:
                return None
            request = self._waiting.popleft()
            self._taken[_key(request)] = name, request
            return request

    async def lost(self, name: int, unfinished: set["_Key"]) -> None:
        """What `name` took and did not finish is for the others."""
        async with self._changed:
            self._lost.add(name)
            for key in [key for key, (owner, _) in self._taken.items() if owner == name]:
                request = self._taken.pop(key)[1]
                if key in unfinished:
                    self._waiting.append(request)
            self._changed.notify_all()


_Key = tuple[str, int]


def _key(of: Request | Rollout) -> _Key:
    return of.problem_id, of.sample


class Models:
    """Models on a cluster, as one. Prompts are encoded here, without weights."""

    def __init__(self, actors: Sequence[Any], model: Model) -> None:
        self._actors, self._model = actors, model

    @property
    def info(self) -> ModelInfo:
        return self._model.info

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        return self._model.encode(messages)

    def text(self, ids: Sequence[int]) -> str:
        return self._model.text(ids)

    def generate(self, requests: Iterable[Request], decode: DecodeConfig, *, max_batch: int) -> Iterator[Rollout]:
        """Yield one rollout per request, in completion order, whatever becomes of single actors."""
        requests = iter(requests)
        if (first := next(requests, None)) is not None:
            yield from _Generation(self._actors, decode, max_batch).run(chain([first], requests))


class _Generation:
    """One pass over requests: keeps the desk filled, collects what the actors yield, and starts again those that died."""

    def __init__(self, actors: Sequence[Any], decode: DecodeConfig, max_batch: int) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._desk = _Desk.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
        self._actors, self._decode, self._max_batch = actors, decode, max_batch
        self._open, self._exhausted = set[_Key](), False
        self._finished: list[_Key] = []
        self._streams: dict[Any, tuple[int, int]] = {}
        self._names = count()
        self._start_at = dict.fromkeys(range(len(actors)), 0.0)
        self._failures = [0] * len(actors)

    def run(self, requests: Iterator[Request]) -> Iterator[Rollout]:
        self._fill(requests)
        while self._open:
            rollout = self._next()
            # An actor that was given up may have been alive: what it yields was done by another as well.
            if rollout is not None and _key(rollout) in self._open:
                self._open.remove(_key(rollout))
                self._finished.append(_key(rollout))
                yield rollout
                self._fill(requests)

    def _fill(self, requests: Iterator[Request]) -> None:
        """Keep two batches per actor on their way, so that none waits for this process."""
        room = 2 * self._max_batch * len(self._actors) - len(self._open)
        if self._exhausted or (self._open and room < self._max_batch):
            return
        more = list(islice(requests, room))
        self._open |= {_key(request) for request in more}
        self._exhausted = len(more) < room
        self._desk.put.remote(more, self._finished, closed=self._exhausted)
        self._finished = []

    def _next(self) -> Rollout | None:
        """What an actor has yielded; None when for a second none did, or one ended."""
        self._start()
        if not self._streams:
            time.sleep(0.2)
            return None
        ready, _ = ray.wait(list(self._streams), timeout=1.0)
        if not ready:
            return None
        number, _ = self._streams[ready[0]]
        try:
            rollout: Rollout = ray.get(next(ready[0]))
        except StopIteration:
            self._end(ready[0], IDLE)
        except RayTaskError as error:
            raise error.cause from None
        except RayActorError as error:
            self._failed(ready[0], error)
        else:
            self._failures[number] = 0
            return rollout
        return None

    def _start(self) -> None:
        now = time.monotonic()
        for number in [number for number, moment in self._start_at.items() if moment <= now]:
            call, name = self._actors[number].generate.options(num_returns="streaming"), next(self._names)
            self._streams[call.remote(self._desk, name, self._decode, self._max_batch)] = number, name
            del self._start_at[number]

    def _end(self, stream: Any, pause: float) -> None:
        """Have the actor look for work again after a pause: another may die, and what it had is given back."""
        self._start_at[self._streams.pop(stream)[0]] = time.monotonic() + pause

    def _failed(self, stream: Any, error: RayActorError) -> None:
        number, name = self._streams[stream]
        ray.get(self._desk.lost.remote(name, self._open))
        self._failures[number] += 1
        if self._failures[number] <= PATIENCE:
            self._end(stream, 1.0)
            return
        del self._streams[stream]
        if not self._streams and not self._start_at:
            raise ConnectionError(f"no model on the Ray cluster answers any more ({_one_line(error)})")


IDLE = 2.0
"""Seconds after which an actor that found nothing to do looks again."""


@dataclass(slots=True, eq=False)
class _Item:
    """What is judged together: one completion, or all of a group."""

    problem: Problem
    completions: list[Completion] = field(default_factory=list)
    futures: "list[Future[Verdict]]" = field(default_factory=list)


class ClusterPool:
    """Judges like `VerifierPool`, in tasks on a Ray cluster; each task has a local pool of `workers` processes.

    `submit` blocks while the cluster has enough to do, so memory is bounded here and there.
    """

    def __init__(self, verifier: Verifier, workers: int) -> None:
        self._parcel = ray.put((pack(verifier), workers))
        self._task = ray.remote(_judge).options(num_cpus=workers, max_retries=RETRIES)
        self._window = 2 * max(int(ray.cluster_resources().get("CPU", 1)) // workers, 1)
        self._places = threading.BoundedSemaphore(self._window * ITEMS)
        self._judges_groups = is_group(verifier)
        self._groups: dict[str, _Item] = {}
        self._waiting: deque[_Item] = deque()
        self._running: dict[Any, list[_Item]] = {}
        self._changed = threading.Condition()
        self._closed = self._aborted = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="unmask-cluster-pool", daemon=True)
        self._thread.start()

    def submit(self, problem: Problem, completion: Completion, group: int = 1) -> "Future[Verdict]":
        """Queue one item and return its future. Blocks while the cluster has enough; not for a future's callback then.

        A verifier of groups gets `group` completions of a problem together.
        """
        size = group if self._judges_groups else 1
        item = self._groups.setdefault(problem.id, _Item(problem)) if size > 1 else _Item(problem)
        item.completions.append(completion)
        item.futures.append(future := Future[Verdict]())
        if len(item.completions) >= size:
            self._groups.pop(problem.id, None)
            self._put(item)
        return future

    def give_up_groups(self) -> None:
        """Say that no further completions come: groups that are not complete get `verifier_error` verdicts."""
        for item in self._groups.values():
            _settle(item, [incomplete(item.problem.id, len(item.futures))] * len(item.futures))
        self._groups.clear()

    def _put(self, item: _Item) -> None:
        self._places.acquire()
        item.futures[-1].add_done_callback(lambda _: self._places.release())
        with self._changed:
            if self._failure is not None:
                raise self._failure
            self._waiting.append(item)
            self._changed.notify()

    def __enter__(self) -> "ClusterPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._changed:
            self._closed, self._aborted = True, kind is not None
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._has_work():
                self._hand_out()
                room = len(self._running) < self._window
                for ref in ray.wait(list(self._running), timeout=0.05 if room else 1.0)[0]:
                    self._settle(self._running.pop(ref), ref)
        except Exception as error:  # kept for whoever waits on a future: this thread has no caller
            with self._changed:
                self._failure = error
        for ref in self._running:
            ray.cancel(ref, force=True)
        for item in (item for items in (*self._running.values(), self._waiting) for item in items):
            for future in item.futures:
                if self._failure is None:
                    future.cancel()
                else:
                    future.set_exception(self._failure)

    def _has_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._running or self._closed)
            return bool(self._waiting or self._running) and not self._aborted

    def _hand_out(self) -> None:
        while self._waiting and len(self._running) < self._window:
            items = [self._waiting.popleft() for _ in range(min(len(self._waiting), ITEMS))]
            self._running[self._task.remote(self._parcel, [(item.problem, item.completions) for item in items])] = items

    def _settle(self, items: list[_Item], ref: Any) -> None:
        try:
            verdicts = ray.get(ref)
        except RayTaskError as error:
            for future in (future for item in items for future in item.futures):
                future.set_exception(error.cause)
            return
        except RayError as error:
            detail = f"Ray gave up after {RETRIES + 1} attempts: {_one_line(error)}"
            verdicts = [[Verdict(None, "verifier_error", detail=detail)] * len(item.futures) for item in items]
        for item, found in zip(items, verdicts, strict=True):
            _settle(item, found)


_pools: dict[str, VerifierPool] = {}
"""The pools of this task process, which Ray keeps for the next task."""


def _judge(order: tuple[Parcel, int], items: Sequence[tuple[Problem, list[Completion]]]) -> list[list[Verdict]]:
    """A task: the verdicts on some items, in their order. What hangs or crashes does so in the local pool."""
    parcel, workers = order
    if (pool := _pools.get(parcel["verifier"])) is None:
        try:
            verifier = unpack(parcel)
        except Exception as error:  # a verifier's own code failed where it was imported
            raise InputError(f"the verifier cannot be loaded on the cluster: {type(error).__name__}: {error}") from None
        pool = _pools[parcel["verifier"]] = VerifierPool(verifier, workers, parcel=parcel)
    futures = [pool.submit_group(problem, completions) for problem, completions in items]
    return [[future.result() for future in group] for group in futures]


def _settle(item: _Item, verdicts: Sequence[Verdict]) -> None:
    for future, verdict in zip(item.futures, verdicts, strict=True):
        future.set_result(verdict)


def _one_line(error: BaseException) -> str:
    """The end of Ray's long messages, where the reason stands."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
