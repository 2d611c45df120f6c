"""The attacks: programs that try to use too much, to get out, or to be passed without having solved anything.

An attack on resources states how it has to end. An attack on isolation prints ESCAPED when it got something. An attack on the
verdict is wrong about every test, so that any `passed` is a forgery. Data only; `test_red_team` runs them.
"""

import hashlib
from typing import NamedTuple

RESOURCE: dict[str, tuple[str, set[str]]] = {
    "busy loop": ("while True: pass", {"timeout"}),
    "sleep": ("import time; time.sleep(60)", {"timeout"}),
    "loop in C": ("sum(range(10**13))", {"timeout"}),
    "regular expression that backtracks": ("import re; re.match(r'(a+)+$', 'a' * 64 + 'b')", {"timeout"}),
    "giant power": ("x = 7 ** (7 ** 20)", {"timeout", "memory"}),
    "ignores the signal for CPU time": (
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
        {"timeout"},
    ),
    "ignores every signal": (
        "import signal\nfor n in signal.valid_signals():\n  try: signal.signal(n, signal.SIG_IGN)\n  except (OSError, ValueError): pass\n"
        "while True: pass",
        {"timeout"},
    ),
    "swallows everything": ("while True:\n  try:\n    while True: pass\n  except BaseException: pass", {"timeout"}),
    "blocks on a pipe": ("import os\nr, w = os.pipe()\nos.read(r, 1)", {"timeout"}),
    "waits for its own thread": ("import threading\nthreading.Event().wait()", {"timeout"}),
    "thread that never ends": (
        "import threading, time\nthreading.Thread(target=lambda: time.sleep(60)).start()\nprint(42)",
        {"timeout"},
    ),
    "atexit that never ends": ("import atexit\n@atexit.register\ndef f():\n  while True: pass", {"timeout"}),
    "CPU time in children": (
        "import os\nfor _ in range(8):\n  if os.fork() == 0:\n    while True: pass\nwhile True: pass",
        {"timeout", "error"},
    ),
    "list that grows": ("x = []\nwhile True: x.append(bytearray(1 << 20))", {"memory"}),
    "small objects": ("x = []\nwhile True: x.append(object())", {"memory", "timeout"}),
    "one giant allocation": ("x = bytearray(64 << 30)", {"memory"}),
    "giant string": ("x = 'x' * (1 << 36)", {"memory"}),
    "shared anonymous memory": (
        "import mmap\nm = mmap.mmap(-1, 1 << 30)\nfor i in range(0, 1 << 30, 4096): m[i] = 1\nprint('ESCAPED')",
        {"memory", "error"},
    ),
    "memory in children": (
        "import os, time\nfor _ in range(8):\n  if os.fork() == 0:\n    x = bytearray(60 << 20)\n    for i in range(0, len(x), 4096): x[i] = 1\n"
        "    time.sleep(9)\ntime.sleep(9)",
        {"memory", "error"},
    ),
    "memory files": (
        "import os\nfds = [os.memfd_create(str(i)) for i in range(60)]\nfor fd in fds: os.write(fd, b'x' * (4 << 20))\nprint('ESCAPED')",
        {"error", "memory", "output"},
    ),
    "numpy array": ("import numpy\nnumpy.ones(1 << 30)", {"memory"}),
    "standard output without end": ("while True: print('x' * 65536)", {"output", "error"}),
    "standard error without end": ("import sys\nwhile True: sys.stderr.write('x' * 65536)", {"output", "error"}),
    "raw output without end": ("import os\nwhile True: os.write(1, b'x' * 65536)", {"output", "error"}),
    "one file without end": ("f = open('big', 'wb')\nwhile True: f.write(b'x' * 65536)", {"error", "output", "signal"}),
    "many files": ("for i in range(10**6): open(f'f{i}', 'w').write('x')", {"error", "output"}),
    "many full files": (
        "for i in range(100):\n  f = open(f'f{i}', 'wb'); f.write(b'x' * (1 << 20)); f.flush()",
        {"error", "output"},
    ),
    "sparse file": ("f = open('sparse', 'wb')\nf.truncate(1 << 40)\nprint('ESCAPED')", {"error", "output", "signal"}),
    "fills shared memory": (
        "import os\nfor i in range(100):\n  fd = os.open(f'/dev/shm/x{i}', os.O_CREAT | os.O_WRONLY)\n  os.write(fd, b'x' * (1 << 20))\n"
        "print('ESCAPED')",
        {"error", "output", "memory"},
    ),
    "open files": ("import os\nfds = []\nwhile True: fds.append(os.open('/dev/null', os.O_RDONLY))", {"error"}),
    "pipes": ("import os\np = []\nwhile True: p.append(os.pipe())", {"error"}),
    "endless recursion": ("def f(): return f()\nf()", {"error"}),
    "endless recursion in C": (
        "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n  def __repr__(self): return repr([self])\nrepr(A())",
        {"error", "signal", "memory", "timeout"},
    ),
    "deep directories": (
        "import os\nfor i in range(150):\n  os.mkdir('d'); os.chdir('d')\nopen('x', 'w')\nos.chmod('.', 0)\nprint('left a tree')",
        {"ok", "error"},
    ),
    "raises its own limits": (
        "import resource\nfor k in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):\n"
        "  try:\n    resource.setrlimit(k, (resource.RLIM_INFINITY,) * 2); print('ESCAPED', k)\n  except (ValueError, OSError): pass",
        {"ok"},
    ),
    "lowers nothing by niceness": ("import os\ntry:\n  os.nice(-10); print('ESCAPED')\nexcept OSError: pass", {"ok"}),
    "real-time priority": (
        "import os\ntry:\n  os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)); print('ESCAPED')\nexcept OSError: pass",
        {"ok"},
    ),
}

