"""`unmask sandbox run` and `unmask sandbox build`: the sandbox for people. Registered by the main command line."""

import argparse
import base64
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .records import Execution, Limits, MiB

_EXAMPLE = """examples:
  unmask sandbox run solution.py --stdin case1.txt
  echo 'print(6 * 7)' | unmask sandbox run - --json
  unmask sandbox build
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `sandbox` to the commands. Each command sets `run`, a function of the parsed arguments that returns an exit code."""
    parser = subparsers.add_parser(
        "sandbox",
        help="run a program in the sandbox, or build its image",
        description="Run an untrusted Python program, or build the image of the docker backend.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="sandbox_command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_build(commands)


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser("run", help="run a program and say what it did")
    run.add_argument("file", metavar="FILE", help="the program; - reads it from standard input")
    run.add_argument("--stdin", metavar="F", help="file that the program reads as its standard input (default: empty)")
    run.add_argument("--arg", action="append", default=[], metavar="A", help="argument for the program; may be repeated")
    run.add_argument("--backend", default="auto", metavar="B", help="auto, docker, namespace, restricted, process")
    run.add_argument("--image", metavar="I", help="image for docker, instead of the one that `sandbox build` makes")
    run.add_argument("--cpu", type=float, metavar="S", help="limit of CPU time in seconds (default 6)")
    run.add_argument("--wall", type=float, metavar="S", help="limit of wall-clock time in seconds (default 1.5 x CPU + 1)")
    run.add_argument("--memory", type=int, metavar="MIB", help="limit of memory in MiB (default 512)")
    run.add_argument("--json", action="store_true", help="print the whole record as JSON")
    run.set_defaults(run=_run)


def _add_build(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    build = commands.add_parser("build", help="make the image for the docker backend")
    build.add_argument("--image", metavar="NAME", help="name of the image (default: the one that docker workers look for)")
    build.add_argument(
        "--from",
        dest="source",
        choices=("auto", "dockerfile", "host"),
        default="auto",
        help="the Dockerfile, this machine's Python, or (auto) the second where the first cannot be built",
    )
    build.set_defaults(run=_build)


def _run(arguments: argparse.Namespace) -> int:
    from .choose import open_sandbox

    source = sys.stdin.buffer.read() if arguments.file == "-" else _read(arguments.file)
    stdin = _read(arguments.stdin) if arguments.stdin else b""
    limits = Limits()
    if arguments.cpu is not None:
        limits = replace(limits, cpu_seconds=arguments.cpu)
    if arguments.wall is not None:
        limits = replace(limits, wall_seconds=arguments.wall)
    if arguments.memory is not None:
        limits = replace(limits, memory=arguments.memory * MiB)
    with open_sandbox(arguments.backend, limits=limits, workers=1, image=arguments.image) as sandbox:
        execution = sandbox.run(source, stdin, arguments.arg)
    if arguments.json:
        print(json.dumps(as_json(execution), indent=2))
    else:
        _show(execution)
    return 0 if execution.status == "ok" else 1


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None


def as_json(execution: Execution) -> dict[str, Any]:
    """The record as JSON data: output as text where it is UTF-8, else as {"base64": ...}."""
    data = asdict(execution)
    for name in ("stdout", "stderr"):
        try:
            data[name] = data[name].decode("utf-8")
        except UnicodeDecodeError:
            data[name] = {"base64": base64.b64encode(data[name]).decode("ascii")}
    return data


def _show(execution: Execution) -> None:
    sys.stdout.buffer.write(execution.stdout)
    sys.stdout.flush()
    sys.stderr.buffer.write(execution.stderr)
    sys.stderr.flush()
    note = f": {execution.detail}" if execution.detail else ""
    guard = "" if execution.isolated else ", NOT ISOLATED"
    print(
        f"[{execution.status}{note}; {execution.cpu_seconds:.3f} s CPU, {execution.wall_seconds:.3f} s, "
        f"{execution.peak_memory / MiB:.0f} MiB; {execution.backend}{guard}]",
        file=sys.stderr,
    )


def _build(arguments: argparse.Namespace) -> int:
    from .backends.docker import DEFAULT_IMAGE
    from .choose import prove
    from .image import build

    image = arguments.image or DEFAULT_IMAGE
    print(f"{image}: {build(image, arguments.source, say=print)}")
    probes, problem = prove("docker", image)
    for probe in probes:
        print(f"  {probe.name}: {probe.seen}")
    if problem or not all(probe.held for probe in probes):
        print(problem or "the image does not pass the self-check", file=sys.stderr)
        return 1
    return 0
