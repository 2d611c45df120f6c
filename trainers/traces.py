"""A rollout as a trainer reads it: tokens, the step at which each was fixed, and the windows in which the sampler worked.

A window is what the sampler saw as a unit: a block of a block-causal model, the whole canvas of a full-attention model. Block
boundaries come from the record, so that a trainer's context is the sampler's whatever the prompt's length. Nothing here runs a
network or draws a random number. Not covered: rollouts whose tokens were edited after they were fixed; they are refused.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..harness.records import Rollout
from ..rewards.errors import InputError

GIVEN = -1
"""The step of a token that was there from the start (the prompt)."""

NEVER = torch.iinfo(torch.int64).max
"""The step of a position that stayed masked."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the network of a family is called: who sees whom, whether output i - 1 predicts token i, and the mask token."""

    attention: Literal["full", "block_causal"]
    shift: bool
    mask_id: int


@dataclass(frozen=True, slots=True)
class Trace:
    """A sequence of n tokens, prompt first, filled with masks to a whole number of windows.

    `ids`, `steps` (GIVEN, a denoising step, or NEVER), `trained` (bool: may carry loss) and `logprobs` (the sampler's, 0 for
    the prompt) are (n,). Windows are the `width` tokens from `first` on, and so forth to the end; the first one may begin with
    tokens of the prompt. `prompt` is the prompt's length, `length` that of the response.
    """

    ids: Tensor
    steps: Tensor
    trained: Tensor
    logprobs: Tensor
    first: int
    width: int
    prompt: int
    length: int

    @property
    def starts(self) -> Tensor:
        """Where each window begins, (w,)."""
        return torch.arange(self.first, len(self.ids), self.width)

    @property
    def last_trained_start(self) -> int:
        """Where the last window that holds a token which may carry loss begins."""
        windows = self.trained[self.first :].view(-1, self.width).any(dim=-1)
        return int(self.starts[windows][-1])


def layout_of(model: Any) -> Layout:
    """The layout of a loaded `harness.Model`. Raises InputError for a family that cannot be trained."""
    family = model.checkpoint.family
    supported = family.attention == "full" or (family.attention, family.alignment, family.shift) == (
        "block_causal",
        "absolute",
        False,
    )
    if not supported:
        raise InputError(f"{model.info.id}: models of the family {family.name} cannot be trained yet")
    return Layout(family.attention, family.shift, model.checkpoint.mask_id)


def trace_of(rollout: Rollout, layout: Layout, *, tail: int = 0) -> Trace:
    """The trace of a rollout.

    `tail` is how many tokens after the end of the response may carry loss as well. Where the last block is cut short (blocks
    wider than the sampler's), what is missing stays masked. Raises InputError for a rollout with events: its contexts cannot be
    told from the step map.
    """
    if rollout.events:
        raise InputError(f"{rollout.problem_id}, sample {rollout.sample}: tokens were edited after they were fixed; cannot train")
    prompt, length = len(rollout.prompt_ids), rollout.length
    if layout.attention == "full":
        width = max(rollout.canvas, len(rollout.token_ids))
        first = prompt
    else:
        width = rollout.block_size
        first = _first_window(rollout)
    end = first + -(-(prompt + len(rollout.token_ids) - first) // width) * width
    return Trace(
        ids=_filled([*rollout.prompt_ids, *rollout.token_ids], end, layout.mask_id),
        steps=_filled([GIVEN] * prompt + [NEVER if step < 0 else step for step in rollout.step_map], end, NEVER),
        trained=_filled([False] * prompt + [i < length + tail for i in range(len(rollout.token_ids))], end, False),
        logprobs=_filled([0.0] * prompt + list(rollout.logprobs), end, 0.0),
        first=first,
        width=width,
        prompt=prompt,
        length=length,
    )


def _first_window(rollout: Rollout) -> int:
    prompt = len(rollout.prompt_ids)
    if prompt % rollout.block_size != rollout.block_offset:
        raise InputError(
            f"{rollout.problem_id}, sample {rollout.sample}: block_offset {rollout.block_offset} does not fit a prompt of "
            f"{prompt} tokens and blocks of {rollout.block_size} at absolute multiples"
        )
    return prompt - rollout.block_offset


def _filled(values: list[Any], length: int, fill: Any) -> Tensor:
    return torch.tensor(values + [fill] * (length - len(values)))
