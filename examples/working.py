"""A verifier of one's own: half of the reward for the answer, half for the share of equations in the working that hold.

    unmask train examples/tracerl-demo.yaml tasks.0.verifier=examples/working.py:reward out=runs/working

It is given as FILE:FUNCTION wherever a verifier is: here, to `unmask eval --verifier` and to `unmask score --verifier`.
"""

import re

from unmask import Completion, Problem

EQUATION = re.compile(r"(\d+)([+\-*/])(\d+)=(\d+)")


def reward(problem: Problem, completion: Completion) -> float:
    answer = re.search(r"\\boxed\{(-?\d+)\}", completion.text)
    right = answer is not None and answer[1] == str(problem.reference)
    held = [holds(*found) for found in EQUATION.findall(completion.text)]
    return 0.5 * right + 0.5 * (sum(held) / len(held) if held else 0.0)


def holds(left: str, operator: str, right: str, result: str) -> bool:
    """Whether an equation is true; a division has to come out even."""
    a, b, c = int(left), int(right), int(result)
    return c == {"+": a + b, "-": a - b, "*": a * b}[operator] if operator != "/" else b * c == a and b != 0
