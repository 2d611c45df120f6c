"""The self-check: real attempts, run in a sandbox that is about to be trusted.

Each probe is a program that tries one thing and prints what it got. A backend works when nothing forbidden was got. The same
rows make the table of `unmask doctor` and of docs/sandbox.md. Only harmless attempts: the fork bomb stops by itself after a
few hundred tries, so that it may be run without isolation too.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .core import Sandbox
from .records import Execution, Limits, MiB
from .runtime import ENVIRONMENT

_NETWORK = """
import socket
got = []
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_VSOCK):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            socket.socket(family, kind).close()
            got.append(str(family))
        except OSError:
            pass
print(*sorted(set(got)))
"""
_HOST_FILE = """
import os
for path in (CANARY, "/etc/shadow", "/root", "/home", "/var/log", "/proc/1/environ"):
    try:
        print(path, len(os.listdir(path) if os.path.isdir(path) else open(path, "rb").read()))
    except OSError:
        pass
for path in ("/", "/etc", "/usr", "/usr/lib", "/opt", "/var", "/home", "/proc/sys/kernel", "/dev"):
    try:
        open(os.path.join(path, "unmask-probe"), "w").close()
        print("wrote", path)
        os.remove(os.path.join(path, "unmask-probe"))
    except OSError:
        pass
"""
_ENVIRONMENT = """
import os
print(*sorted(name for name in os.environ if name not in ALLOWED))
"""
_PROCESSES = """
import os
seen = []
try:
    os.kill(HOST, 0)  # in another namespace the number may belong to a process of that namespace
    with open(f"/proc/{HOST}/stat") as file:
        if file.read().rpartition(")")[2].split()[19] == STARTED:
            seen.append("can signal the host process")
except OSError:
    pass
try:
    names = [name for name in os.listdir("/proc") if name.isdigit()]
except OSError:
    names = []
if len(names) > 8:
    seen.append(f"sees {len(names)} processes")
for name in names:
    try:
        if int(name) != os.getpid() and open(f"/proc/{name}/environ", "rb").read(1):
            seen.append("reads the environment of process " + name)
    except OSError:
        pass
print(*seen)
"""
_MEMORY = "data = []\nwhile True: data.append(bytearray(4 << 20))"
_FORK_BOMB = """
import os, time
made = 0
for _ in range(400):
    try:
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        made += 1
    except OSError:
        break
print(made, flush=True)
os._exit(0)
"""
_LEAVE = """
import os
for place in PLACES:
    try:
        open(os.path.join(place, "left-behind"), "w").close()
    except OSError:
        pass
"""
_FIND = "import os\nprint(*(d for d in PLACES if os.path.exists(os.path.join(d, 'left-behind'))))"
_CALL = "import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)\nprint('ptrace was allowed')"
_SPEED = "a, b = map(int, input().split())\nprint(a + b)"

_KNOWN_VARIABLES = [*ENVIRONMENT, "PWD", "HOSTNAME", "PYTHON_VERSION", "PYTHON_SHA256", "GPG_KEY"]


class Probe(NamedTuple):
    """One attempt: what was tried, whether the backend held, and what was seen."""

    name: str
    held: bool
    seen: str


def run_probes(sandbox: Sandbox) -> list[Probe]:
    """Try everything, and return one row for each. Takes about half a second."""
    checks: list[tuple[str, Callable[[Sandbox], str]]] = [
        ("runs a program", _works),
        ("network", lambda s: _printed(s, _NETWORK, "opened sockets: ")),
        ("host files", _host_file),
        (
            "environment",
            lambda s: _printed(s, f"ALLOWED = {[*ENVIRONMENT, 'PWD', 'HOSTNAME']}{_ENVIRONMENT}", "sees variables: "),
        ),
        ("other processes", lambda s: _printed(s, f"HOST, STARTED = {_host_process()}{_PROCESSES}", "")),
        ("memory", _memory),
        ("fork bomb", _fork_bomb),
        ("leftovers", _leftovers),
        ("system calls", lambda s: _printed(s, _CALL, "")),
    ]
    rows = []
    for name, check in checks:
        seen = check(sandbox)
        rows.append(Probe(name, not seen, seen or "held"))
    return rows


def _run(sandbox: Sandbox, program: str, **limits: int | float) -> Execution:
    settings = {"cpu_seconds": 5.0, "wall_seconds": 8.0, **limits}
    return sandbox.run(program, limits=Limits(**settings))  # type: ignore[arg-type]


def _printed(sandbox: Sandbox, program: str, label: str) -> str:
    """Whatever the program printed is something that it should not have got."""
    result = _run(sandbox, program)
    if result.status not in ("ok", "denied"):
        return f"the probe did not finish: {result.detail}"
    text = result.stdout.decode("utf-8", "replace").strip().replace("\n", "; ")
    return f"{label}{text}"[:300] if text else ""


def _works(sandbox: Sandbox) -> str:
    result = sandbox.run(_SPEED, b"40 2\n")
    return "" if result.stdout == b"42\n" else f"a program that adds two numbers failed: {result.detail}"


def _host_process() -> tuple[int, str]:
    """Our process number and when we were started, in clock ticks since boot."""
    return os.getpid(), Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]


def _host_file(sandbox: Sandbox) -> str:
    with tempfile.NamedTemporaryFile(prefix="unmask-canary-") as canary:
        with suppress(OSError):
            os.chmod(canary.name, 0o644)
        return _printed(sandbox, f"CANARY = {canary.name!r}{_HOST_FILE}", "reached: ")


def _memory(sandbox: Sandbox) -> str:
    result = _run(sandbox, _MEMORY, memory=64 * MiB)
    return "" if result.status == "memory" else f"allocated past its limit ({result.status})"


def _fork_bomb(sandbox: Sandbox) -> str:
    result = _run(sandbox, _FORK_BOMB, processes=16)
    if result.status == "denied":
        return ""
    made = result.stdout.decode("ascii", "replace").strip()
    return "" if made.isdigit() and int(made) <= 32 else f"made {made or 'unknown'} processes ({result.status})"


def _leftovers(sandbox: Sandbox) -> str:
    places = f"PLACES = {['.', '/tmp', '/dev/shm'] if sandbox.isolated else ['.']}\n"
    _run(sandbox, places + _LEAVE)
    return _printed(sandbox, places + _FIND, "found what another program left in ")
