"""`unmask compare`."""

import argparse
from pathlib import Path

from . import Commands

_EXAMPLE = """\
examples:
  unmask compare runs/before runs/after
  unmask compare runs/t09 runs/t07 --allow-different decode.threshold
  unmask compare runs/before runs/after --cluster subject --json

The difference is B - A over the problems that both judged. The checkpoint, the seed and the numbers of samples and problems may
differ; any other setting has to be the same, or be named with --allow-different (a section such as `decode` names all of it)."""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "compare",
        help="compare two runs problem by problem",
        description="Compare two finished runs problem by problem, with the error of the difference.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("a", metavar="DIR_A", type=Path, help="run directory")
    command.add_argument("b", metavar="DIR_B", type=Path, help="run directory that is compared with it")
    add_allowed(command)
    command.add_argument("--cluster", metavar="KEY", help="cluster the errors by this field of the problems' metadata as well")
    command.add_argument("--json", action="store_true", help="print everything as one JSON object, instead of tables")
    command.set_defaults(run=_compare)


def add_allowed(command: argparse.ArgumentParser) -> None:
    """The flag that names the settings in which two runs may differ."""
    command.add_argument(
        *("--allow-different",), metavar="KEY[,KEY]", default="", help="settings that may differ, for example decode.threshold"
    )


def allowed(args: argparse.Namespace) -> tuple[str, ...]:
    """What `--allow-different` names."""
    return tuple(name.strip() for name in args.allow_different.split(",") if name.strip())


def _compare(args: argparse.Namespace) -> int:
    from ..compare import compare_runs

    comparison = compare_runs(args.a, args.b, allowed(args), args.cluster)
    if args.json:
        from ...rewards.serde import dumps

        print(dumps(comparison))
    else:
        from ..compare_tables import print_comparison

        print_comparison(comparison)
    return 0