_NAME = "import ctypes\nctypes.CDLL(None).prctl(15, b'unmask-evil', 0, 0, 0)\n"
_FORK_OR_QUIT = "import os, sys, time, signal\n" + _NAME
PROCESSES: dict[str, str] = {
    "fork bomb": _FORK_OR_QUIT + "while True:\n  try: os.fork()\n  except OSError: pass",
    "fork bomb that sleeps": _FORK_OR_QUIT
    + "while True:\n  try:\n    if os.fork() == 0: time.sleep(60)\n  except OSError: time.sleep(0.01)",
    "daemon": _FORK_OR_QUIT
    + "if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(60)\n  os._exit(0)\nprint('started')",
    "daemon that ignores signals": _FORK_OR_QUIT
    + "if os.fork() == 0:\n  os.setsid()\n  for n in (1, 2, 3, 13, 15): signal.signal(n, signal.SIG_IGN)\n  os.close(1); os.close(2)\n"
    "  time.sleep(60)\nos._exit(0)",
    "chain of forks": _FORK_OR_QUIT + "for _ in range(10**6):\n  if os.fork(): os._exit(0)",
    "thread bomb": _NAME
    + "import threading, time\nwhile True:\n  try: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    "  except RuntimeError: break\n",
    "zombies": _FORK_OR_QUIT + "while True:\n  try:\n    if os.fork() == 0: os._exit(0)\n  except OSError: break",
    "stopped children": _FORK_OR_QUIT
    + "for _ in range(4):\n  pid = os.fork()\n  if pid == 0: time.sleep(60)\n  os.kill(pid, signal.SIGSTOP)",
}

