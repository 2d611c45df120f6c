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
    values = shaped_values([step.value for step in steps], shape)
    return tuple(replace(step, value=value) for step, value in zip(steps, values, strict=True))


def shaped_values(values: Sequence[float], shape: Shape, first: float = 0.0) -> list[float]:
    """The same for bare values; `first` is what the first one's `gain` is counted from."""
    if shape == "mean":
        return [value / len(values) for value in values]
    if shape == "gain":
        return [value - before for before, value in zip([first, *values], values, strict=False)]
    return list(values)


def total(steps: Iterable[StepReward]) -> float:
    """The sum of the rewards of steps."""
    return sum(step.value for step in steps)
