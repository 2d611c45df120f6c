"""One module for each command: `add_parser(commands)` declares it and sets `run`, a function of the parsed arguments that
returns the exit code. Only the standard library and our errors are imported at the top of these modules; a command imports
what it needs when it runs.
"""

import argparse
import sys
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def fail(message: object, code: int) -> int:
    """Print one line for a person to standard error; returns `code`."""
    print(f"unmask: {message}", file=sys.stderr)
    return code