_SYSCALL = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
ISOLATION: dict[str, str] = {
    "TCP to the host": "import socket\ns = socket.create_connection(('127.0.0.1', PORT), 1); print('ESCAPED', s)",
    "UDP to the host": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT)); print('ESCAPED')",
    "abstract socket of the host": "import socket\ns = socket.socket(socket.AF_UNIX); s.connect('\\0' + ABSTRACT); print('ESCAPED')",
    "raw packets": "import socket\nprint('ESCAPED', socket.socket(socket.AF_PACKET, socket.SOCK_RAW))",
    "netlink": "import socket\nprint('ESCAPED', socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))",
    "vsock": "import socket\nprint('ESCAPED', socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM))",
    "name lookup": "import socket\nprint('ESCAPED', socket.getaddrinfo('example.com', 80))",
    "engine socket": "import socket\ns = socket.socket(socket.AF_UNIX); s.connect('/var/run/docker.sock'); print('ESCAPED')",
    "file of the host": "print('ESCAPED', open(CANARY).read())",
    "passwords of the host": "print('ESCAPED' if len(open('/etc/shadow').read()) else '')",
    "home of root": "import os\nprint('ESCAPED', os.listdir('/root'))",
    "the tests of the project": "import os\nprint('ESCAPED', os.listdir(HERE))",
    "writes to the system": "\n".join(
        [
            "import os",
            "for d in ('/', '/etc', '/usr', '/usr/lib', '/opt', '/dev', '/var', '/home', '/run', '/proc/sys/kernel', '/sys/kernel'):",
            "  try:",
            "    open(os.path.join(d, 'unmask-evil'), 'w'); print('ESCAPED', d)",
            "  except OSError: pass",
        ]
    ),
    "poisons the standard library": "import json\nopen(json.__file__, 'a').write('x'); print('ESCAPED')",
    "poisons numpy": "import numpy\nopen(numpy.__file__, 'a').write('x'); print('ESCAPED')",
    "environment of the host": "import os\nprint('ESCAPED' if 'UNMASK_SECRET' in os.environ else '')",
    "environment of process 1": "print('ESCAPED' if open('/proc/1/environ').read() else '')",
    "environment of its parent": "import os\nprint('ESCAPED' if open(f'/proc/{os.getppid()}/environ').read() else '')",
    "memory of its parent": "import os\nf = open(f'/proc/{os.getppid()}/mem', 'rb'); print('ESCAPED')",
    "root of process 1": "import os\nprint('ESCAPED', os.listdir('/proc/1/root'))",
    "working directory of its parent": "import os\nprint('ESCAPED', os.listdir(f'/proc/{os.getppid()}/cwd'))",
    "descriptors of its parent": "import os\nprint('ESCAPED', os.listdir(f'/proc/{os.getppid()}/fd'))",
    "signals the host process": "import os\nos.kill(HOST, 0)\nif open(f'/proc/{HOST}/stat').read().rpartition(')')[2].split()[19] == STARTED: print('ESCAPED')",
    "kills its parent": "import os\nos.kill(os.getppid(), 9)\nprint('sent')",
    "kills everything": "import os\nos.kill(-1, 9)\nprint('sent')",
    "every signal to its parent": "import os, signal\nfor n in signal.valid_signals():\n  try: os.kill(os.getppid(), n)\n  except OSError: pass\nprint('sent')",
    "every signal to process 1": "import os, signal\nfor n in signal.valid_signals():\n  try: os.kill(1, n)\n  except OSError: pass\nprint('sent')",
    "stops its parent": "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nprint('sent')",
    "signals by file ownership": "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())\nfcntl.fcntl(r, 10, 9)\n"
    "fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)\nos.write(w, b'x')",
    "inherited descriptors": "import os, stat\nfor fd in range(3, 1024):\n  try: mode = os.fstat(fd).st_mode\n  except OSError: continue\n"
    "  if stat.S_ISSOCK(mode): print('ESCAPED', fd)\n  if stat.S_ISDIR(mode): print('ESCAPED', fd)",
    "traces process 1": _SYSCALL + "if libc.ptrace(16, 1, 0, 0) == 0: print('ESCAPED')",
    "traces its parent": _SYSCALL + "if libc.ptrace(16, os.getppid(), 0, 0) == 0: print('ESCAPED')",
    "reads memory of process 1": _SYSCALL + "b = ctypes.create_string_buffer(16)\nv = (ctypes.c_size_t * 2)(ctypes.addressof(b), 8)\n"
    "if libc.process_vm_readv(os.getppid(), v, 1, v, 1, 0) >= 0: print('ESCAPED')",
    "mounts": _SYSCALL + "if libc.mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0: print('ESCAPED')",
    "unmounts": _SYSCALL + "if libc.umount2(b'/proc', 2) == 0: print('ESCAPED')",
    "new user namespace": _SYSCALL + "if libc.unshare(0x10000000) == 0: print('ESCAPED')",
    "new user namespace by clone": _SYSCALL + "if libc.syscall(56, 0x10000011, 0, 0, 0, 0) >= 0: print('ESCAPED')",
    "new user namespace by clone3": _SYSCALL + "a = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)\n"
    "if libc.syscall(435, a, 88) >= 0: print('ESCAPED')",
    "joins the namespaces of process 1": _SYSCALL + "fd = os.open('/proc/1/ns/mnt', os.O_RDONLY)\nif libc.setns(fd, 0) == 0: print('ESCAPED')",
    "chroot": _SYSCALL + "if libc.chroot(b'/tmp') == 0: print('ESCAPED')",
    "becomes root": "import os\nos.setuid(0)\nopen('/etc/evil', 'w'); print('ESCAPED')",
    "becomes another user": "import os\nos.setresuid(1, 1, 1); print('ESCAPED')",
    "takes capabilities": _SYSCALL + "h = (ctypes.c_uint32 * 2)(0x20080522, 0)\nd = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)\n"
    "if libc.capset(h, d) == 0: print('ESCAPED')",
    "block device": "import os\nfor n in ('vda', 'sda', 'nvme0n1', 'mem', 'kmsg', 'port', 'fuse', 'kvm'):\n  try: os.open('/dev/' + n, os.O_RDWR); print('ESCAPED', n)\n"
    "  except OSError: pass",
    "makes a device": "import os, stat\nos.mknod('disk', 0o600 | stat.S_IFBLK, os.makedev(254, 0)); os.open('disk', os.O_RDONLY); print('ESCAPED')",
    "io_uring": _SYSCALL + "p = ctypes.create_string_buffer(120)\nif libc.syscall(425, 4, p) >= 0: print('ESCAPED')",
    "bpf": _SYSCALL + "if libc.syscall(321, 0, ctypes.create_string_buffer(128), 128) >= 0: print('ESCAPED')",
    "kernel keys": _SYSCALL + "if libc.syscall(248, b'user', b'unmask', b'x', 1, -3) >= 0: print('ESCAPED')",
    "userfaultfd": _SYSCALL + "if libc.syscall(323, 0) >= 0: print('ESCAPED')",
    "file handles": _SYSCALL + "h = ctypes.create_string_buffer(136); m = ctypes.c_int()\nh[0] = 128\n"
    "if libc.name_to_handle_at(-100, b'/', h, ctypes.byref(m), 0) == 0: print('ESCAPED')",
    "performance counters": _SYSCALL + "if libc.syscall(298, ctypes.create_string_buffer(128), 0, -1, -1, 0) >= 0: print('ESCAPED')",
    "kernel log": _SYSCALL + "if libc.klogctl(3, ctypes.create_string_buffer(999), 999) > 0: print('ESCAPED')",
    "keyboard reboot": _SYSCALL + "if libc.syscall(169, 0xFEE1DEAD, 672274793, 0, 0) == 0: print('ESCAPED')",
    "sets the clock": "import time\ntime.clock_settime(time.CLOCK_REALTIME, time.time()); print('ESCAPED')",
    "host name": "import socket\nsocket.sethostname('evil'); print('ESCAPED')",
    "shared memory of System V": _SYSCALL + "if libc.shmget(0x756E, 4096, 0o1666) >= 0: print('ESCAPED')",
    "message queue": _SYSCALL + "if libc.mq_open(b'/unmask', 0o102, 0o666, None) >= 0: print('ESCAPED')",
    "memory policy of its parent": _SYSCALL + "if libc.syscall(256, os.getppid(), 8, ctypes.byref(ctypes.c_ulong(1)), ctypes.byref(ctypes.c_ulong(1))) >= 0: print('ESCAPED')",
    "limits of its parent": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1)); print('sent')",
    "processors of its parent": "import os\nos.sched_setaffinity(os.getppid(), {0}); print('sent')",
    "permissions of a file of the host": "import os\nos.chmod(CANARY, 0o777); print('ESCAPED')",
    "times of a file of the host": "import os\nos.utime(CANARY, (0, 0)); print('ESCAPED')",
    "removes a file of the host": "import os\nos.unlink(CANARY); print('ESCAPED')",
    "link to a file of the host": "import os\nos.link(CANARY, 'mine'); print('ESCAPED')",
    "watches a folder of the host": _SYSCALL + "fd = libc.inotify_init()\nif libc.inotify_add_watch(fd, HERE.encode(), 0xFFF) >= 0: print('ESCAPED')",
    "32-bit system call": "import ctypes, mmap, os\nif os.uname().machine != 'x86_64': raise SystemExit\n"
    "m = mmap.mmap(-1, 4096, prot=7)\nm.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')\n"
    "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\nprint('ESCAPED', f())",
    "x32 system call": _SYSCALL + "if libc.syscall(0x40000000 + 39) > 0: print('ESCAPED')",
    "what another program left in the work directory": "import os\nprint('ESCAPED' if os.listdir('.') else '')\nopen('left', 'w').write('x')",
    "what another program left in shared memory": "import os\nprint('ESCAPED' if os.listdir('/dev/shm') else '')\nopen('/dev/shm/left', 'w').write('x')",
}  # fmt: skip


