"""The trainer's context is the sampler's: recomputed log-probabilities are the recorded ones, for every prompt length."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from unmask.harness.models.model import Model
from unmask.trainers.replay import recomputed

from .conftest import block_rollouts


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("decode", [{}, {"remasking": "dynamic", "threshold": 0.3}, {"temperature": 0.0}])
def test_recorded_logprobs_of_blocks_are_reproduced_for_every_remainder(
    tiny: Callable[..., Model], size: int, decode: dict[str, Any]
) -> None:
    model = tiny("sdar", torch.float32)
    rollouts = block_rollouts(model, [*range(3, 3 + size), 0 + 1, 2], block_size=size, steps_per_block=size, **decode)
    together = recomputed(model, rollouts)
    alone = [recomputed(model, [rollout], micro_tokens=1)[0] for rollout in rollouts]
    for rollout, *found in zip(rollouts, together, alone, strict=True):
        for values in found:
            assert values == pytest.approx(rollout.logprobs, abs=1e-4), f"prompt of {len(rollout.prompt_ids)}"
