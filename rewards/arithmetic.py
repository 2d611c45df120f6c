"""The verifier `arithmetic`: a process reward for every equation that a chain of thought states. No reference, no model.

See `equations` for what is found and when an equation says nothing. Values are computed, so the work belongs into a worker.
"""

from dataclasses import dataclass
from typing import ClassVar

from .equations import equations
from .limits import PoolLimits
from .options import OptionVerifier
from .records import Completion, Problem, Status, StepReward, Verdict
from .steps import Shape, shaped, total


@dataclass(frozen=True)
class ArithmeticVerifier(OptionVerifier):
    """Every equation between numbers in the text holds.

    Each one is a step: `right` or `wrong` is its value, `shape` how values become rewards (`steps`). The reward is their sum: the
    share of right equations by default. No equation is `unparsed`.
    """

    kind: ClassVar[str] = "arithmetic"

    right: float = 1.0
    wrong: float = 0.0
    shape: Shape = "mean"

    @property
    def limits(self) -> PoolLimits:
        """As for `math`: values are bounded, and irrational ones cost milliseconds."""
        return PoolLimits(wall=20.0, cpu=4.0, memory=512 << 20)

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion; the problem does not matter."""
        found = list(equations(completion.text))
        steps = shaped([StepReward(one.start, one.end, self.right if one.holds else self.wrong) for one in found], self.shape)
        right = sum(one.holds for one in found)
        parts = {"equations": float(len(found)), "right": float(right)}
        if not found:
            return Verdict(0.0, "unparsed", parts=parts, step_rewards=(), detail="no equation between numbers")
        status: Status = "correct" if right == len(found) else "partial" if right else "wrong"
        wrong = next((completion.text[one.start : one.end] for one in found if not one.holds), "")
        detail = f"{right} of {len(found)} equations hold" + (f"; the first that does not: {wrong:.80}" if wrong else "")
        return Verdict(total(steps), status, parts=parts, step_rewards=steps, detail=detail)
