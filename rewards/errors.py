"""The one error that is the user's to mend.

`InputError` is raised for bad input: a file, a setting, a name. Its message is one line that says what is wrong, where, and
how to mend it; the command line prints it and exits with 2. Everything else that goes wrong inside one sample becomes a
`Verdict` or `Rollout` status, and what is left is a defect of ours and propagates.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input: one line that says what, where and how to mend it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known name closest to `name`, or an empty string."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
