"""`unmask doctor`."""

import argparse

from ...rewards.errors import InputError
from . import Commands
from .evaluate import MODEL_OPTIONS, add_model_options


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "doctor",
        help="what works on this machine",
        description="Check what works on this machine, by trying it; or say what a checkpoint is recognised as, and why.",
        epilog="examples: unmask doctor; unmask doctor --model JetLM/SDAR-1.7B-Chat",
    )
    command.add_argument("--model", metavar="M", help="describe this checkpoint instead; its weights are not loaded")
    add_model_options(command)
    command.set_defaults(run=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    from ..doctor import print_model, print_report

    options = {name: getattr(args, name) for name in MODEL_OPTIONS}
    if args.model is not None:
        return print_model(args.model, options)
    given = next((name for name, value in options.items() if value is not None), None)
    if given:
        raise InputError(f"--{given.replace('_', '-')} says something of a model; give --model too")

    return print_report()
