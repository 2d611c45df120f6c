"""`unmask eval`."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...rewards.errors import InputError
from . import Commands, fail

if TYPE_CHECKING:
    from ..evaluate import RunResult
    from ..executor import Executor
    from ..sharding import Shard

_EXAMPLE = """\
examples:
  unmask eval --model demo --task arith --limit 200 --samples 2 --out runs/arith
  unmask eval --model JetLM/SDAR-1.7B-Chat --task gsm8k,math500 --decode static --set decode.temperature=0 --out runs/sdar
  unmask eval --config runs/arith/config.yaml --out runs/again

The same command again resumes. Settings: --set KEY=VALUE with decode.KEY (block_size, steps_per_block, threshold, temperature,
top_k, top_p, confidence, max_new_tokens, stop, ...), task.KEY and verifier.KEY (their options), threads, workers."""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "eval",
        help="score a checkpoint on benchmarks",
        description="Decode a checkpoint on benchmarks, verify the answers, and report scores with error bars.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_flags(command)
    command.add_argument("--report", action="store_true", help="write report.html as well (see `unmask report`)")
    command.set_defaults(run=_eval)


def add_run_flags(command: argparse.ArgumentParser) -> None:
    """The flags of every command that generates and judges into a run directory."""
    command.add_argument(
        "--model", metavar="M", help="demo, a checkpoint directory, a hub id, or openai:http://HOST:PORT/v1#NAME"
    )
    command.add_argument("--task", metavar="T[,T]", help="benchmarks, separated by commas (see `unmask list tasks`)")
    command.add_argument("--out", metavar="DIR", type=Path, help="run directory; an existing one of the same run is resumed")
    command.add_argument("--config", metavar="FILE", type=Path, help="YAML file with the same settings; flags win")
    command.add_argument("--limit", metavar="N", type=int, help="only the first N problems of each task")
    command.add_argument("--samples", metavar="K", type=int, help="samples per problem (default: the task's)")
    command.add_argument("--seed", metavar="S", type=int, help="seed of all sampling (default 0)")
    command.add_argument(
        "--decode",
        metavar="NAME",
        help="decoder: dynamic (default), official (the authors' settings), or one of `unmask list decoders`",
    )
    command.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="any other setting, repeatable")
    command.add_argument("--data", metavar="PATH", help="read the task's problems from this file")
    command.add_argument("--verifier", metavar="V", help="judge with this verifier instead of the task's")
    command.add_argument("--rule", metavar="R", help="scoring rule, where the task or its verifier knows several")
    command.add_argument("--max-batch", metavar="N", type=int, help="sequences that share a forward pass (default 32)")
    command.add_argument("--kv-budget", metavar="SIZE", help="most memory for keys and values, such as 2GiB (default: no limit)")
    add_model_options(command)
    command.add_argument("--dtype", metavar="D", help="auto (default), float32, bfloat16, float16")
    command.add_argument("--device", metavar="D", help="auto (default), cpu, cuda, cuda:1, ...")
    add_executor(command)
    command.add_argument(
        "--actors", metavar="N", type=int, help="models on the Ray cluster (default: one per GPU, else per node)"
    )
    command.add_argument("--dry-run", action="store_true", help="print the resolved plan and stop")


def add_executor(command: argparse.ArgumentParser) -> None:
    """The flag of every command that can have its work done elsewhere."""
    command.add_argument("--executor", metavar="E", default="local", help="local (default), or ray: on a Ray cluster")


def add_model_options(command: argparse.ArgumentParser) -> None:
    """The flags that say which model it is where its name does not."""
    command.add_argument("--revision", metavar="R", help="revision of a hub checkpoint")
    command.add_argument("--family", metavar="F", help="which kind of model it is: a name of `unmask list models`, or FILE.yaml")
    command.add_argument("--mask-id", metavar="N", type=int, help="id of its mask token")
    command.add_argument("--block-size", metavar="N", type=int, help="the block size it was trained with")
    command.add_argument("--adapter", metavar="DIR", help="a LoRA to add to it (needs the extra `lora`)")


MODEL_OPTIONS = ("revision", "family", "mask_id", "block_size", "adapter")
"""Names of the flags that `load_model` and `open_checkpoint` take."""

RUN_FLAGS = (
    *("model", "task", "limit", "samples", "seed", "data", "verifier", "rule", "max_batch", "kv_budget", "dtype", "device"),
    *MODEL_OPTIONS,
)
"""Names of the flags that are settings of the run."""


def _eval(args: argparse.Namespace) -> int:
    from ..config import read_config

    config = read_config(args.config, {name: getattr(args, name) for name in RUN_FLAGS}, args.set, args.decode)
    if args.dry_run:
        from ..dry_run import print_plan

        print_plan(config, args.executor, args.actors)
        return 0
    if args.out is None:
        raise InputError("--out missing; give a folder for the run, for example --out runs/first")
    from ..evaluate import RunError, evaluate

    try:
        with workplace(args) as (shard, executor):
            result = evaluate(config, args.out, shard, executor)
    except RunError as error:
        return fail(error, 1)
    print_outcome(result, shard)
    print(f"run directory: {result.path}")
    if args.report and result.tasks:
        from ..report.build import write_report

        print(f"report: {write_report(result.path).path}")
    return 0


@contextmanager
def workplace(args: argparse.Namespace) -> "Iterator[tuple[Shard, Executor]]":
    """Which of several processes this is, and where it has its work done."""
    from ..executor import open_executor
    from ..sharding import shard_from_environment

    shard = shard_from_environment()
    if args.executor != "local" and shard.size > 1:
        raise InputError(f"--executor {args.executor}: is for one process; {shard} was started by a launcher of several")
    with open_executor(args.executor, args.actors) as executor:
        yield shard, executor


def print_outcome(result: "RunResult", shard: "Shard") -> None:
    """Print the results, or that other processes are still at work."""
    from ..tables import print_results

    if result.tasks:
        print_results(result.tasks)
    elif result.missing:
        print(f"{shard} has nothing left to do; {result.missing} samples are other processes', the last of which reports")
