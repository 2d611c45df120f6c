"""`unmask score`."""

import argparse
from pathlib import Path

from ...rewards.errors import InputError
from . import Commands
from .evaluate import add_executor

_EXAMPLE = """\
examples:
  unmask score answers.jsonl --task gsm8k --out runs/scored
  unmask score pairs.jsonl --verifier math --rule minerva --out runs/minerva
  unmask score runs/arith --task arith --verifier mine.py:reward --out runs/again
  unmask score runs/arith --process arithmetic --combine add --out runs/arith-steps

A line is {"id", "completion", "reference"?, "problem_id"?, "sample"?}: with --task, problem_id (or id) picks the reference; with
--verifier alone, the reference is in the line. A run directory is read as well. With --process, the steps of a run's samples are
rewarded, and what becomes of the run's outcomes has to be said. The same command again resumes."""


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
    steps = command.add_argument_group("process rewards, of the samples of a run directory")
    steps.add_argument("--process", metavar="P", help="arithmetic, tests, intermediate, rollout, prm, judge, or one of your own")
    steps.add_argument(
        "--combine", metavar="C", help="how they join the outcome: add, replace, gate (see docs/process-rewards.md)"
    )
    steps.add_argument("--weight", metavar="W", type=float, help="what they are multiplied by (default 1)")
    steps.add_argument("--place", metavar="WHERE", help="tokens that get a span's reward: all (default), last_fixed")
    steps.add_argument("--spread", metavar="HOW", help="these tokens split it (default), or it is repeated: split, repeat")
    steps.add_argument("--model", metavar="M", help="where the run's model lies, if not where it was")
    steps.add_argument("--device", metavar="D", help="auto (default), cpu, cuda, cuda:1, ...")
    command.set_defaults(run=_score)


def add_judging(command: argparse.ArgumentParser) -> None:
    """The flags of every command that judges."""
    command.add_argument("--rule", metavar="R", help="scoring rule, where the task or its verifier knows several")
    command.add_argument("--data", metavar="PATH", help="read the task's problems from this file")
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="task.KEY, verifier.KEY or (score) process.KEY; repeatable",
    )
    command.add_argument("--workers", metavar="N", type=int, help="worker processes (default: one per core)")


def _score(args: argparse.Namespace) -> int:
    from ..executor import open_executor
    from ..judging import score
    from ..tables import print_score

    if args.process is not None:
        return _process(args)
    _refuse(args, _PROCESS_FLAGS, "belongs to --process")
    settings = (args.task, args.verifier, args.rule, args.data, args.set, args.workers)
    with open_executor(args.executor) as executor:
        result = score(args.source, args.out, *settings, executor)
    print_score(result)
    print(f"verdicts: {args.out / 'verdicts.jsonl'}")
    return 0


_PROCESS_FLAGS = ("combine", "weight", "place", "spread", "model", "device")


def _process(args: argparse.Namespace) -> int:
    from ..process.score import score_process
    from ..process.settings import read_process
    from ..tables import print_score

    _refuse(args, ("task", "verifier", "rule", "data"), "does not go with --process: the outcomes are the run's own")
    if args.executor != "local":
        raise InputError(f"--executor {args.executor}: process rewards are made on this machine; leave it out")
    given = {name: getattr(args, name) for name in ("combine", "weight", "place", "spread")}
    config = read_process(args.process, given, args.set)
    print_score(score_process(args.source, args.out, config, args.model, args.device, args.workers))
    print(f"verdicts: {args.out / 'verdicts.jsonl'}; samples: {args.out / 'samples.parquet'}")
    return 0


def _refuse(args: argparse.Namespace, flags: tuple[str, ...], why: str) -> None:
    for flag in flags:
        if getattr(args, flag) is not None:
            raise InputError(f"--{flag} {why}")
