"""`unmask save`."""

import argparse
from pathlib import Path

from . import Commands
from .evaluate import MODEL_OPTIONS, add_model_options

_EXAMPLE = """\
examples:
  unmask save --model GSAI-ML/LLaDA-8B-Instruct --adapter runs/lora --out merged
  unmask save --model runs/trained --dtype bfloat16 --out half"""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "save",
        help="write a checkpoint: with a LoRA merged, or in another dtype",
        description="Load a checkpoint and write it in the layout of its release, with an adapter merged or in another dtype.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--model", metavar="M", required=True, help="demo, a checkpoint directory, or a hub id")
    command.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="folder to write; an earlier checkpoint is replaced"
    )
    command.add_argument(
        "--dtype", metavar="D", default="auto", help="auto (default: the checkpoint's own), float32, bfloat16, ..."
    )
    add_model_options(command)
    command.set_defaults(run=_save)


def _save(args: argparse.Namespace) -> int:
    from ..models.checkpoint import open_checkpoint
    from ..models.model import load_model, own_dtype
    from ..models.saving import save_model

    options = {name: getattr(args, name) for name in MODEL_OPTIONS}
    dtype = own_dtype(open_checkpoint(args.model, **options)) if args.dtype == "auto" else args.dtype
    save_model(load_model(args.model, dtype=dtype, device="cpu", **options), args.out)
    print(f"checkpoint: {args.out} ({dtype})")
    return 0
