"""`unmask validate`."""

import argparse

from ...rewards.errors import InputError
from . import Commands
from .evaluate import add_model_options
from .score import add_judging

_EXAMPLE = """\
examples:
  unmask validate --task gsm8k,math500
  unmask validate --model GSAI-ML/LLaDA-8B-Instruct --decode fast-dllm-dual --task gsm8k --limit 50
  unmask validate --overlap math_train math500"""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "validate",
        help="check tasks against themselves, or a way of decoding against the exact one",
        description="Check that every gold answer of a task passes its verifier and that empty and wrong answers fail; "
        "or, with --model, how far a way of decoding (batched, cached) agrees with the exact one: tokens, answers and speed; "
        "or list the problems that two data sets share.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument("--task", metavar="T[,T]", help="benchmarks to check, or to decode (with --model; default arith)")
    what.add_argument("--overlap", metavar=("TRAIN", "TEST"), nargs=2, help="two tasks or data files to compare")
    command.add_argument("--limit", metavar="N", type=int, help="only the first N problems of each task")
    command.add_argument("--model", metavar="M", help="decode with this model twice and compare")
    command.add_argument("--decode", metavar="NAME", help="with --model: the decoder (see `unmask list decoders`)")
    command.add_argument(
        "--max-batch", metavar="N", type=int, help="with --model: sequences that share a forward pass (default 32)"
    )
    command.add_argument("--seed", metavar="S", type=int, help="with --model: seed of all sampling (default 0)")
    command.add_argument("--dtype", metavar="D", help="with --model: auto (default), float32, bfloat16, float16")
    command.add_argument("--device", metavar="D", help="with --model: auto (default), cpu, cuda, ...")
    add_model_options(command)
    add_judging(command)
    command.set_defaults(run=_validate)


def _validate(args: argparse.Namespace) -> int:
    from ..judging import print_overlap, print_validation

    if args.overlap:
        return print_overlap(*args.overlap)
    if args.model:
        return _validate_decoding(args)
    if not args.task:
        raise InputError("--task, --model or --overlap missing; for example `unmask validate --task gsm8k`")
    return print_validation(args.task.split(","), args.limit, args.rule, args.data, args.set, args.workers)


_FLAGS = (
    *("model", "task", "limit", "seed", "data", "rule", "max_batch", "workers", "dtype", "device"),
    *("family", "mask_id", "block_size", "adapter"),
)


def _validate_decoding(args: argparse.Namespace) -> int:
    from ..agreement import print_agreement
    from ..config import read_config

    flags = {name: getattr(args, name) for name in _FLAGS}
    return print_agreement(read_config(None, flags | {"task": args.task or "arith"}, args.set, args.decode))
