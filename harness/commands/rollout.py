"""`unmask rollout`."""

import argparse

from ...rewards.errors import InputError
from . import Commands, fail
from .evaluate import RUN_FLAGS, add_run_flags, print_outcome, workplace

_EXAMPLE = """\
examples:
  unmask rollout --model demo --task arith@train --limit 50 --samples 8 --out data/arith
  unmask rollout --model demo --task mine.jsonl --samples 8 --keep 0.2:0.8 --out data/mine
  unmask export data/arith --view preference --out pairs.parquet

The same command again resumes. The folder loads with datasets.load_dataset("data/arith"). Settings are those of `unmask eval`."""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "rollout",
        help="generate judged trajectories as a dataset",
        description="Sample completions, verify them, and write a dataset: tokens, step maps, log-probabilities, rewards.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_flags(command)
    command.add_argument("--keep", metavar="LOW:HIGH", help="only problems whose pass rate lies there, for example 0.2:0.8")
    command.set_defaults(run=_rollout)


def _rollout(args: argparse.Namespace) -> int:
    from ..config import read_config

    config = read_config(args.config, {name: getattr(args, name) for name in RUN_FLAGS}, args.set, args.decode)
    if args.dry_run:
        from ..dry_run import print_plan

        print_plan(config, args.executor, args.actors)
        return 0
    if args.out is None:
        raise InputError("--out missing; give a folder for the dataset, for example --out data/first")
    from ..evaluate import RunError
    from ..rollout import rollout

    try:
        with workplace(args) as (shard, executor):
            result = rollout(config, args.out, args.keep, shard, executor)
    except RunError as error:
        return fail(error, 1)
    print_outcome(result, shard)
    print(f"dataset: {result.path}")
    return 0
