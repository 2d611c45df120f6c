"""One worker of the verification pool: takes an item, calls the verifier, sends the verdict back, until told to stop.

It runs in its own session, so that Ctrl-C does not reach it and its whole process group can be killed. The kernel kills it
when an item uses up its CPU time, even inside C code (a profiling timer with its default action), and memory allocation
fails beyond the limit. The wall clock is the supervisor's business.
"""

import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from . import _wire
from .records import Completion, Message, Problem, Verdict
from .serde import encode

RECYCLE_BYTES = 64 << 20  # a worker that has grown by this much makes room for a fresh one after its item


def run(sock: socket.socket, verifier: Callable[..., Any], cpu: float | None, memory: int | None) -> NoReturn:
    """Serve items from `sock` until it closes. Never returns to the caller (the forked copy of the warm parent)."""
    code = 1
    try:
        _limit_memory(memory)
        _serve(sock, verifier, cpu)
        code = 0
    except (EOFError, ConnectionError):
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve(sock: socket.socket, verifier: Callable[..., Any], cpu: float | None) -> None:
    size = _peak_memory()
    _send(sock, {"ready": True})
    while True:
        problem, completion = _item(_wire.receive(sock))
        share = len(completion) if isinstance(completion, list) else 1
        signal.setitimer(signal.ITIMER_PROF, (cpu or 0) * share)
        started = time.monotonic()
        answer = _judge(verifier, problem, completion)
        answer["seconds"] = time.monotonic() - started
        signal.setitimer(signal.ITIMER_PROF, 0)
        answer["last"] = _peak_memory() - size > RECYCLE_BYTES
        _send(sock, answer)
        if answer["last"]:
            return


def _judge(verifier: Callable[..., Any], problem: Problem, completion: Completion | list[Completion]) -> dict[str, Any]:
    try:
        if isinstance(completion, list):
            verdicts = list(verifier.verify_group(problem, completion))  # type: ignore[attr-defined]
            if len(verdicts) != len(completion):
                return {"error": f"the verifier returned {len(verdicts)} verdicts for {len(completion)} completions"}
        else:
            verdicts = [verifier(problem, completion)]
        for verdict in verdicts:
            if not isinstance(verdict, Verdict):
                return {"error": f"the verifier returned {type(verdict).__name__}, not a Verdict"}
        answer: dict[str, Any] = {"verdicts": encode(verdicts)}
        _wire.frame(answer)
    except MemoryError:
        return {"error": "the verifier ran out of memory"}
    except Exception as error:  # the worker boundary: whatever a verifier raises becomes a status
        return {"error": f"{type(error).__name__}: {error}".replace("\n", " ")[:500]}
    return answer


def _send(sock: socket.socket, message: dict[str, Any]) -> None:
    sock.sendall(_wire.frame(message))


def _item(data: Any) -> tuple[Problem, Completion | list[Completion]]:
    """Rebuild the records the supervisor took apart: it validated them, so they are not checked again."""
    problem, answer = data
    prompt = tuple(Message(role, content) for role, content in problem.pop("prompt"))
    completions = [_completion(fields) for fields in (answer if isinstance(answer, list) else [answer])]
    return Problem(prompt=prompt, **problem), completions if isinstance(answer, list) else completions[0]


def _completion(fields: dict[str, Any]) -> Completion:
    for name in ("token_ids", "step_map"):
        if fields[name] is not None:
            fields[name] = tuple(fields[name])
    return Completion(**fields)


def _limit_memory(memory: int | None) -> None:
    """Let allocations beyond what the warm parent holds plus `memory` fail. Only the soft limit: children may raise it."""
    if memory is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = _data_size() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _data_size() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[5]) * resource.getpagesize()
    except OSError:  # no /proc (macOS): an allowance for the interpreter and its imports
        return 1 << 30


def _peak_memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
