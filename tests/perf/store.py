"""How fast records are appended and found again, and what memory a long run takes from its first record to its tables.

    python tests/perf/store.py [--records 100000] [--tokens 256] [--logs-only]

Writes a run of rollouts of realistic size (prompt of 200 tokens, `--tokens` response tokens with step map, log-probabilities and
confidences), as `unmask eval` does, and prints: records a second appended to the log of rollouts and to that of verdicts; the
seconds that opening both again takes, which is what a resumed run does first; and, unless `--logs-only`, records a second of
the pass over all samples that makes the results, and of the one that writes `samples.parquet`. Beside them stand what the
encoder takes alone, and Python's own json on the same record. Each line has the time by the clock and the processor time, which
on a busy machine tell more together. Memory is the peak of resident memory (VmHWM) after each. Linux only. Rollouts differ in
key and problem only: encoding does not depend on what the numbers are.
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
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from unmask.benchmarks.registry import load_benchmark
from unmask.harness.dataset.rows import Entry, Origin
from unmask.harness.dataset.write import write_samples
from unmask.harness.records import DecodeConfig, ForwardPasses, ModelInfo, Rollout, Sample
from unmask.harness.results import VerifierInfo, summarise
from unmask.harness.store import Generated, Judged, Log
from unmask.rewards.records import Message, Problem, Verdict
from unmask.rewards.serde import dump_line, encode

SAMPLES = 4
"""Samples per problem."""


def rollout(tokens: int) -> Rollout:
    """A rollout of `tokens` response tokens, two fixed in each step."""
    rng = random.Random(0)
    return Rollout(
        problem_id="p",
        sample=0,
        seed=rng.getrandbits(63),
        prompt_ids=tuple(rng.randrange(150_000) for _ in range(200)),
        token_ids=tuple(rng.randrange(150_000) for _ in range(tokens)),
        length=tokens,
        step_map=tuple(place // 2 for place in range(tokens)),
        logprobs=tuple(round(-3 * rng.random(), 6) for _ in range(tokens)),
        confidences=tuple(round(rng.random(), 6) for _ in range(tokens)),
        block_size=4,
        block_offset=0,
        forward_passes=ForwardPasses(1, tokens // 2, tokens // 4),
        cache="exact",
        finish="stop",
        text="word " * tokens,
        decode=DecodeConfig(block_size=4, steps_per_block=4, max_new_tokens=tokens),
        model=ModelInfo("model", "", "sdar", "f" * 64, "bfloat16"),
        seconds=1.25,
    )


def peak() -> str:
    """Peak of this process's resident memory so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return f"peak {int(found[1]) / 1024:.0f} MiB"


def timed(what: str, count: int, work: Callable[[], object]) -> None:
    """Do it and print how many records a second it managed, by the clock and by the processor time it took."""
    started, before = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - started, time.process_time() - before
    print(f"{what:<32} {count / wall:>8,.0f}/s {wall:>7.2f} s   {count / cpu:>8,.0f}/s {cpu:>7.2f} s   {peak()}", flush=True)


class Run:
    """The logs of a run with `count` records, and what is done with them."""

    def __init__(self, folder: Path, count: int, tokens: int) -> None:
        self._folder, self._count, self._rollout = folder, count, rollout(tokens)
        self._problems = [Problem(f"p{n}", "arith", (Message("user", "?"),), "1") for n in range(-(-count // SAMPLES))]

    def append_rollouts(self) -> None:
        with Log(self._folder / "records", Generated) as log:
            for number in range(self._count):
                problem = self._problems[number // SAMPLES].id
                rollout = replace(self._rollout, problem_id=problem, sample=number % SAMPLES)
                log.append(Generated(f"{number:032x}", "arith", problem, rollout))

    def append_verdicts(self) -> None:
        with Log(self._folder / "verdicts", Judged) as log:
            for number in range(self._count):
                verdict = Verdict(
                    float(number % 2), "correct" if number % 2 else "wrong", extracted="1", expected="1", seconds=0.01
                )
                log.append(Judged(f"{number:032x}", verdict))

    def open(self) -> None:
        self._records, self._verdicts = Log(self._folder / "records", Generated), Log(self._folder / "verdicts", Judged)
        assert len(self._records) == len(self._verdicts) == self._count

    def entries(self) -> Iterator[Entry]:
        for number in range(self._count):
            key, problem = f"{number:032x}", self._problems[number // SAMPLES]
            record, judged = self._records.get(key), self._verdicts.get(key)
            yield Entry(key, problem, Sample("arith", problem.id, record.cluster, record.rollout, judged.verdict))

    def summarise(self) -> None:
        facts = {"task": "arith", "metric": "mean", "samples": SAMPLES, "tokens_per_second": None, "data_revision": ""}
        samples = (entry.sample for entry in self.entries())
        verifier = VerifierInfo("math", "1")
        summarise(samples, load_benchmark("arith"), self._problems, **facts, verifier=verifier, seed=0)

    def export(self, origin: Origin) -> None:
        write_samples(self._folder / "samples.parquet", self.entries(), {"arith": origin})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--logs-only", action="store_true")
    args = parser.parse_args()
    record = Generated("0" * 32, "arith", "p", rollout(args.tokens))
    print(f"{args.records:,} records of {args.tokens} response tokens, {len(dump_line(record)):,} bytes each; {peak()} before")
    print(f"{'':<32} {'by the clock':>20}   {'processor time':>20}")
    few = range(500)
    timed("encoding alone", 500, lambda: [dump_line(record) for _ in few])
    timed("encoding alone, Python's json", 500, lambda: [json.dumps(encode(record), separators=(",", ":")) for _ in few])
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), args.records, args.tokens)
        timed("appended rollouts", args.records, run.append_rollouts)
        timed("appended verdicts", args.records, run.append_verdicts)
        timed("opened again, both", args.records, run.open)
        origin = Origin("arith", "test", "1", "math", "math", {}, "1")
        if not args.logs_only:
            timed("read for the results", args.records, run.summarise)
            timed("read and written as parquet", args.records, lambda: run.export(origin))


if __name__ == "__main__":
    main()
