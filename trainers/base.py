"""What a trainer is, and how one is found by name.

A trainer turns judged rollouts into one policy update. It never generates and never judges: the loop beside it does. A user's
own is any class of this shape, named `package.module:Class` or `file.py:Class`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..harness.records import Sample


class Trainer(Protocol):
    """One policy update per `step`.

    Built as `Class(model, options, total_steps)`: the loaded `harness.Model` whose `network` it changes in place, the options
    of the configuration's `trainer:` section (a mapping; unknown keys raise InputError), and the number of updates to come, for
    the schedule of the learning rate.
    """

    def step(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Learn from the judged rollouts of whole groups (all samples of a problem), this rank's share; returns metrics.

        A sample without a reward (`verifier_error`) carries no loss. Raises FloatingPointError when the loss or the gradient is
        not finite, with weights and optimizer as they were before.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything but the network's weights that the next step depends on: optimizer, schedule, random state, value model."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken."""
        ...

    def save(self, path: Path) -> None:
        """Write the policy as a plain checkpoint that `load_model` and `unmask eval` read."""
        ...


TRAINERS: Mapping[str, str] = {
    "coupled": "unmask.trainers.masked:Coupled",
    "random-mask": "unmask.trainers.masked:RandomMask",
    "rft": "unmask.trainers.rft:RFT",
    "sft": "unmask.trainers.sft:SFT",
    "tracerl": "unmask.trainers.tracerl:TraceRL",
}
"""Trainers that come with the package: name to `module:Class`."""
