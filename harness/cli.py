"""The command `unmask`: its parser, and what becomes of errors. The commands themselves are in `commands`.

Exit codes: 0 success, 1 a failed run, 2 bad input with one line that says what, where and how to mend it, 130 interrupted.
Parsing imports nothing heavy.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..rewards.errors import InputError
from ..sandbox import cli as sandbox
from ..sandbox.errors import SandboxUnavailable
from .commands import (
    Commands,
    audit,
    compare,
    doctor,
    evaluate,
    export,
    fail,
    listing,
    report,
    rollout,
    save,
    score,
    serve,
    show,
    train,
    validate,
)

_COMMANDS = tuple(
    command.add_parser
    for command in (
        evaluate,
        rollout,
        export,
        score,
        audit,
        train,
        validate,
        compare,
        report,
        show,
        serve,
        save,
        sandbox,
        listing,
        doctor,
    )
)
"""In the order of `unmask --help`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    if args.command is None:
        parser.print_help()
        return 2
    try:
        return int(args.run(args))
    except (InputError, SandboxUnavailable) as error:
        return fail(error, 2)
    except KeyboardInterrupt:
        # A second Ctrl-C must not turn the clean way out into a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return fail("interrupted; what was done is kept, and the same command resumes", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        return fail(f"{error.strerror or error}{place}; what was written before is kept, and the same command resumes", 1)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage block."""

    def error(self, message: str) -> NoReturn:
        print(f"unmask: {message}; see `{self.prog} --help`", file=sys.stderr)
        sys.exit(2)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    from .. import __version__

    parser = _Parser(prog="unmask", description="Evaluation and reward harness for diffusion language models.")
    parser.add_argument("--version", action="version", version=f"unmask {__version__}")
    commands: Commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for add_parser in _COMMANDS:
        add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
