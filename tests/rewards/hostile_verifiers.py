"""Verifiers that do to their worker what the completion says. Loaded by file name, as a user's own would be."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unmask.rewards.records import Completion, Problem, Verdict


def obey(problem: Problem, completion: Completion) -> Any:
    """Do what the completion names; the problem's reference is a file that gets one line per attempt."""
    if problem.reference:
        with Path(problem.reference).open("a") as log:
            log.write(f"{os.getpid()}\n")
    command, _, argument = completion.text.partition(" ")
    return _COMMANDS[command](argument)


def _hang(_: str) -> float:
    time.sleep(1000)
    return 1.0


def _ignore_everything(_: str) -> float:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPROF}:
        signal.signal(number, signal.SIG_IGN)
    return _hang("")


def _spin_in_c(_: str) -> float:
    return float(3 ** (10**9) > 0)


def _exit(code: str) -> float:
    os._exit(int(code))


def _eat_memory(_: str) -> float:
    hoard = []
    while True:
        hoard.append(bytearray(2 * 10**7))


def _leave_a_child(log: str) -> float:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
    Path(log).write_text(str(child.pid))
    return _hang("")


def _raise(message: str) -> float:
    raise KeyError(message)


def _sleep(seconds: str) -> float:
    time.sleep(float(seconds))
    return 1.0


def _speak_nonsense(_: str) -> float:
    for fd in range(3, 64):
        try:
            os.write(fd, b"\x00\x00\x00\x05junk!")
        except OSError:
            continue
    return 1.0


def _verdict(_: str) -> Verdict:
    return Verdict(reward=0.5, status="partial", detail="as it is")


_COMMANDS: dict[str, Callable[[str], Any]] = {
    "hang": _hang,
    "stubborn": _ignore_everything,
    "spin": _spin_in_c,
    "exit": _exit,
    "eat": _eat_memory,
    "child": _leave_a_child,
    "raise": _raise,
    "sleep": _sleep,
    "nonsense": _speak_nonsense,
    "nan": lambda _: float("nan"),
    "none": lambda _: None,
    "half": lambda _: 0.5,
    "good": lambda _: 1.0,
    "verdict": _verdict,
}
