"""The trainer's context is the sampler's: recomputed log-probabilities are the recorded ones, for every prompt length."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from unmask.harness.models.model import Model, load_model
from unmask.harness.records import DecodeConfig, Event, Request
from unmask.rewards.errors import InputError
from unmask.trainers.replay import recomputed

from .conftest import block_rollouts, full_rollouts

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "dlm"


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


@pytest.mark.parametrize("family", ["llada", "dream"])
def test_recorded_logprobs_of_a_canvas_are_reproduced(tiny: Callable[..., Model], family: str) -> None:
    model = tiny(family, torch.float32)
    rollouts = full_rollouts(model, [3, 9, 4, 6, 1])
    together = recomputed(model, rollouts)
    alone = [recomputed(model, [rollout], micro_tokens=1)[0] for rollout in rollouts]
    for rollout, *found in zip(rollouts, together, alone, strict=True):
        for values in found:
            assert values == pytest.approx(rollout.logprobs, abs=1e-4), f"prompt of {len(rollout.prompt_ids)}"


def test_a_rollout_whose_blocks_lie_elsewhere_is_refused(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    (rollout,) = block_rollouts(model, [6], block_size=4)
    with pytest.raises(InputError, match="block_offset 1 does not fit"):
        recomputed(model, [dataclasses.replace(rollout, block_offset=1)])


def test_edited_rollouts_are_refused(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    (rollout,) = block_rollouts(model, [6])
    edited = dataclasses.replace(rollout, events=(Event(2, 0, 5, 6, "edit"),))
    with pytest.raises(InputError, match="edited after they were fixed"):
        recomputed(model, [edited])


@pytest.mark.parametrize(
    "name", ["dream", "llada", "llada2", "lladamoe", "sdar", "sdar_moe", pytest.param("llada21", marks=pytest.mark.slow)]
)
def test_recorded_logprobs_of_every_family_are_reproduced(name: str) -> None:
    """Tiny checkpoints in the layout of the releases, decoded by the harness itself."""
    if not (REFERENCE / name).exists():
        pytest.skip(f"{REFERENCE / name} is not there")
    model = load_model(str(REFERENCE / name), device="cpu", dtype="float32")
    family = model.checkpoint.family
    random = torch.Generator().manual_seed(0)
    prompts = [tuple(torch.randint(3, 90, (length,), generator=random).tolist()) for length in range(3, 8)]
    requests = [Request(f"p{i}", i, prompt, i) for i, prompt in enumerate(prompts)]
    decode = DecodeConfig(max_new_tokens=16, remasking="static", block_size=8 if family.attention == "full" else None)
    rollouts = list(model.generate(requests, decode))
    for rollout, values in zip(rollouts, recomputed(model, rollouts), strict=True):
        fixed = [i for i, step in enumerate(rollout.step_map) if step >= 0]
        assert [values[i] for i in fixed] == pytest.approx([rollout.logprobs[i] for i in fixed], abs=1e-4)
