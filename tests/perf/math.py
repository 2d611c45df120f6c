"""Measure the mathematical verdicts side by side with math-verify, on the same pairs, in the same run.

    python tests/perf/math.py [--pairs 2000] [--hostile 1000]
    python tests/perf/math.py --graders    # the table of docs/math.md: all rules on the labelled pairs

Pairs are real answers of MATH, GSM8K and AIME from ../shared/data (or the labelled table where that is missing): the gold answer,
restyled, perturbed, or taken from another problem, at the end of a completion. math-verify is called as its README says: in the
main thread of one process, with its own timeouts. Not covered: other graders (docs/math.md), quality (tests/rewards).
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [place for place in sys.path if os.path.abspath(place) != HERE]  # this directory holds a module called `math`

# ruff: noqa: E402
import argparse
import gzip
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "rewards"))

from pairs import hostile_stream, labelled_pairs  # type: ignore[import-not-found]
from unmask.rewards import Completion, Problem, Verdict, VerifierPool
from unmask.rewards.answers.cascade import forget
from unmask.rewards.answers.perturb import perturbed
from unmask.rewards.math import RULES, MathVerifier, Rule

DATA = ROOT.parent / "shared" / "data"


class Case(NamedTuple):
    """A gold answer and a completion that ends in an answer."""

    gold: str
    completion: str
    intended: bool


def gold_answers() -> Iterator[str]:
    """Yield the gold answers of MATH (both splits), GSM8K (test) and AIME."""
    for split in ("train", "test"):
        with gzip.open(DATA / f"math/math_{split}.jsonl.gz", "rt", encoding="utf-8") as file:
            yield from (json.loads(line)["answer"] for line in file)
    for line in (DATA / "gsm8k/gsm8k_test.jsonl").open(encoding="utf-8"):
        yield json.loads(line)["answer"].rpartition("####")[2].strip()
    for year in (2024, 2025, 2026):
        yield from (str(json.loads(line)["answer"]) for line in (DATA / f"aime/aime{year}.jsonl").open(encoding="utf-8"))


def cases(count: int) -> list[Case]:
    """Make `count` cases, seeded: half of them right."""
    rng = random.Random(1)
    if not (DATA / "math").is_dir():
        pairs = labelled_pairs()
        rng.shuffle(pairs)
        return [Case(pair.gold, stated(pair.answer), pair.equal) for pair in pairs[:count]]
    golds = [gold for gold in gold_answers() if gold.strip()]
    made = []
    for gold in rng.choices(golds, k=count):
        right = rng.random() < 0.5
        answer = restyled(gold, rng) if right else rng.choice([*perturbed(gold), rng.choice(golds)])
        made.append(Case(gold, stated(answer), right or answer == gold))
    return made


def restyled(gold: str, rng: random.Random) -> str:
    """The same answer in another model's hand."""
    styles: list[Callable[[str], str]] = [
        lambda text: text,
        lambda text: text.replace("\\frac", "\\dfrac"),
        lambda text: text.replace(" ", ""),
        lambda text: f"{text}.",
        lambda text: text if "=" in text else f"x = {text}",
        lambda text: text.replace("\\left", "").replace("\\right", ""),
        lambda text: f"{int(text) / 1:.1f}" if text.isdigit() and len(text) < 9 else text,
    ]
    return rng.choice(styles)(gold)


def stated(answer: str) -> str:
    """A completion that ends in `answer`."""
    return f"We work through the problem step by step and find the value. The final answer is $\\boxed{{{answer}}}$."


def ours(pool: VerifierPool, made: list[Case]) -> tuple[float, list[Verdict]]:
    """Judge all cases; return the seconds it took and the verdicts."""
    started = time.perf_counter()
    found = dict(pool.map((n, problem(case.gold), Completion(case.completion)) for n, case in enumerate(made)))
    return time.perf_counter() - started, [found[n] for n in range(len(made))]


def problem(gold: str) -> Problem:
    return Problem("p", "math", (), gold)


def one_by_one(made: list[Case]) -> list[float]:
    """Latencies from submission to verdict, cold, one pair at a time."""
    latencies = []
    forget()
    with VerifierPool(MathVerifier()) as pool:
        pool.submit(problem("x"), Completion("\\boxed{y}")).result()
        for case in made:
            started = time.perf_counter()
            pool.submit(problem(case.gold), Completion(case.completion)).result()
            latencies.append(time.perf_counter() - started)
    return latencies


def math_verify(made: list[Case]) -> tuple[list[float], list[bool]]:
    """Judge all cases as math-verify's README does; return the latencies and the verdicts."""
    from math_verify import parse, verify

    parse("$1$")
    latencies, equal = [], []
    for case in made:
        started = time.perf_counter()
        equal.append(bool(verify(parse(f"${case.gold}$"), parse(case.completion))))
        latencies.append(time.perf_counter() - started)
    return latencies, equal


