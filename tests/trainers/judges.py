"""A user's own verifiers, as a file that a worker process loads in no time."""

from unmask import Completion, Problem


def exact(problem: Problem, completion: Completion) -> float:
    return float(f"boxed{{{problem.reference}}}" in completion.text)


def digits(problem: Problem, completion: Completion) -> float:
    """Rewards an answer for the digits in it."""
    return min(1.0, sum(c.isdigit() for c in completion.text) / 50)


def broken(problem: Problem, completion: Completion) -> None:
    """Cannot judge anything."""


def always(problem: Problem, completion: Completion) -> float:
    return 1.0
