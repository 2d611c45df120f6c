"""`unmask audit`."""

import argparse
from pathlib import Path

from ...rewards.errors import InputError
from . import Commands

_EXAMPLE = """\
examples:
  unmask audit runs/mbpp
  unmask audit runs/math --second numeric --json

Programs that leave early, read files, patch what judges them or carry the tests' answers; answers that hedge; rewarded answers
after garbage; text that speaks to a judge; rewards that a second verifier does not confirm. A sign is not a proof; the exit code
is 0."""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "audit",
        help="look through a run for reward hacking",
        description="Look through the samples of a run for signs of reward hacking; print the suspicious ones with the reason.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("run_dir", metavar="DIR", type=Path, help="run directory")
    command.add_argument(
        "--second", metavar="V", help="second verifier, or none (default: math under math_verify's rule, for math)"
    )
    command.add_argument("--limit", metavar="N", type=int, default=20, help="findings that are printed (default 20)")
    command.add_argument("--json", action="store_true", help="print all findings as JSON")
    command.add_argument("--workers", metavar="N", type=int, help="worker processes (default: one per core)")
    command.set_defaults(run=_audit)


def _audit(args: argparse.Namespace) -> int:
    from ..audit import audit, print_audit

    if args.limit < 0:
        raise InputError(f"--limit is {args.limit}; it must be 0 or more")
    print_audit(audit(args.run_dir, args.second, args.workers), args.limit, as_json=args.json)
    return 0
