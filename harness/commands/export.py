"""`unmask export`."""

import argparse
from pathlib import Path

from ...rewards.errors import InputError
from . import Commands

_EXAMPLE = """\
examples:
  unmask export data/arith --view sft --best 2 --out sft
  unmask export data/arith --view preference --out pairs.parquet
  unmask export runs/arith --view kto --keep 0.2:0.8 --out kto.jsonl
  unmask export data/arith --push user/arith-rollouts

Views: rollouts (every sample, the default), sft, preference, kto, steps, trace, rl; docs/datasets.md has their columns."""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "export",
        help="make a dataset of a run: a view, chosen groups, the hub",
        description="Write rollouts in another shape: a folder with a dataset card, a .parquet file or a .jsonl file.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("source", metavar="DIR|FILE", type=Path, help="a folder of `unmask rollout` or `eval`")
    command.add_argument("--view", metavar="V", default="rollouts", help="which shape (default: rollouts)")
    command.add_argument("--out", metavar="DIR|FILE", type=Path, help="a folder, or a file that ends in .parquet or .jsonl")
    command.add_argument("--keep", metavar="LOW:HIGH", help="only problems whose pass rate lies there, for example 0.2:0.8")
    command.add_argument("--best", metavar="N", type=int, default=1, help="samples or pairs a problem, of sft, preference, trace")
    command.add_argument("--push", metavar="REPO", help="push the folder to this dataset of the hub, private unless --public")
    command.add_argument("--public", action="store_true", help="with --push: anyone may see it")
    command.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    from ..dataset.build import Selection, export, push

    if args.out is None and not args.push:
        raise InputError("--out missing; give a folder or a file, for example --out pairs.parquet")
    folder = args.source
    if args.out is not None:
        count = export(args.source, args.out, Selection(args.view, args.keep, args.best))
        print(f"{args.view}: {count:,} rows in {args.out}")
        folder = args.out
    if args.push:
        print(f"pushed: {push(folder, args.push, private=not args.public)}")
    return 0
