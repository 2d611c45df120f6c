"""`unmask score`."""

import argparse
from pathlib import Path

from . import Commands
from .evaluate import add_executor

_EXAMPLE = """\
examples:
  unmask score answers.jsonl --task gsm8k --out runs/scored
  unmask score pairs.jsonl --verifier math --rule minerva --out runs/minerva
  unmask score runs/arith --task arith --verifier mine.py:reward --out runs/again

A line is {"id", "completion", "reference"?, "problem_id"?, "sample"?}: with --task, problem_id (or id) picks the reference; with
--verifier alone, the reference is in the line. A run directory is read as well. The same command again resumes."""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "score",
        help="judge existing completions; no model needed",
        description="Judge the completions of a JSONL file or of a run directory.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("source", metavar="FILE.jsonl|DIR", type=Path, help="completions, or a run directory")
    command.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for verdicts.jsonl and results.json")
    command.add_argument("--task", metavar="T", help="benchmark that holds the references")
    command.add_argument("--verifier", metavar="V", help="verifier, if not the task's")
    add_judging(command)
    add_executor(command)
    command.set_defaults(run=_score)


def add_judging(command: argparse.ArgumentParser) -> None:
    """The flags of every command that judges."""
    command.add_argument("--rule", metavar="R", help="scoring rule, where the task or its verifier knows several")
    command.add_argument("--data", metavar="PATH", help="read the task's problems from this file")
    command.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="task.KEY or verifier.KEY, repeatable")
    command.add_argument("--workers", metavar="N", type=int, help="worker processes (default: one per core)")


def _score(args: argparse.Namespace) -> int:
    from ..executor import open_executor
    from ..judging import score
    from ..tables import print_score

    settings = (args.task, args.verifier, args.rule, args.data, args.set, args.workers)
    with open_executor(args.executor) as executor:
        result = score(args.source, args.out, *settings, executor)
    print_score(result)
    print(f"verdicts: {args.out / 'verdicts.jsonl'}")
    return 0
