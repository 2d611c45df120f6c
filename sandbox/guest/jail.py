"""Builds the namespaces of a worker: a root of its own with a read-only runtime, no network, no other process, no privilege.

Works as root (the worker then runs as an unprivileged user) and as a plain user (where the kernel lets users make
namespaces). The process that calls `enter` stays outside as the parent of process 1 and dies with it.
"""

import os
import resource
import select
import signal
import socket
import sys
from typing import Any

from . import linux

NOBODY = 65534
_DEVICES = ("null", "zero", "full", "random", "urandom")
_LINKS = {"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
          "/dev/stderr": "/proc/self/fd/2"}  # fmt: skip
_USERS = "root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/tmp:/bin/false\n"
_ALL = (
    linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET
    | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP
)  # fmt: skip


def raise_stack_limit(size: int) -> None:
    """Allow a main-thread stack of `size`: the kernel lays out memory for it at exec, so this program starts itself anew."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = size if hard == resource.RLIM_INFINITY else min(size, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
        os.execv(sys.executable, sys.orig_argv)


def enter(config: dict[str, Any]) -> None:
    """Move into the jail. Returns in process 1 of the new namespaces; the caller's process waits outside."""
    parent = os.pidfd_open(os.getppid())
    if os.geteuid() == 0:
        linux.unshare(linux.CLONE_NEWNS)
        _build_root(config)
        _become_unprivileged(config["uid"])
        _unshare_all()
    else:
        _unshare_all()
        _build_root(config)
    pid = os.fork()
    if pid:
        _wait_outside(pid, parent)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(parent)
    _mount_proc()
    socket.sethostname("sandbox")
    linux.mount("none", "/", flags=linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV)
    os.chdir("/")


def _mount_proc() -> None:
    """A /proc in which a guest sees only what it could trace: its own processes, not this one, and not its peer."""
    flags = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    try:
        linux.mount("proc", "/proc", "proc", flags, "hidepid=ptraceable")
    except OSError:  # before Linux 5.8
        linux.mount("proc", "/proc", "proc", flags)


def _become_unprivileged(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)  # the change of user took /proc/self away from us


def _unshare_all() -> None:
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(_ALL)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _wait_outside(pid: int, parent: int) -> None:
    """Wait for process 1, and end it when the host process is gone."""
    child = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(parent, select.POLLIN)
    poller.register(child, select.POLLIN)
    low, high = sorted((parent, child))
    for first, end in ((0, low), (low + 1, high), (high + 1, 4096)):
        os.closerange(first, end)  # the control connection above all: only process 1 keeps it
    while child not in dict(poller.poll()):
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _build_root(config: dict[str, Any]) -> None:
    """Assemble the new root on a tmpfs and move into it, leaving the old root behind."""
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", "/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,mode=0755")
    os.mkdir("/tmp/.old")
    linux.pivot_root("/tmp", "/tmp/.old")
    os.chdir("/")
    for source, target in config["binds"]:
        _bind("/.old" + source, target)
    for path in config["masked"]:
        os.makedirs(path, exist_ok=True)
        linux.mount("tmpfs", path, "tmpfs", linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV, "size=0")
    _furnish()
    for path in ("/tmp", "/dev/shm"):
        os.makedirs(path, exist_ok=True)
    os.makedirs("/proc", exist_ok=True)
    # A new /proc may only be mounted by a user who already sees a whole one.
    linux.mount("/.old/proc", "/proc", flags=linux.MS_BIND | linux.MS_REC)
    linux.unmount("/.old")


def _furnish() -> None:
    os.makedirs("/dev", exist_ok=True)
    for name in _DEVICES:
        _bind_device(f"/dev/{name}")
    for link, target in _LINKS.items():
        os.symlink(target, link)
    os.makedirs("/etc", exist_ok=True)
    with open("/etc/passwd", "w") as file:
        file.write(_USERS)


def _bind(source: str, target: str) -> None:
    """Show `source` read-only at `target`. A symbolic link (as /lib is on most systems) is copied as a link."""
    if os.path.islink(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    linux.mount(source, target, flags=linux.MS_BIND | linux.MS_REC)
    linux.lock_down_mount(target)


def _bind_device(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
    linux.mount("/.old" + path, path, flags=linux.MS_BIND)