def hostile(count: int) -> dict[str, float]:
    """Send `count` hostile answers in a row, an honest one after each; return what happened."""
    honest_wrong = accepted = errors = 0
    slowest = 0.0
    with VerifierPool(MathVerifier()) as pool:
        pool.submit(problem("x"), Completion("\\boxed{y}")).result()
        before, started = memory(), time.perf_counter()
        for n, answer in enumerate(hostile_stream(count, seed=7)):
            begun = time.perf_counter()
            verdict = pool.submit(problem("5"), Completion(f"\\boxed{{{answer}}}")).result()
            slowest = max(slowest, time.perf_counter() - begun)
            accepted += bool(verdict.reward)
            errors += verdict.reward is None
            honest = pool.submit(problem("x^2-1"), Completion(f"\\boxed{{(x-1)(x+1)+{n}-{n}}}")).result()
            honest_wrong += honest.reward != 1.0
        return {
            "seconds": time.perf_counter() - started,
            "slowest": slowest,
            "limit": pool.limits.cpu or 0.0,
            "accepted": accepted,
            "errors": errors,
            "honest wrong": honest_wrong,
            "growth MB": (memory() - before) / 1e6,
        }


def memory() -> int:
    """Resident bytes of this process and all below it."""
    total, stack = 0, [os.getpid()]
    while stack:
        pid = stack.pop()
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            for task in Path(f"/proc/{pid}/task").iterdir():
                stack += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return total


def quantile(latencies: list[float], share: float) -> float:
    return sorted(latencies)[min(len(latencies) - 1, int(share * len(latencies)))]


def row(name: str, seconds: float, latencies: list[float], count: int, base: float) -> None:
    p50, p99, top = (1000 * value for value in (statistics.median(latencies), quantile(latencies, 0.99), max(latencies)))
    print(f"{name:34} {count / seconds:10,.0f} {base / seconds:8.1f}x {p50:9.3f} {p99:9.2f} {top:9.1f}")


def graders() -> None:
    """Print, as a Markdown table, what every rule says about the labelled pairs: false positives and false negatives by kind."""
    pairs = labelled_pairs()
    faults = {rule: by_rule(rule, pairs) for rule in RULES}
    kinds = list(dict.fromkeys(pair.kind for pair in pairs))
    print(f"| kind | equal | not equal | {' | '.join(RULES)} |")
    print("|---|---|---|" + "---|" * len(RULES))
    for kind in [*kinds, "all"]:
        chosen = [n for n, pair in enumerate(pairs) if kind in (pair.kind, "all")]
        equal = sum(pairs[n].equal for n in chosen)
        cells = []
        for rule in RULES:
            wrong = [n for n in chosen if n in faults[rule]]
            missed = sum(pairs[n].equal for n in wrong)
            cells.append(f"{len(wrong) - missed} / {missed}")
        print(f"| {kind} | {equal} | {len(chosen) - equal} | {' | '.join(cells)} |")


def by_rule(rule: Rule, pairs: list[Any]) -> set[int]:
    """Return the numbers of the pairs that `rule` gets wrong."""
    with VerifierPool(MathVerifier(rule=rule)) as pool:
        items = ((n, problem(pair.gold), Completion(f"\\boxed{{{pair.answer}}}")) for n, pair in enumerate(pairs))
        return {n for n, verdict in pool.map(items) if (verdict.reward == 1.0) != pairs[n].equal}


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--hostile", type=int, default=1000)
    parser.add_argument("--graders", action="store_true")
    options = parser.parse_args()
    if options.graders:
        graders()
        return
    made = cases(options.pairs)
    theirs, their_verdicts = math_verify(made)
    base = sum(theirs)
    with VerifierPool(MathVerifier()) as pool:
        pool.submit(problem("x"), Completion("\\boxed{y}")).result()
        forget()
        cold, verdicts = ours(pool, made)
        warm, _ = ours(pool, made)
    latencies = one_by_one(made)
    print(f"{len(made)} pairs, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'':34} {'pairs/s':>10} {'speed':>9} {'p50 ms':>9} {'p99 ms':>9} {'max ms':>9}")
    row("math-verify, as its README says", base, theirs, len(made), base)
    row("unmask, cold cache", cold, latencies, len(made), base)
    row("unmask, warm cache", warm, [verdict.seconds for verdict in verdicts], len(made), base)
    for name, rewards in (("math-verify", their_verdicts), ("unmask", [verdict.reward == 1.0 for verdict in verdicts])):
        as_intended = sum(got == case.intended for got, case in zip(rewards, made, strict=True))
        print(f"{name}: {as_intended} of {len(made)} verdicts as intended")
    found = hostile(options.hostile)
    print(f"{options.hostile} hostile answers, an honest one after each: {', '.join(f'{k} {v:.3g}' for k, v in found.items())}")


if __name__ == "__main__":
    main()
