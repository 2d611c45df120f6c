"""The command `unmask`.

Exit codes: 0 success, 1 a failed run, 2 bad input with one line that says what, where and how to mend it, 130 interrupted.
Parsing imports nothing heavy; each command imports what it needs.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from ..rewards.errors import InputError
from ..sandbox.cli import add_parser as add_sandbox
from ..sandbox.errors import SandboxUnavailable

EVAL_EXAMPLE = """\
examples:
  unmask eval --model demo --task arith --limit 200 --samples 2 --out runs/arith
  unmask eval --model JetLM/SDAR-1.7B-Chat --task gsm8k,math500 --decode static --set decode.temperature=0 --out runs/sdar
  unmask eval --config runs/arith/config.yaml --out runs/again

The same command again resumes. Settings: --set KEY=VALUE with decode.KEY (block_size, steps_per_block, threshold, temperature,
top_k, top_p, confidence, max_new_tokens, stop, ...), task.KEY and verifier.KEY (their options), threads, workers."""

SCORE_EXAMPLE = """\
examples:
  unmask score answers.jsonl --task gsm8k --out runs/scored
  unmask score pairs.jsonl --verifier math --rule minerva --out runs/minerva
  unmask score runs/arith --task arith --verifier mine.py:reward --out runs/again

A line is {"id", "completion", "reference"?, "problem_id"?, "sample"?}: with --task, problem_id (or id) picks the reference; with
--verifier alone, the reference is in the line. A run directory is read as well. The same command again resumes."""

VALIDATE_EXAMPLE = """\
examples:
  unmask validate --task gsm8k,math500
  unmask validate --overlap math_train math500"""


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
        return _fail(error, 2)
    except KeyboardInterrupt:
        # A second Ctrl-C must not turn the clean way out into a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return _fail("interrupted; what was done is kept, and the same command resumes", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{place}; what was written before is kept, and the same command resumes", 1)


def _fail(message: object, code: int) -> int:
    print(f"unmask: {message}", file=sys.stderr)
    return code


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


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
    _add_eval(commands)
    _add_score(commands)
    _add_validate(commands)
    add_sandbox(commands)
    _add_list(commands)
    _add_doctor(commands)
    return parser


def _add_eval(commands: Commands) -> None:
    command = commands.add_parser(
        "eval",
        help="score a checkpoint on benchmarks",
        description="Decode a checkpoint on benchmarks, verify the answers, and report scores with error bars.",
        epilog=EVAL_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--model", metavar="M", help="demo, a checkpoint directory, or a hub id")
    command.add_argument("--task", metavar="T[,T]", help="benchmarks, separated by commas (see `unmask list tasks`)")
    command.add_argument("--out", metavar="DIR", type=Path, help="run directory; an existing one of the same run is resumed")
    command.add_argument("--config", metavar="FILE", type=Path, help="YAML file with the same settings; flags win")
    command.add_argument("--limit", metavar="N", type=int, help="only the first N problems of each task")
    command.add_argument("--samples", metavar="K", type=int, help="samples per problem (default: the task's)")
    command.add_argument("--seed", metavar="S", type=int, help="seed of all sampling (default 0)")
    command.add_argument("--decode", metavar="NAME", help="decoding preset: dynamic (default), static, sequential")
    command.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="any other setting, repeatable")
    command.add_argument("--data", metavar="PATH", help="read the task's problems from this file")
    command.add_argument("--verifier", metavar="V", help="judge with this verifier instead of the task's")
    command.add_argument("--rule", metavar="R", help="scoring rule, where the task or its verifier knows several")
    command.add_argument("--max-batch", metavar="N", type=int, help="sequences that share a forward pass (default 32)")
    command.add_argument("--revision", metavar="R", help="revision of a hub checkpoint")
    command.add_argument("--dtype", metavar="D", help="auto (default), float32, bfloat16, float16")
    command.add_argument("--device", metavar="D", help="auto (default), cpu, cuda, cuda:1, ...")
    command.add_argument("--dry-run", action="store_true", help="print the resolved plan and stop")
    command.set_defaults(run=_eval)


_EVAL_FLAGS = (
    *("model", "task", "limit", "samples", "seed", "data", "verifier", "rule", "max_batch", "revision", "dtype", "device"),
)


def _eval(args: argparse.Namespace) -> int:
    from .config import read_config

    config = read_config(args.config, {name: getattr(args, name) for name in _EVAL_FLAGS}, args.set, args.decode)
    if args.dry_run:
        from .dry_run import print_plan

        print_plan(config)
        return 0
    if args.out is None:
        raise InputError("--out missing; give a folder for the run, for example --out runs/first")
    from .evaluate import RunError, evaluate
    from .tables import print_results

    try:
        result = evaluate(config, args.out)
    except RunError as error:
        return _fail(error, 1)
    print_results(result.tasks)
    print(f"run directory: {result.path}")
    return 0


def _add_score(commands: Commands) -> None:
    command = commands.add_parser(
        "score",
        help="judge existing completions; no model needed",
        description="Judge the completions of a JSONL file or of a run directory.",
        epilog=SCORE_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("source", metavar="FILE.jsonl|DIR", type=Path, help="completions, or a run directory")
    command.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for verdicts.jsonl and results.json")
    command.add_argument("--task", metavar="T", help="benchmark that holds the references")
    command.add_argument("--verifier", metavar="V", help="verifier, if not the task's")
    _add_judging(command)
    command.set_defaults(run=_score)


def _add_judging(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rule", metavar="R", help="scoring rule, where the task or its verifier knows several")
    command.add_argument("--data", metavar="PATH", help="read the task's problems from this file")
    command.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="task.KEY or verifier.KEY, repeatable")
    command.add_argument("--workers", metavar="N", type=int, help="worker processes (default: one per core)")


def _score(args: argparse.Namespace) -> int:
    from .judging import score
    from .tables import print_score

    print_score(score(args.source, args.out, args.task, args.verifier, args.rule, args.data, args.set, args.workers))
    print(f"verdicts: {args.out / 'verdicts.jsonl'}")
    return 0


def _add_validate(commands: Commands) -> None:
    command = commands.add_parser(
        "validate",
        help="check tasks against themselves: gold answers pass, wrong ones fail",
        description="Check that every gold answer of a task passes its verifier and that empty and wrong answers fail; "
        "or list the problems that two data sets share.",
        epilog=VALIDATE_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--task", metavar="T[,T]", help="benchmarks to check")
    what.add_argument("--overlap", metavar=("TRAIN", "TEST"), nargs=2, help="two tasks or data files to compare")
    command.add_argument("--limit", metavar="N", type=int, help="only the first N problems of each task")
    _add_judging(command)
    command.set_defaults(run=_validate)


def _validate(args: argparse.Namespace) -> int:
    from .judging import print_overlap, print_validation

    if args.overlap:
        return print_overlap(*args.overlap)
    return print_validation(args.task.split(","), args.limit, args.rule, args.data, args.set, args.workers)


def _add_list(commands: Commands) -> None:
    command = commands.add_parser(
        "list",
        help="what there is: tasks, models, verifiers",
        description="List what there is.",
        epilog="example: unmask list tasks",
    )
    command.add_argument("what", nargs="?", choices=("tasks", "models", "verifiers"), help="default: everything")
    command.set_defaults(run=_list)


def _list(args: argparse.Namespace) -> int:
    from .listing import print_lists

    print_lists(args.what)
    return 0


def _add_doctor(commands: Commands) -> None:
    command = commands.add_parser(
        "doctor",
        help="what works on this machine",
        description="Check what works on this machine, by trying it.",
        epilog="example: unmask doctor",
    )
    command.set_defaults(run=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    from .doctor import print_report

    return print_report()


if __name__ == "__main__":
    sys.exit(main())