class Forgery(NamedTuple):
    """A program that solves nothing, and the style in which it is tested."""

    style: str
    program: str


SECRET = 918273645546372819
# Knows only what the answer hashes to, and looks for it wherever it can read.
_HUNT = f"""
import gc, hashlib, os, re, sys
def found(text):
    for digits in re.findall(r'\\d{{18}}', text):
        if hashlib.sha256(digits.encode()).hexdigest() == '{hashlib.sha256(str(SECRET).encode()).hexdigest()}': return int(digits)
def hunt():
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
            if found(repr(value)[:10**6]): return found(repr(value))
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, (list, tuple, dict)) and len(thing) < 1000 and found(repr(thing)): return found(repr(thing))
    for fd in range(0, 64):
        try: data = os.pread(fd, 1 << 20, 0)
        except OSError: continue
        if found(data.decode('latin-1')): return found(data.decode('latin-1'))
    for pid in os.listdir('/proc'):
        if pid.isdigit():
            try:
                with open('/proc/' + pid + '/maps') as maps, open('/proc/' + pid + '/mem', 'rb', 0) as mem:
                    for line in maps:
                        if 'rw' not in line: continue
                        low, high = (int(x, 16) for x in line.split()[0].split('-'))
                        try:
                            mem.seek(low)
                            if (text := found(mem.read(high - low).decode('latin-1'))): return text
                        except (OSError, ValueError): pass
            except OSError: pass
    return 0
"""
_ALWAYS_EQUAL = "class E:\n  __eq__ = __ge__ = __le__ = lambda s, o: True\n  __ne__ = lambda s, o: False\n  __hash__ = lambda s: 0\n  __bool__ = lambda s: True\n"
_FORGED_LINE = '{"i":0,"ok":0}'
FORGERIES: dict[str, Forgery] = {
    "exits": Forgery("stdin", "exit(0)"),
    "leaves at once": Forgery("stdin", "import os; os._exit(0)"),
    "prints what a grader prints": Forgery("stdin", "print('passed'); print('{\"reward\": 1.0, \"status\": \"correct\"}')"),
    "right answer, then a failure": Forgery("stdin_known", "print(42, flush=True); raise SystemExit(1)"),
    "right answer, then killed": Forgery("stdin_known", "import os; print(42, flush=True); os.kill(os.getpid(), 9)"),
    "right answer, then too long": Forgery("stdin_known", "print(42, flush=True)\nwhile True: pass"),
    "right answer, then too much": Forgery("stdin_known", "print(42, flush=True)\nx = []\nwhile True: x.append(bytearray(1 << 20))"),
    "right answer in a flood": Forgery("stdin_known", "print(42)\nwhile True: print()"),
    "hunts for the answer, stdin": Forgery("stdin", _HUNT + "print(hunt())"),
    "exits in the call": Forgery("call", "def solve(x): exit(0)"),
    "leaves in the call": Forgery("call", "import os\ndef solve(x): os._exit(0)"),
    "leaves while loading": Forgery("call", "import os\nos._exit(0)"),
    "equal to everything": Forgery("call", _ALWAYS_EQUAL + "def solve(x): return E()"),
    "integer that equals everything": Forgery("call", "class I(int):\n  __eq__ = lambda s, o: True\n  __hash__ = int.__hash__\ndef solve(x): return I(5)"),
    "text that equals everything": Forgery("call", "class S(str):\n  __eq__ = lambda s, o: True\n  __hash__ = str.__hash__\ndef solve(x): return S('5')"),
    "list that equals everything": Forgery("call", "class L(list):\n  __eq__ = lambda s, o: True\ndef solve(x): return L([5])"),
    "type that lies": Forgery("call", _ALWAYS_EQUAL + "class T(E):\n  __class__ = int\ndef solve(x): return T()"),
    "hunts for the answer, call": Forgery("call", _HUNT + "def solve(x): return hunt()"),
    "writes lines of its own": Forgery("call", f"import os\nos.write(3, b'{_FORGED_LINE}\\n' * 9)\ndef solve(x): return 0"),
    "writes lines and leaves": Forgery("call", f"import os\nos.write(3, b'{{\"loaded\":true}}\\n{_FORGED_LINE}\\n'); os._exit(0)"),
    "claims a broken set": Forgery("call", "import os\nos.write(3, b'{\"loaded\":true}\\n{\"i\":0,\"ok\":{\"t\":\"set\",\"v\":[[1]]}}\\n'); os._exit(0)"),
    "claims a giant number": Forgery("call", "import os\nos.write(3, b'{\"loaded\":true}\\n{\"i\":0,\"ok\":{\"t\":\"decimal\",\"v\":\"1e999999999\"}}\\n'); os._exit(0)"),
    "claims a division by zero": Forgery("call", "import os\nos.write(3, b'{\"loaded\":true}\\n{\"i\":0,\"ok\":{\"t\":\"fraction\",\"v\":[1,0]}}\\n'); os._exit(0)"),
    "claims an endless nest": Forgery("call", "import os\nos.write(3, b'{\"loaded\":true}\\n{\"i\":0,\"ok\":' + b'[' * 500000); os.write(3, b']' * 500000 + b'}\\n'); os._exit(0)"),
    "returns an endless nest": Forgery("call", "def solve(x):\n  a = []\n  for _ in range(10**5): a = [a]\n  return a"),
    "returns a pickle bomb": Forgery("call", "class P:\n  def __reduce__(self): return (print, ('ESCAPED',))\ndef solve(x): return P()"),
    "returns an endless iterator": Forgery("call", "import itertools\ndef solve(x): return itertools.count()"),
    "returns not-a-number": Forgery("call", "def solve(x): return float('nan')"),
    "patches the encoder": Forgery("call", "import sys\nfor m in list(sys.modules.values()):\n  if getattr(m, '__name__', '').startswith('guest'):\n"
    "    for k in ('encode', 'dumps', 'value_difference'): setattr(m, k, lambda *a, **k: True)\ndef solve(x): return 1"),
    "patches json": Forgery("call", "import json\njson.dumps = lambda *a, **k: '{\"i\":0,\"ok\":true}'\ndef solve(x): return 1"),
    "exits in an assert": Forgery("assert", "def solve(x): exit(0)"),
    "leaves in an assert": Forgery("assert", "import os\ndef solve(x): os._exit(0)"),
    "equal to everything, assert": Forgery("assert", _ALWAYS_EQUAL + "def solve(x): return E()"),
    "patches builtins": Forgery("assert", "import builtins\nbuiltins.AssertionError = ValueError\nbuiltins.all = builtins.any = lambda *a: True\n"
    "builtins.isinstance = lambda *a: True\nbuiltins.__debug__ if False else 0\ndef solve(x): return 0"),
    "turns asserts off": Forgery("assert", "import sys, os\nos.environ['PYTHONOPTIMIZE'] = '2'\ndef solve(x): return 0"),
    "defines the helpers of the tests": Forgery("assert", "def check(*a): pass\ndef abs(x): return 0\ndef len(x): return 0\ndef solve(x): return 0"),
    "hunts for the answer, assert": Forgery("assert", _HUNT + "def solve(x): return hunt()"),
    "kills the tests": Forgery("assert", "import os\ndef solve(x):\n  os.kill(-1, 9)\n  return 0"),
    "kills every process it can name": Forgery("assert", "import os\ndef solve(x):\n  for p in range(2, 500):\n    if p != os.getpid():\n      try: os.kill(p, 9)\n      except OSError: pass\n  return 0"),
    "stops the tests": Forgery("assert", "import os, signal\ndef solve(x):\n  for p in range(2, 99):\n    if p != os.getpid():\n      try: os.kill(p, signal.SIGSTOP)\n      except OSError: pass\n  return 0"),
    "writes to the tests": Forgery("assert", "import os, struct\ndef solve(x):\n  m = b'{\"ok\":{\"t\":\"opaque\",\"v\":\"int\"}}'\n  os.write(5, struct.pack('>I', len(m)) + m)\n  return 0"),
    "writes nonsense to the tests": Forgery("assert", "import os\nfor fd in range(3, 10):\n  try: os.write(fd, b'\\xff' * 999)\n  except OSError: pass\ndef solve(x): return 0"),
    "raises what ends tests": Forgery("assert", "def solve(x): raise KeyboardInterrupt"),
    "raises what skips tests": Forgery("assert", "import unittest\ndef solve(x): raise unittest.SkipTest('later')"),
    "raises SystemExit through the wire": Forgery("assert", "import os, struct\ndef solve(x):\n  m = b'{\"error\":[\"SystemExit\",\"0\"]}'\n  os.write(5, struct.pack('>I', len(m)) + m)\n  return 0"),
    "answers without end": Forgery("assert", "def solve(x): return 'x' * (40 << 20)"),
    "object with every method": Forgery("assert", "class Y:\n  def __getattr__(s, n): return lambda *a: True\n  __eq__ = lambda s, o: True\ndef solve(x): return Y()"),
    "exits in a script": Forgery("script", "def solve(x): exit(0)"),
    "leaves in a script": Forgery("script", "import os\ndef solve(x): os._exit(0)"),
    "patches unittest": Forgery("script", "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\nunittest.TestCase.run = lambda *a: None\ndef solve(x): return 0"),
    "defines the test class": Forgery("script", "class T: pass\nclass TestCase: pass\ndef assertEqual(*a): pass\ndef unittest(): pass\ndef solve(x): return 0"),
    "skips the tests": Forgery("script", "import unittest\ndef solve(x): raise unittest.SkipTest('no')"),
}  # fmt: skip
