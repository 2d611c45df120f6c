"""How fast `unmask score` judges a long file, and what memory the host process takes for it.

    python tests/perf/score.py [--lines 100000] [--problems 0] [--workers N] [--length 500]

Writes lines, seeded (two in ten of them need symbolic comparison, two have no answer), and scores them with the math verifier.
Prints lines a second from start to end and the peak of resident memory (VmHWM) before and after. `--problems` is the number of
distinct problems that the lines answer (0: as many as lines), `--length` of characters of a completion. Worker processes have
memory of their own, which is not counted. Linux only.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [place for place in sys.path if os.path.abspath(place) != HERE]  # this directory holds a module called `math`

# ruff: noqa: E402
import argparse
import json
import random
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from unmask.harness.judging import score


def lines(count: int, problems: int, length: int) -> Iterator[dict[str, str]]:
    """Yield lines of a scoring; those of one problem have one reference."""
    for number in range(count):
        problem = number % (problems or count)
        rng = random.Random(problem)
        top, bottom = rng.randrange(2, 1000), rng.randrange(2, 5000)
        answer, reference = {
            0: ("", str(top)),
            1: (rf"\boxed{{{top + 1}}}", str(top)),
            2: (rf"\boxed{{\frac{{{2 * top}}}{{{2 * bottom}}}}}", rf"\frac{{{top}}}{{{bottom}}}"),
        }.get(problem % 5, (rf"\boxed{{{top}}}", str(top)))
        thoughts = "Step by step. " * (length // 14)
        yield {"id": str(number), "problem_id": str(problem), "completion": thoughts + answer, "reference": reference}


def peak() -> float:
    """Peak of this process's resident memory so far, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--problems", type=int, default=0)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--length", type=int, default=500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "lines.jsonl"
        with source.open("w") as file:
            file.writelines(f"{json.dumps(line)}\n" for line in lines(args.lines, args.problems, args.length))
        before, started = peak(), time.perf_counter()
        result = score(source, Path(folder) / "out", None, "math", workers=args.workers)
        seconds = time.perf_counter() - started
    assert result.completions == args.lines
    print(f"{args.lines:,} lines of {result.problems:,} problems in {seconds:.1f} s: {args.lines / seconds:,.0f} lines/s")
    print(f"peak memory of the host process: {peak():.1f} MiB ({before:.1f} MiB before)")


if __name__ == "__main__":
    main()
