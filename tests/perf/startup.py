"""How long `import unmask` and `unmask --help` take, beside a bare Python in the same run.

    python tests/perf/startup.py [--runs 15]

Prints medians of whole processes in seconds, and the bare interpreter's time taken off. Targets: import 0.3 s, help 0.7 s.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [place for place in sys.path if os.path.abspath(place) != HERE]  # this directory holds a module called `math`

# ruff: noqa: E402
import argparse
import statistics
import subprocess
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import unmask": [sys.executable, "-c", "import unmask"],
    "unmask --help": [sys.executable, "-m", "unmask.harness.cli", "--help"],
}
TARGETS = {"import unmask": 0.3, "unmask --help": 0.7}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    # In turn, so that a busy moment of the machine falls on all of them.
    times = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(runs)]
    bare = statistics.median(run["python -c pass"] for run in times)
    for name in COMMANDS:
        median = statistics.median(run[name] for run in times)
        target = f", target {TARGETS[name]} s" if name in TARGETS else ""
        print(f"{name:16} {median:.3f} s ({median - bare:+.3f} s over bare Python){target}")


if __name__ == "__main__":
    main()
