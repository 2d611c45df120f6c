"""Landlock: a process gives up, for good, every file but the ones it names, TCP, and signals to processes outside.

Used where there are no namespaces. Covered: files (ABI 1), renames across directories (2), truncate (3), TCP (4), ioctl on
devices (5), signals and abstract sockets (6). Not covered by Landlock itself: UDP and other sockets (seccomp refuses all of
them), chmod, and reading the attributes of a file.
"""

import ctypes
import fcntl
import os
from collections.abc import Iterable

from . import linux

_OUT_OF_THE_WAY = 48  # above the numbers that a guest's descriptors are put on, below those they pass through
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE, _READ, _READ_DIRECTORY, _REMOVE_FILE = 1, 2, 4, 8, 1 << 5
_MAKE_FILE, _TRUNCATE = 1 << 8, 1 << 14
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
READABLE = _EXECUTE | _READ | _READ_DIRECTORY
# No directories, links, devices or sockets: whatever the program leaves behind is a flat list of plain files.
WRITABLE = _READ | _READ_DIRECTORY | _WRITE | _REMOVE_FILE | _MAKE_FILE | _TRUNCATE
DEVICE = _READ | _WRITE
LISTABLE = _READ_DIRECTORY
_ON_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE


def version() -> int:
    """The Landlock ABI of this kernel, 0 where there is none."""
    try:
        return linux.syscall(_CREATE, None, 0, 1)
    except OSError:
        return 0


class Ruleset:
    """What a process keeps. Built once by the zygote, entered by every child."""

    def __init__(self, allowed: Iterable[tuple[str, int]]) -> None:
        abi = version()
        self._handled = _FILE_RIGHTS[min(abi, 5)]
        fields = [self._handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0]
        attributes = (ctypes.c_uint64 * 3)(*fields)
        size = 8 if abi < 4 else 16 if abi < 6 else 24
        low = linux.syscall(_CREATE, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
        self.fd = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
        os.close(low)
        for path, rights in allowed:
            self._allow(path, rights)

    def _allow(self, path: str, rights: int) -> None:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return  # not on this machine: nothing to allow
        if not os.path.isdir(path):
            rights &= _ON_FILES
        rule = (ctypes.c_char * 12)()
        ctypes.c_uint64.from_buffer(rule, 0).value = rights & self._handled
        ctypes.c_int32.from_buffer(rule, 8).value = fd
        linux.syscall(_ADD, self.fd, 1, ctypes.byref(rule), 0)
        os.close(fd)

    def enter(self) -> None:
        """Restrict this process. Needs no-new-privileges."""
        linux.syscall(_RESTRICT, self.fd, 0)
