"""Which problems belong together: subject, level, month. Read off the problems' metadata, whatever a benchmark calls its fields.

A field is worth a table when it splits the problems into a few groups; dates are grouped by month, or by year where that
makes too many.
"""

import re
from collections.abc import Iterable
from typing import Any

from ..rewards.records import Problem

MOST_GROUPS = 40
"""More values than this are identities, not groups."""

_DATE = re.compile(r"^(\d{4})-(\d{2})(-\d{2})?([T ].*)?$")


def group_problems(problems: Iterable[Problem]) -> dict[str, dict[str, str]]:
    """Return field -> problem id -> group, for every metadata field that has 2 to `MOST_GROUPS` groups."""
    fields: dict[str, dict[str, Any]] = {}
    for problem in problems:
        for name, value in problem.metadata.items():
            if isinstance(value, str | int | float | bool) and value != "":
                fields.setdefault(name, {})[problem.id] = value
    grouped = {name: _grouped(values) for name, values in fields.items()}
    return {name: groups for name, groups in grouped.items() if _tells_apart(groups)}


def in_order(groups: Iterable[str]) -> list[str]:
    """Sort group names, numbers by value."""
    return sorted(set(groups), key=lambda name: (0, float(name), name) if _is_number(name) else (1, 0.0, name))


def _tells_apart(groups: dict[str, str]) -> bool:
    """Whether there are several groups, and most hold more than one problem."""
    count = len(set(groups.values()))
    return 2 <= count <= MOST_GROUPS and (2 * count <= len(groups) or count <= 4)


def _grouped(values: dict[str, Any]) -> dict[str, str]:
    texts = {problem: str(value) for problem, value in values.items()}
    dates = {problem: _DATE.match(text) for problem, text in texts.items()}
    if not all(dates.values()):
        return texts
    months = {problem: f"{date[1]}-{date[2]}" for problem, date in dates.items() if date}
    if len(set(months.values())) <= MOST_GROUPS:
        return months
    return {problem: month[:4] for problem, month in months.items()}


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False
