"""A seccomp filter made by hand: classic BPF over the number of the system call.

Three answers: *killed* for what only an attack would try (the process dies of SIGSYS, which the host reports as `denied`),
*refused* (EPERM) for what a library may probe, *unknown* (ENOSYS) for calls newer than this list, so that a new kernel does
not open new doors. x86_64 and aarch64 only; on other machines `available()` is False.
"""

import ctypes
import errno
import struct

from . import linux

# name: (x86_64, aarch64); None where the architecture does not have the call.
_KILLED = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None), "syslog": (103, 116),
    "lookup_dcookie": (212, 18), "vhangup": (153, 58), "fanotify_init": (300, 262), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "move_pages": (279, 239), "migrate_pages": (256, 238),
    "modify_ldt": (154, None), "uselib": (134, None), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}  # fmt: skip
_REFUSED = {
    "socket": (41, 198), "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180),
    "mq_unlink": (241, 181), "mknod": (133, None), "mknodat": (259, 33), "setpriority": (141, 140),
    "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "sched_setparam": (142, 118), "personality": (135, 92),
    "ioprio_set": (251, 30), "mbind": (237, 235), "set_mempolicy": (238, 237), "pidfd_send_signal": (424, 424),
    "execveat": (322, 281), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
}  # fmt: skip
# Only refused to guests that share the host's processes and files: what Landlock does not cover.
_SHARED = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "tkill": (200, 130),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "inotify_init": (253, None),
    "inotify_init1": (294, 26),
}  # fmt: skip
_CLONE, _CLONE3, _SOCKETPAIR, _PRLIMIT = (56, 220), (435, 435), (53, 199), (302, 261)
_KILL, _TGKILL, _AFFINITY, _FCNTL = (62, 129), (234, 131), (203, 122), (72, 25)
_NEWEST = 462  # mseal, Linux 6.10
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_LOAD, _RETURN, _JUMP, _EQUAL, _GREATER_OR_EQUAL, _ANY_BIT = 0x20, 0x06, 0x05, 0x15, 0x35, 0x45
_NUMBER, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # offsets in struct seccomp_data (low halves, little endian)
_X32 = 0x40000000
_AF_UNIX = 1
_SIGNALLING = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: signals to a process of one's choice
_CLONE_THREAD = 0x00010000
_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW* flag that clone(2) takes


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)


def _unless(code: int, value: int, answer: int, *, offset: int) -> bytes:
    """Load a word; return `answer` unless the test holds."""
    return _step(_LOAD, offset) + _step(code, value, 1, 0) + _step(_RETURN, answer)


def _when(code: int, value: int, answer: int, *, offset: int) -> bytes:
    """Load a word; return `answer` when the test holds."""
    return _step(_LOAD, offset) + _step(code, value, 0, 1) + _step(_RETURN, answer)


def _tree(bodies: list[tuple[int, bytes]]) -> bytes:
    """A binary search for the call's number: its body, or leave to go on. A chain of tests would cost 20 times as much."""
    if len(bodies) == 1:
        number, body = bodies[0]
        return _step(_EQUAL, number, 0, len(body) // 8) + body + _step(_RETURN, _ALLOW)
    middle = len(bodies) // 2
    left, right = _tree(bodies[:middle]), _tree(bodies[middle:])
    return _step(_GREATER_OR_EQUAL, bodies[middle][0], 0, 1) + _step(_JUMP, len(left) // 8) + left + right


def build(*, own_pid: int | None = None) -> bytes:
    """Return the filter as an array of `struct sock_filter`.

    With `own_pid`, the process may make threads but no processes, and may signal only itself: for workers that share
    their process ids with the host.
    """
    column, arch = _ARCHITECTURES[linux.MACHINE]
    code = _unless(_EQUAL, arch, _KILL_PROCESS, offset=_ARCH)
    code += _when(_GREATER_OR_EQUAL, _X32, _KILL_PROCESS, offset=_NUMBER)
    code += _when(_GREATER_OR_EQUAL, _NEWEST + 1, _ENOSYS, offset=_NUMBER)
    refused = dict(_REFUSED) if own_pid is None else {**_REFUSED, **_SHARED}
    bodies: dict[int | None, bytes] = {}
    for table, answer in ((_KILLED, _KILL_PROCESS), (refused, _EPERM), ({"clone3": _CLONE3}, _ENOSYS)):
        bodies.update({numbers[column]: _step(_RETURN, answer) for numbers in table.values()})
    bodies.update({numbers[column]: body + _step(_RETURN, _ALLOW) for numbers, body in _by_argument(own_pid)})
    return code + _tree(sorted((number, body) for number, body in bodies.items() if number is not None))


def _by_argument(own_pid: int | None) -> list[tuple[tuple[int, int], bytes]]:
    """The calls that are allowed with some arguments only."""
    clone = _when(_ANY_BIT, _NEW_NAMESPACES, _EPERM, offset=_ARG0)
    rules = [
        (_SOCKETPAIR, _unless(_EQUAL, _AF_UNIX, _EPERM, offset=_ARG0)),
        (_PRLIMIT, _unless(_EQUAL, 0, _EPERM, offset=_ARG0)),
    ]
    if own_pid is not None:
        clone += _unless(_ANY_BIT, _CLONE_THREAD, _EPERM, offset=_ARG0)
        only_self = _unless(_EQUAL, own_pid, _EPERM, offset=_ARG0)
        rules += [(_KILL, only_self), (_TGKILL, only_self), (_AFFINITY, _unless(_EQUAL, 0, _EPERM, offset=_ARG0))]
        rules += [(_FCNTL, b"".join(_when(_EQUAL, command, _EPERM, offset=_ARG1) for command in _SIGNALLING))]
    return [*rules, (_CLONE, clone)]


def install(code: bytes) -> None:
    """Put the filter on this process for good. Needs no-new-privileges."""

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]

    filter_mode, prctl_seccomp = 2, 22
    program = Filter(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(prctl_seccomp, ctypes.c_ulong(filter_mode), ctypes.byref(program), zero, zero) != 0:
        raise OSError(ctypes.get_errno(), "seccomp: the kernel refused the filter")


def available() -> bool:
    """Whether a filter can be built for this machine."""
    return linux.MACHINE in _ARCHITECTURES
