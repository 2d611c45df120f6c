"""`unmask validate`."""

import argparse

from . import Commands
from .score import add_judging

_EXAMPLE = """\
examples:
  unmask validate --task gsm8k,math500
  unmask validate --overlap math_train math500"""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "validate",
        help="check tasks against themselves: gold answers pass, wrong ones fail",
        description="Check that every gold answer of a task passes its verifier and that empty and wrong answers fail; "
        "or list the problems that two data sets share.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--task", metavar="T[,T]", help="benchmarks to check")
    what.add_argument("--overlap", metavar=("TRAIN", "TEST"), nargs=2, help="two tasks or data files to compare")
    command.add_argument("--limit", metavar="N", type=int, help="only the first N problems of each task")
    add_judging(command)
    command.set_defaults(run=_validate)


def _validate(args: argparse.Namespace) -> int:
    from ..judging import print_overlap, print_validation

    if args.overlap:
        return print_overlap(*args.overlap)
    return print_validation(args.task.split(","), args.limit, args.rule, args.data, args.set, args.workers)
