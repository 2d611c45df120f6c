"""How long the report of a large run takes, how much memory, and how large the page becomes.

    python tests/perf/report.py [--samples 100000]

Makes a run of short made-up responses (4 a problem, 50 tokens on average) and reports on it in a process of its own.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [place for place in sys.path if os.path.abspath(place) != HERE]  # this directory holds a module called `math`

# ruff: noqa: E402
import argparse
import random
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from unmask.harness.dataset.rows import Entry, Origin
from unmask.harness.dataset.write import write_problems, write_samples
from unmask.rewards.records import Problem

sys.path.append(str(Path(HERE).parent / "harness"))

import made_runs as made  # type: ignore[import-not-found]

ORIGIN = Origin("toy", "test", "1", "math", "math", {}, "2")


def write_run(folder: Path, samples: int) -> None:
    """A finished run, its results being those of a single sample."""
    made.make_run(folder, [[made.RIGHT]])
    problems = [made.problem(number) for number in range(samples // 4)]
    write_problems(folder / "problems.parquet", ((problem, ORIGIN) for problem in problems))
    write_samples(folder / "samples.parquet", entries(problems), {"toy": ORIGIN})


def entries(problems: list[Problem]) -> Iterator[Entry]:
    draw = random.Random(0)
    texts = ["".join(f"{draw.randrange(99)}+{draw.randrange(99)}={draw.randrange(200)}\n" for _ in range(6)) for _ in range(3000)]
    rollouts = [made.roll_out(text, made.DECODE, made.MODEL) for text in texts]
    bases = [made.sample_of_made(problems[0], 0, one) for one in (made.RIGHT, made.WRONG)]
    for problem in problems:
        for place in range(4):
            rollout = replace(draw.choice(rollouts), problem_id=problem.id, sample=place)
            sample = replace(draw.choice(bases), problem_id=problem.id, cluster=problem.id, rollout=rollout)
            yield Entry(f"{problem.id}-{place}", problem, sample)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Measure `unmask report` on a large run.")
    parser.add_argument("--samples", type=int, default=100_000)
    samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        write_run(run, samples)
        subprocess.run([sys.executable, "-m", "unmask.harness.cli", "report", str(run)], check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        page = (run / "report.html").stat().st_size
    seconds = used.ru_utime + used.ru_stime
    print(f"{samples:,} samples: {seconds:.1f} CPU seconds ({1e3 * seconds / samples:.2f} ms a sample)")
    print(f"peak memory {used.ru_maxrss / 1e3:.0f} MB; page {page / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
