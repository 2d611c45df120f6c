"""`unmask list`."""

import argparse

from . import Commands


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "list",
        help="what there is: tasks, models, decoders, verifiers, trainers",
        description="List what there is.",
        epilog="example: unmask list tasks",
    )
    command.add_argument(
        "what",
        nargs="?",
        choices=("tasks", "models", "decoders", "verifiers", "process-rewards", "trainers"),
        help="default: everything",
    )
    command.set_defaults(run=_list)


def _list(args: argparse.Namespace) -> int:
    from ..listing import print_lists

    print_lists(args.what)
    return 0
