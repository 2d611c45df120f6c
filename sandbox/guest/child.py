"""From a fork of the zygote to a confined guest: descriptors, limits, identity, filters. Everything here is irreversible.

The steps run in the child, in the order of `confine`, before a byte of the program is looked at. A step that fails ends the
child before the program starts; the zygote reports that as a fault of the sandbox, never as a verdict.
"""

import fcntl
import json
import os
import resource
import signal
import struct
import time
from contextlib import suppress
from typing import Any

from . import linux, seccomp
from .landlock import Ruleset

STDIN, STDOUT, STDERR, RESULT, PEER_IN, PEER_OUT, REPORT = range(7)
STARTED = struct.Struct("=cd")  # b"S", CPU seconds used before the program started
_ADDRESS_SPACE_SLACK = 1 << 30  # honest programs ask for thread stacks of 512 MiB and touch little of them


class Confinement:
    """What a worker does to each of its guests. Made once in the zygote."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.private_mounts: bool = config.get("private_mounts", False)
        self.uids: list[int] = config.get("uids", [])
        self.only_threads: bool = config.get("only_threads", False)
        self.filtered: bool = config.get("seccomp", True)
        self.limit_processes: bool = config.get("limit_processes", True)
        self.work: str = config.get("work", "/tmp")
        self.ruleset: Ruleset | None = None
        if self.filtered:
            self._filter = b"" if self.only_threads else seccomp.build()

    def filter(self) -> bytes:
        """The seccomp filter for this process."""
        return seccomp.build(own_pid=os.getpid()) if self.only_threads else self._filter


def confine(how: Confinement, slot: int, limits: dict[str, Any], fds: list[int], *, hidden: bool) -> tuple[dict[str, Any], bytes]:
    """Turn this process into a guest and return its payload (header, source).

    `fds` are payload, stdin, stdout, stderr, result, and the report pipe; then, for a guest that has a peer, its two pipes.
    A `hidden` guest (one that knows answers) cannot be looked into by a peer that has the same user. `slot` tells guests of
    one request apart: each has a uid of its own where the worker has uids.
    """
    os.setsid()
    header, source, files = read_payload(fds[0])
    _arrange(fds, keep=how.ruleset.fd if how.ruleset is not None else -1)
    _write_text("/proc/self/oom_score_adj", "1000")
    if how.private_mounts:
        _mount_own_work_directory(limits)
    set_limits(limits, how)
    if how.uids:
        os.setgroups([])
        os.setresgid(how.uids[slot], how.uids[slot], how.uids[slot])
        os.setresuid(how.uids[slot], how.uids[slot], how.uids[slot])
    os.umask(0o077)
    linux.prctl(linux.PR_SET_DUMPABLE, 0 if hidden else 1)  # 1: /proc/self/fd is ours again, so that /dev/stdin opens
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # should the zygote be killed, nobody else would end us
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    if how.ruleset is not None:
        how.ruleset.enter()
        os.close(how.ruleset.fd)
    if how.filtered:
        seccomp.install(how.filter())
    os.chdir(how.work)
    for name, data in files.items():
        with open(name, "xb") as file:
            file.write(data)
    return header, source


def _mount_own_work_directory(limits: dict[str, Any]) -> None:
    """Fresh, small, empty file systems that only this guest and its children see; they end with the last of them."""
    linux.unshare(linux.CLONE_NEWNS)
    space = f"size={limits['disk']},nr_inodes={limits['files']},mode=0700"
    for path in ("/tmp", "/dev/shm"):
        linux.mount("tmpfs", path, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC, space)


def announce_start() -> None:
    """Tell the zygote that the program starts now: the clocks begin here, and the way to say so is gone."""
    os.write(REPORT, STARTED.pack(b"S", time.process_time()))
    os.close(REPORT)


def read_payload(fd: int) -> tuple[dict[str, Any], bytes, dict[str, bytes]]:
    """Read what the host sent: length of the header, header, source, files."""
    size = os.fstat(fd).st_size
    data = os.pread(fd, size, 0)
    end = 4 + int.from_bytes(data[:4], "big")
    header = json.loads(data[4:end])
    source, end = data[end : end + header["source"]], end + header["source"]
    files = {}
    for name, length in header["files"]:
        files[name], end = data[end : end + length], end + length
    return header, source, files


def _arrange(fds: list[int], keep: int) -> None:
    """Put the descriptors on the numbers above and close every other one but `keep`."""
    _, stdin, stdout, stderr, result, report, *peers = fds
    places = {STDIN: stdin, STDOUT: stdout, STDERR: stderr, RESULT: result, REPORT: report}
    places.update(zip((PEER_IN, PEER_OUT), peers, strict=False))
    high = {place: fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for place, fd in places.items()}
    for place in range(REPORT + 1):
        if place in high:
            os.dup2(high[place], place, inheritable=place <= STDERR)
        elif place > STDERR:
            _close(place)
    for first, end in ((REPORT + 1, keep), (max(keep, REPORT) + 1, 4096)):
        os.closerange(first, end)
    for place in (STDOUT, STDERR):
        fcntl.fcntl(place, fcntl.F_SETFL, os.O_APPEND)


def _close(fd: int) -> None:
    with suppress(OSError):  # was not open
        os.close(fd)


def _write_text(path: str, text: str) -> None:
    # Without a /proc the guest is no likelier than others to be chosen when memory runs out.
    with suppress(OSError), open(path, "w") as file:
        file.write(text)


def set_limits(limits: dict[str, Any], how: Confinement) -> None:
    """Set the resource limits. The zygote watches CPU time and memory more finely; these hold if it could not."""
    cpu = int(limits["cpu_seconds"]) + 1
    wanted = {
        resource.RLIMIT_CPU: (cpu, cpu + 1),
        resource.RLIMIT_FSIZE: max(limits["output"] + 1, limits["file_size"]),
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: limits["memory"] + _ADDRESS_SPACE_SLACK,
        resource.RLIMIT_MEMLOCK: 1 << 16,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_STACK: limits["stack"],
    }
    if how.limit_processes:
        wanted[resource.RLIMIT_NPROC] = limits["processes"] + 4  # the worker's own processes count as well
    for kind, value in wanted.items():
        soft, hard = value if isinstance(value, tuple) else (value, value)
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(kind, (soft, hard))
