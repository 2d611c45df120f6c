"""`unmask show`."""

import argparse
from pathlib import Path

from . import Commands

_EXAMPLE = """\
examples:
  unmask show runs/arith --status wrong
  unmask show runs/arith --problem arith/3-0 --replay
  unmask show runs/arith --status unparsed,crashed --limit 5 | less

On a terminal: enter shows the next sample, b goes back, r replays how it was denoised, q ends. Colour tells confidence: yellow
below 0.9, orange below 0.7, red below 0.4; what a step fixed is reversed, what was edited is underlined."""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "show",
        help="look at a run's samples on the terminal",
        description="Show a run's samples one by one: prompt, response, verdict, and the order in which it was denoised.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("run_directory", metavar="DIR", type=Path, help="run directory, finished or not")
    command.add_argument("--status", metavar="S[,S]", help="only samples with these statuses: correct, wrong, unparsed, ...")
    command.add_argument("--problem", metavar="ID", help="only samples of this problem")
    command.add_argument("--task", metavar="T", help="only samples of this task")
    command.add_argument("--limit", metavar="N", type=int, help="at most N samples")
    command.add_argument("--replay", action="store_true", help="replay how each response was denoised")
    command.add_argument("--seconds", metavar="S", type=float, default=6.0, help="how long a replay takes at most (default 6)")
    command.set_defaults(run=_show)


def _show(args: argparse.Namespace) -> int:
    from ..show import choice, show

    show(args.run_directory, choice(args.status, args.problem, args.task, args.limit), replay=args.replay, seconds=args.seconds)
    return 0
