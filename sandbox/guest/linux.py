"""The Linux calls that Python has no function for, through ctypes. Every failure is an OSError that names the call.

Covered: prctl, namespaces, mounts, capabilities. Not covered: seccomp and Landlock, which have modules of their own.
"""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_NR_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_NR_MOUNT_SETATTR = 442
_NR_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAP_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63
_CAP_HEADER = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
_NO_CAPABILITIES = (ctypes.c_uint32 * 6)()
MACHINE = os.uname().machine


def _checked(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def syscall(number: int, *args: object) -> int:
    """Make the raw system call `number`."""
    return _checked(_libc.syscall(ctypes.c_long(number), *args), f"syscall {number}")


def prctl(option: int, value: int = 0) -> None:
    """prctl(2) with one argument."""
    zero = ctypes.c_ulong(0)
    _checked(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), f"prctl {option}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """setns(2)."""
    _checked(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None)
    _checked(result, f"mount {kind or source} on {target}")


def unmount(target: str) -> None:
    """Detach the mount at `target`."""
    _checked(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    syscall(_NR_PIVOT_ROOT[MACHINE], new.encode(), old.encode())


def lock_down_mount(target: str) -> None:
    """Make `target` and every mount beneath it read-only, without devices and set-user-id programs."""

    class Attributes(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]

    recursive, here = 0x8000, -100
    attributes = Attributes(MS_RDONLY | MS_NOSUID | MS_NODEV)
    try:
        syscall(_NR_MOUNT_SETATTR, here, target.encode(), recursive, ctypes.byref(attributes), ctypes.sizeof(attributes))
    except OSError:  # before Linux 5.12: one mount at a time, and the flags that the source has are locked
        kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
        mount("none", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | kept)


def drop_bounding_set() -> None:
    """Give up the possibility of gaining capabilities by running a program; what this process has, it keeps."""
    for capability in range(_LAST_CAPABILITY + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            return  # the first number that this kernel does not know, or no right to drop: then there is nothing to drop


def drop_capabilities() -> None:
    """Give up every capability."""
    syscall(_NR_CAPSET[MACHINE], _CAP_HEADER, _NO_CAPABILITIES)
