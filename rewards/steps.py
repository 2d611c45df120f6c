"""Process rewards as spans over a completion's text: their shapes, and what they add up to.

A source gives each step a value in its own units: a score of the step (1 for a right equation), or the value of the state that
the step ends in (share of tests passed so far). A shape turns values into rewards:
- `raw`: the values themselves;
- `mean`: each divided by the number of steps, so that the sum is the mean score whatever the length;
- `gain`: each minus the one before, 0 before the first, so that the sum is the last state's value (potential-based shaping,
  Ng et al., 1999).

In every verdict `reward` is the whole: the steps' rewards are the part of it whose place in the text is known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from .records import StepReward

Shape = Literal["raw", "mean", "gain"]


def shaped(steps: Sequence[StepReward], shape: Shape) -> tuple[StepReward, ...]:
    """Turn the values of steps, in their order, into rewards."""
    if shape == "mean":
        return tuple(replace(step, value=step.value / len(steps)) for step in steps)
    if shape == "gain":
        before = [0.0, *(step.value for step in steps)]
        return tuple(replace(step, value=step.value - last) for step, last in zip(steps, before, strict=False))
    return tuple(steps)


def total(steps: Iterable[StepReward]) -> float:
    """The sum of the rewards of steps."""
    return sum(step.value for step in steps)
