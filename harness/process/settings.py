"""From flags and `--set process.KEY=VALUE` to a `ProcessConfig`."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...rewards.errors import InputError
from ...rewards.serde import decode
from ..config import parse_value
from .base import ProcessConfig


def read_process(name: str, flags: Mapping[str, Any], sets: Sequence[str]) -> ProcessConfig:
    """Merge flags (None: not given) and assignments. Raises InputError, also when nobody said how to combine."""
    given = {key: value for key, value in flags.items() if value is not None}
    if "combine" not in given:
        raise InputError(
            "--combine missing: say what becomes of the outcome: add (outcome plus steps), replace (steps alone) or gate (as add "
            "where the outcome is correct, else the outcome alone)"
        )
    return decode(ProcessConfig, {"name": name, "options": _options(sets), **given}, "--process")


def _options(sets: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for assignment in sets:
        path, equals, text = assignment.partition("=")
        section, _, key = path.strip().partition(".")
        if not equals or section != "process" or not key:
            raise InputError(f"--set {assignment}: expected process.KEY=VALUE")
        options[key] = parse_value(text)
    return options
