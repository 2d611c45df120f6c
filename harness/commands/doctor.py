"""`unmask doctor`."""

import argparse

from . import Commands


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "doctor",
        help="what works on this machine",
        description="Check what works on this machine, by trying it.",
        epilog="example: unmask doctor",
    )
    command.set_defaults(run=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    from ..doctor import print_report

    return print_report()
