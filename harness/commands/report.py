"""`unmask report`."""

import argparse
from pathlib import Path

from . import Commands
from .compare import add_allowed, allowed

_EXAMPLE = """\
examples:
  unmask report runs/arith                      writes runs/arith/report.html
  unmask report runs/before runs/after          two runs side by side: runs/after/compare-before.html
  unmask report runs/training                   curves of a training run

The page opens from disk and needs no network. Samples that would make it larger than 5 MB lie in a folder beside it."""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "report",
        help="write a run's results, samples and trajectories as a page",
        description="Write a run, or two runs side by side, as an HTML page.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("a", metavar="DIR", type=Path, help="run directory, finished or not")
    command.add_argument("b", metavar="DIR_B", type=Path, nargs="?", help="run that is compared with the first")
    command.add_argument("--out", metavar="FILE", type=Path, help="where to write the page")
    add_allowed(command)
    command.set_defaults(run=_report)


def _report(args: argparse.Namespace) -> int:
    from ..report.build import write_report

    report = write_report(args.a, args.b, args.out, allowed(args))
    beside = f" and {report.side_files} files beside it" if report.side_files else ""
    print(f"report: {report.path} ({report.samples:,} samples, {report.bytes / 1e6:.1f} MB{beside})")
    for note in report.notes:
        print(note)
    return 0
