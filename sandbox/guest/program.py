"""Runs a program in this (already confined) process as Python itself would run a file: streams, `__main__`, exit code.

Covered: buffering as for a pipe, tracebacks with source lines and without our frames, SystemExit with any code, joining of
threads, atexit. Random numbers start from the same seed in every guest, so that a verdict can be repeated.
"""

import _sitebuiltins
import atexit
import builtins
import contextlib
import gc
import io
import linecache
import os
import random
import sys
import threading
import traceback
import types
from typing import Any

from . import child

FILE_NAME = "main.py"
_PRELUDE_STARS = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json", "builtins", "typing",
)  # fmt: skip
_PRELUDE_RECURSION = 50_000


def prelude() -> dict[str, Any]:
    """The names that LiveCodeBench's import line puts before a program, as a namespace."""
    names: dict[str, Any] = {}
    for module in _PRELUDE_STARS:
        exec(f"from {module} import *", names)
    for module in _PRELUDE_STARS:
        if module not in ("builtins", "typing"):
            names[module] = __import__(module)
    names.pop("__builtins__", None)
    return names


PRELUDE = prelude()


def add_site_builtins() -> None:
    """`exit` and the like, which the module `site` defines in an ordinary interpreter."""
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    setattr(builtins, "help", _sitebuiltins._Helper())  # noqa: B010 - mypy knows no such builtin


def fresh_streams() -> None:
    """Give the process its own standard streams on descriptors 0 to 2."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "rb", closefd=False)), "utf-8", "surrogateescape")
    out = io.BufferedWriter(io.FileIO(1, "wb", closefd=False), 1 << 16)
    sys.stdout = io.TextIOWrapper(out, "utf-8", "surrogateescape")
    err = io.BufferedWriter(io.FileIO(2, "wb", closefd=False))
    sys.stderr = io.TextIOWrapper(err, "utf-8", "backslashreplace", line_buffering=True)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def seed_random() -> None:
    """The same random numbers in every guest: the zygote's state is shared anyway, and a verdict is no throw of dice."""
    random.seed(0)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(0)


def fresh_main(header: dict[str, Any], source: bytes) -> dict[str, Any]:
    """Install a new `__main__` and return its namespace."""
    main = types.ModuleType("__main__")
    main.__dict__.update({"__builtins__": builtins, "__file__": FILE_NAME})
    if header.get("prelude"):
        main.__dict__.update(PRELUDE)
        sys.setrecursionlimit(_PRELUDE_RECURSION)
    sys.modules["__main__"] = main
    sys.argv = [FILE_NAME, *header.get("args", ())]
    lines = source.decode("utf-8", "replace").splitlines(keepends=True)
    linecache.cache[FILE_NAME] = (len(source), None, lines, FILE_NAME)
    return main.__dict__


def rename_main(name: str) -> None:
    """Call the fresh module `name`, so that its `if __name__ == "__main__"` part does not run."""
    main = sys.modules["__main__"]
    main.__dict__["__name__"] = name
    sys.modules[name] = main


def execute(source: bytes, namespace: dict[str, Any]) -> int:
    """Run `source` and return its exit code, having printed what Python would print."""
    try:
        exec(compile(source, FILE_NAME, "exec", dont_inherit=True), namespace)
    except SystemExit as error:
        return exit_code(error)
    except BaseException as error:
        report(error)
        return 1
    return 0


def report(error: BaseException) -> None:
    """Show an uncaught exception through sys.excepthook, without the frame of `execute`."""
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
    with contextlib.suppress(BaseException):
        if sys.excepthook is sys.__excepthook__:
            traceback.print_exception(type(error), error, trace)  # the built-in hook looks for the source in a file
        else:
            sys.excepthook(type(error), error.with_traceback(trace), trace)


def last_line(error: BaseException) -> str:
    """The line of a traceback that names the error."""
    try:
        return traceback.format_exception_only(type(error), error)[-1].strip()[:500]
    except BaseException:
        return type(error).__name__


def exit_code(error: SystemExit) -> int:
    """What Python makes of the argument of `sys.exit`."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    with contextlib.suppress(BaseException):
        print(error.code, file=sys.stderr)
    return 1


def leave(code: int) -> None:
    """End the process as the interpreter would: threads, atexit, flush. Does not return."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException as error:
        report(error)
    for stream in gc.get_objects():  # those made since the zygote froze its own: few
        if isinstance(stream, io.IOBase) and not flushed(stream):
            code = code or 120  # Python's own code for output that could not be written
    os._exit(code)


def flushed(stream: io.IOBase) -> bool:
    """Flush a stream that the program left open, as the end of an interpreter does. False when its output is lost."""
    try:
        if not stream.closed and stream.writable():
            stream.flush()
    except (OSError, ValueError):
        return stream not in (sys.__stdout__, sys.stdout)
    except BaseException:  # a stream of the program's own making
        return True
    return True


def run_program(header: dict[str, Any], source: bytes) -> None:
    """The role `program`: a file with a real stdin."""
    namespace = fresh_main(header, source)
    child.announce_start()
    leave(execute(source, namespace))
