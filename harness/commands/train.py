"""`unmask train`."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from . import Commands, fail

LOOP = "unmask.trainers.command:run"
"""Where the loop is. The harness does not import trainers; it finds them by name, as it finds any plug-in."""

_EXAMPLE = """\
examples:
  unmask train examples/tracerl-demo.yaml
  unmask train examples/tracerl-demo.yaml trainer.lr=1e-4 groups.samples=16 --out runs/other
  torchrun --nproc-per-node 8 --no-python unmask train sdar.yaml

The same command again resumes. Values are YAML; a number in a path is a place in a list (evaluation.tasks.0.limit=50). See
docs/training.md for all settings."""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "train",
        help="train a checkpoint on verified rollouts",
        description="Alternate rollouts, verdicts and updates of a checkpoint, as a YAML file says.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("config", metavar="CONFIG.yaml", type=Path, help="settings of the run")
    command.add_argument("settings", metavar="key.path=value", nargs="*", help="settings that win over the file")
    command.add_argument("--out", metavar="DIR", type=Path, help="run directory (default: `out` of the file, else runs/NAME)")
    command.add_argument("--dry-run", action="store_true", help="print the resolved plan and stop")
    command.set_defaults(run=_train)
    _accept_settings_anywhere(command)


def _accept_settings_anywhere(command: argparse.ArgumentParser) -> None:
    """argparse takes positional arguments in one run only; a setting behind an option is meant all the same."""
    plain = command.parse_known_args

    def parse(args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, extras = plain(args, namespace)
        late = [extra for extra in extras if "=" in extra and not extra.startswith("-")]
        found.settings = [*found.settings, *late]
        return found, [extra for extra in extras if extra not in late]

    command.parse_known_args = parse  # type: ignore[method-assign]


def _train(args: argparse.Namespace) -> int:
    from ...rewards.plugins import load_object
    from ..evaluate import RunError

    run = cast(Callable[..., int], load_object(LOOP, "unmask.trainers"))
    try:
        return run(args.config, args.settings, args.out, dry_run=args.dry_run)
    except RunError as error:
        return fail(error, 1)
