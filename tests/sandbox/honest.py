"""Honest programs: what people write to solve contest problems, with its input and its output. Each must pass everywhere.

`NO_CHILDREN` names the few that make processes; where a backend allows threads only they must fail plainly.
"""

HONEST: dict[str, tuple[str, str, str]] = {
    "input()": ("a, b = map(int, input().split())\nprint(a + b)", "40 2\n", "42\n"),
    "input() without a last newline": ("print(int(input()) + int(input()))", "40\n2", "42\n"),
    "sys.stdin.readline": ("import sys\nprint(sys.stdin.readline().strip()[::-1])", "abc\n", "cba\n"),
    "rebound input": ("import sys\ninput = sys.stdin.readline\nprint(int(input()) * 2)", "21\n", "42\n"),
    "sys.stdin.read": ("import sys\nprint(sum(map(int, sys.stdin.read().split())))", "1 2\n3\n", "6\n"),
    "for line in sys.stdin": ("import sys\nfor line in sys.stdin: print(line.rstrip().upper())", "a\nb\nc\n", "A\nB\nC\n"),
    "sys.stdin.readlines": ("import sys\nprint(len(sys.stdin.readlines()))", "a\nb\nc\n", "3\n"),
    "sys.stdin.buffer.read": ("import sys\nprint(sys.stdin.buffer.read().split()[1].decode())", "a b\n", "b\n"),
    "sys.stdin.buffer.readline": ("import sys\nr = sys.stdin.buffer.readline\nprint(int(r()) + int(r()))", "1\n2\n", "3\n"),
    "iter over sys.stdin.buffer": ("import sys\nprint(sum(int(x) for x in sys.stdin.buffer))", "1\n2\n", "3\n"),
    "open(0)": ("print(sum(map(int, open(0).read().split())))", "1 2 3\n", "6\n"),
    "open(0, 'rb')": ("print(len(open(0, 'rb').read()))", "abcd", "4\n"),
    "*map(int, open(0))": ("a, *b = map(int, open(0))\nprint(a, b)", "1\n2\n3\n", "1 [2, 3]\n"),
    "open('/dev/stdin')": ("print(open('/dev/stdin').read().strip())", "hello\n", "hello\n"),
    "os.read": ("import os\nprint(os.read(0, 100).decode().strip())", "hello\n", "hello\n"),
    "os.read with fstat": ("import os\nprint(len(os.read(0, os.fstat(0).st_size)))", "12345", "5\n"),
    "io.BytesIO over os.read": (
        "import io, os, sys\nsys.stdin = io.TextIOWrapper(io.BytesIO(os.read(0, os.fstat(0).st_size)))\nprint(sys.stdin.readline().strip())",
        "fast\n",
        "fast\n",
    ),
    "fileinput": ("import fileinput\nfor line in fileinput.input(): print(line.strip())", "x\ny\n", "x\ny\n"),
    "EOFError ends the input": ("n = 0\nwhile True:\n  try: input(); n += 1\n  except EOFError: break\nprint(n)", "a\nb\n", "2\n"),
    "empty input": ("import sys\nprint(repr(sys.stdin.read()))", "", "''\n"),
    "text that is not ASCII": ("print(input() + ' ÄÖ ☃')", "grüß\n", "grüß ÄÖ ☃\n"),
    "sys.stdout.write": ("import sys\nsys.stdout.write('a\\n'); sys.stdout.write('b\\n')", "", "a\nb\n"),
    "sys.stdout.buffer.write": ("import sys\nsys.stdout.buffer.write(b'a\\n')", "", "a\n"),
    "os.write after print": ("import os\nprint('a', flush=True)\nos.write(1, b'b\\n')", "", "a\nb\n"),
    "replaced sys.stdout": (
        "import io, sys\nreal = sys.stdout\nsys.stdout = io.StringIO()\nprint('hi')\nreal.write(sys.stdout.getvalue())",
        "",
        "hi\n",
    ),
    "a second stream on descriptor 1": ("out = open(1, 'w', closefd=False)\nout.write('kept\\n')", "", "kept\n"),
    "sys.exit(0)": ("import sys\nprint('done')\nsys.exit(0)", "", "done\n"),
    "exit() inside a function": ("def main():\n  print('done')\n  exit()\nmain()", "", "done\n"),
    "quit()": ("print('done'); quit()", "", "done\n"),
    "os._exit after flushing": ("import os\nprint('done', flush=True)\nos._exit(0)", "", "done\n"),
    "if __name__ == '__main__'": ("def main(): print('main')\nif __name__ == '__main__': main()", "", "main\n"),
    "__main__ is a module": ("import sys, __main__\nx = 5\nprint(__main__.x, sys.modules['__main__'].x)", "", "5 5\n"),
    "from __future__": ("from __future__ import annotations\ndef f(x: Nope) -> None: print('ok')\nf(1)", "", "ok\n"),
    "several classes": (
        "class A:\n  def f(self): return 1\nclass B(A):\n  def f(self): return super().f() + 1\nprint(B().f())",
        "",
        "2\n",
    ),
    "dataclass and typing": (
        "from dataclasses import dataclass\nfrom typing import List\n@dataclass\nclass P:\n  x: int\n  y: List[int]\nprint(P(1, [2]))",
        "",
        "P(x=1, y=[2])\n",
    ),
    "pickle of its own class": ("import pickle\nclass A:\n  x = 1\nprint(pickle.loads(pickle.dumps(A())).x)", "", "1\n"),
    "deep recursion": (
        "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(200000))",
        "",
        "200000\n",
    ),
    "deep recursion in a thread": (
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(512 * 1024 * 1024)\n"
        "def f(n): return 0 if n == 0 else 1 + f(n - 1)\nt = threading.Thread(target=lambda: print(f(50000)))\nt.start(); t.join()",
        "",
        "50000\n",
    ),
    "recursion through C": (
        "import sys\nfrom functools import lru_cache\nsys.setrecursionlimit(10**6)\n@lru_cache(None)\n"
        "def f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(20000))",
        "",
        "20000\n",
    ),
    "threads": (
        "import threading\nr = []\nts = [threading.Thread(target=r.append, args=(i,)) for i in range(8)]\n"
        "[t.start() for t in ts]\n[t.join() for t in ts]\nprint(sorted(r))",
        "",
        "[0, 1, 2, 3, 4, 5, 6, 7]\n",
    ),
    "thread pool": (
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(4) as p: print(sum(p.map(lambda x: x * x, range(5))))",
        "",
        "30\n",
    ),
    "thread that is not joined": (
        "import threading, time\ndef f():\n  time.sleep(0.05)\n  print('late')\nthreading.Thread(target=f).start()",
        "",
        "late\n",
    ),
    "asyncio": ("import asyncio\nasync def f():\n  await asyncio.sleep(0.01)\n  return 7\nprint(asyncio.run(f()))", "", "7\n"),
    "atexit": ("import atexit\natexit.register(print, 'bye')\nprint('hi')", "", "hi\nbye\n"),
    "signal handler": (
        "import signal, os\nsignal.signal(signal.SIGUSR1, lambda *a: print('got'))\nos.kill(os.getpid(), signal.SIGUSR1)",
        "",
        "got\n",
    ),
    "its own alarm": (
        "import signal, time\ndef f(*a): raise TimeoutError\nsignal.signal(signal.SIGALRM, f)\nsignal.setitimer(signal.ITIMER_REAL, 0.5)\n"
        "try: time.sleep(5)\nexcept TimeoutError: print('stopped')",
        "",
        "stopped\n",
    ),
    "big integers": ("print(len(str(3 ** 9000)), 2 ** 200)", "", f"4295 {2**200}\n"),
    "integers past the limit of digits": (
        "import sys\nsys.set_int_max_str_digits(0)\nprint(len(str(7 ** 20000)))",
        "",
        "16902\n",
    ),
    "fractions and decimals": (
        "from fractions import Fraction\nfrom decimal import Decimal, getcontext\ngetcontext().prec = 30\n"
        "print(Fraction(1, 3) + Fraction(1, 6), Decimal(2).sqrt())",
        "",
        "1/2 1.41421356237309504880168872421\n",
    ),
    "numpy": ("import numpy as np\nprint(int(np.arange(10).sum()), np.linalg.det(np.eye(3)))", "", "45 1.0\n"),
    "sorted containers": ("from sortedcontainers import SortedList\nprint(SortedList([3, 1, 2])[0])", "", "1\n"),
    "numpy random with a seed": (
        "import numpy as np\nr = np.random.RandomState(1)\nprint(r.randint(0, 100, 3).tolist())",
        "",
        "[37, 12, 72]\n",
    ),
    "numpy reads the input": ("import sys, numpy as np\nprint(np.loadtxt(sys.stdin).sum())", "1 2\n3 4\n", "10.0\n"),
    "sympy": ("import sympy\nprint(sympy.factorint(360))", "", "{2: 3, 3: 2, 5: 1}\n"),
    "heapq, bisect, collections": (
        "import heapq, bisect\nfrom collections import Counter, defaultdict, deque\nh = [3, 1, 2]; heapq.heapify(h)\n"
        "print(heapq.heappop(h), bisect.bisect([1, 2, 3], 2), Counter('aab')['a'], deque([1, 2], maxlen=1))",
        "",
        "1 2 2 deque([2], maxlen=1)\n",
    ),
    "regular expressions": ("import re\nprint(re.findall(r'\\d+', input()))", "a1b22\n", "['1', '22']\n"),
    "dates": ("from datetime import date, timedelta\nprint(date(2024, 2, 28) + timedelta(days=2))", "", "2024-03-01\n"),
    "a file of its own": (
        "with open('x.txt', 'w') as f: f.write('kept')\nprint(open('x.txt').read())",
        "",
        "kept\n",
    ),
    "temporary file": ("import tempfile\nwith tempfile.TemporaryFile('w+') as f:\n  f.write('t'); f.seek(0); print(f.read())", "", "t\n"),
    "source in a traceback": (
        "import traceback\ntry:\n  1 / 0\nexcept ZeroDivisionError: print('1 / 0' in traceback.format_exc())",
        "",
        "True\n",
    ),
    "inspect.getsource": ("import inspect\ndef f(): return 1\nprint(inspect.getsource(f).strip())", "", "def f(): return 1\n"),
    "exec and eval": ("exec('y = 3')\nprint(eval('y + 1'))", "", "4\n"),
    "global state": ("count = 0\ndef f():\n  global count\n  count += 1\nf(); f()\nprint(count)", "", "2\n"),
    "generators": ("def g():\n  x = yield 1\n  yield x\nh = g()\nprint(next(h), h.send(5))", "", "1 5\n"),
    "warnings go to stderr": ("import warnings\nwarnings.warn('careful')\nprint('ok')", "", "ok\n"),
    "fast loop": ("t = 0\nfor i in range(10**6): t += i\nprint(t)", "", "499999500000\n"),
    "many lines": ("print('\\n'.join(map(str, range(200000))))", "", "\n".join(map(str, range(200000))) + "\n"),
    "ten megabytes of output": ("print('x' * 10**7)", "", "x" * 10**7 + "\n"),
    "four megabytes of input": ("import sys\nprint(len(sys.stdin.read()))", "y" * (4 << 20), f"{4 << 20}\n"),
    "a hundred megabytes of memory": ("x = bytearray(100 << 20)\nprint(len(x))", "", f"{100 << 20}\n"),
    "process pool": (
        "import multiprocessing as m\ndef f(x): return x * x\nif __name__ == '__main__':\n  with m.get_context('fork').Pool(2) as p: print(p.map(f, [1, 2, 3]))",
        "",
        "[1, 4, 9]\n",
    ),
    "fork and wait": (
        "import os\npid = os.fork()\nif pid == 0: os._exit(7)\nprint(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))",
        "",
        "7\n",
    ),
}  # fmt: skip
NO_CHILDREN = {"process pool", "fork and wait"}
