"""`unmask audit`: looks through a run for reward hacking and names the samples that a person should look at.

The checks on single completions are `rewards.suspicion`'s; here the run is read, and answers that were rewarded go to a second
verifier. Nothing is changed and nothing is decided: signs are printed, and the exit code is 0.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..rewards.errors import InputError
from ..rewards.groups import is_group
from ..rewards.plugins import load_verifier
from ..rewards.pool import VerifierPool
from ..rewards.records import Problem, Verdict
from ..rewards.serde import encode
from ..rewards.suspicion import CHECKS, Suspicion, suspicions
from ..rewards.verifier import Verifier
from .evaluate import completion_of
from .runs import Row, Run, open_run
from .tables import console, print_rows

NONE = "none"
_SECOND = {"math": ("math", {"rule": "math_verify"})}
"""Who is asked a second time, by the name of the verifier that rewarded."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A suspicious sample: which one, what it earned, which check, and what was seen."""

    id: str
    task: str
    problem_id: str
    sample: int
    reward: float | None
    status: str
    check: str
    reason: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found. `second` names the second verifier of each task that has one."""

    run: str
    samples: int
    rewarded: int
    checks: dict[str, int]
    second: dict[str, str]
    findings: tuple[Finding, ...]


def audit(path: Path, second: str | None = None, workers: int | None = None) -> Audit:
    """Look through the samples of a run. `second`: the second verifier, "none", or by default the one that fits the task's.

    Raises InputError for what is no run, or an unknown verifier.
    """
    run = open_run(path)
    problems = {(problem.task, problem.id): problem for problem in run.problems()}
    judges = _judges(run, second)
    findings: list[Finding] = []
    samples = rewarded = 0
    for row, problem in _placed(run, problems):
        samples += 1
        earned = (row.sample.verdict.reward or 0.0) > 0
        rewarded += earned
        found = suspicions(problem, completion_of(row.sample.rollout), rewarded=earned)
        findings += [_finding(row, suspicion) for suspicion in found]
    for task, judge in judges.items():
        right = (pair for pair in _placed(run, problems) if pair[0].sample.task == task and _is_right(pair[0]))
        findings += _disagreements(judge, right, workers)
    counts = Counter(finding.check for finding in findings)
    names = {task: f"{judge.name} {judge.version}" for task, judge in judges.items()}
    checks = {check: counts[check] for check in CHECKS if check != "second_verifier" or judges}
    order = {check: place for place, check in enumerate(CHECKS)}
    findings.sort(key=lambda finding: (order[finding.check], finding.task, finding.problem_id, finding.sample))
    return Audit(str(path), samples, rewarded, checks, names, tuple(findings))


def _placed(run: Run, problems: Mapping[tuple[str, str], Problem]) -> Iterator[tuple[Row, Problem]]:
    """The samples of a run, each with its problem."""
    for row in run.samples():
        problem = problems.get((row.sample.task, row.sample.problem_id))
        if problem is None:
            raise InputError(f"{run.path}: sample {row.key} belongs to no problem of the run")
        yield row, problem


def _is_right(row: Row) -> bool:
    return row.sample.verdict.status == "correct"


def _judges(run: Run, second: str | None) -> dict[str, Verifier]:
    """The second verifier of each task that has one."""
    if second == NONE:
        return {}
    if second is not None:
        judge = load_verifier(second)
        if is_group(judge):
            raise InputError(f"--second {second}: judges groups; the second verifier judges sample by sample")
        return dict.fromkeys(_tasks(run), judge)
    found = {result.task: _SECOND.get(result.verifier.name) for result in run.results}
    return {task: load_verifier(pair[0], **pair[1]) for task, pair in found.items() if pair is not None}


def _tasks(run: Run) -> Iterable[str]:
    return dict.fromkeys(problem.task for problem in run.outlines())


def _disagreements(judge: Verifier, right: Iterable[tuple[Row, Problem]], workers: int | None) -> Iterator[Finding]:
    """Right answers that the second verifier does not take for right. What it cannot judge says nothing."""
    with VerifierPool(judge, workers) as pool:
        items = ((row, problem, completion_of(row.sample.rollout)) for row, problem in right)
        for row, verdict in pool.map(items):
            if verdict.reward is not None and verdict.status != "correct":
                yield _finding(row, Suspicion("second_verifier", _says(judge, verdict, row)))


def _says(judge: Verifier, verdict: Verdict, row: Row) -> str:
    first = row.sample.verdict
    return f"{judge.name} {judge.version[:24]} says {verdict.status}: {first.extracted!r:.60} against {first.expected!r:.60}"


def _finding(row: Row, suspicion: Suspicion) -> Finding:
    sample, verdict = row.sample, row.sample.verdict
    place = (sample.task, sample.problem_id, sample.rollout.sample)
    return Finding(row.key, *place, verdict.reward, verdict.status, suspicion.check, suspicion.reason)


def print_audit(found: Audit, limit: int, *, as_json: bool) -> None:
    """Print the counts of all checks and the first findings; as JSON, all of them."""
    if as_json:
        print(json.dumps(encode(found), indent=1, ensure_ascii=False))
        return
    rewarded = Counter(finding.check for finding in found.findings if (finding.reward or 0.0) > 0)
    rows = [(check, str(count), str(rewarded[check]), CHECKS[check]) for check, count in found.checks.items()]
    print_rows(("check", "samples", "rewarded", "what"), rows)
    shown = found.findings[:limit]
    if shown:
        lines = [(f"{one.problem_id} #{one.sample}", _worth(one), one.check, one.reason) for one in shown]
        print_rows(("sample", "reward", "check", "reason"), lines)
    left = len(found.findings) - len(shown)
    suspicious = len({finding.id for finding in found.findings})
    tail = f"; {left} more findings, see --limit or --json" if left else ""
    say = console().print
    say(f"{suspicious} of {found.samples:,} samples are suspicious ({found.rewarded:,} were rewarded){tail}", highlight=False)


def _worth(finding: Finding) -> str:
    return finding.status if finding.reward is None else f"{finding.reward:g} {finding.status}"
