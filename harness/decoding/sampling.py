"""Between a loop and the pure steps: draws each row's random numbers, runs the step of the algorithm, applies the outcome.

Rows are taken in groups that keep the logits of one step within a fixed amount of memory; a row's result depends on neither.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ...rewards.errors import InputError
from ..records import DecodeConfig
from .choose import choose
from .ending import TokenRules
from .rows import Rows
from .steps import STEPS, Input, Outcome, unstuck

LARGEST = 2**27
"""Logits that are held at a time, in numbers of float32."""

ORDERED_BY_CHANCE = ("random", "origin")


class Sampler:
    """Applies the steps of one algorithm to rows."""

    def __init__(self, rows: Rows, tokens: TokenRules, decode: DecodeConfig) -> None:
        self._rows, self._tokens, self._decode = rows, tokens, decode
        self._step = STEPS[decode.algorithm]
        # Where a schedule may fix none, or chance does, a step without a change is no stall.
        waits = decode.algorithm == "block" and (decode.schedule == "linear" or decode.remasking == "origin")
        self._may_stall = decode.never == "nothing" and not waits
        # A rule that only ever fixes masks needs no logits of what is fixed.
        self._masked_only = decode.algorithm == "block" and decode.overshoot == "clamp"
        self._ordered = decode.remasking in ORDERED_BY_CHANCE or decode.order_temperature > 0

    def step(
        self,
        rows: Tensor,
        hidden: Tensor,
        logits: Callable[[Tensor], Tensor],
        unguided: Tensor | None = None,
        shadow: Tensor | None = None,
    ) -> None:
        """One denoising step of `rows` (n,), whose open blocks are predicted by `hidden` (n, B, H).

        `unguided` (n, B, H) are the states without the prompt, for guidance, and `shadow` those of WINO's shadow block.
        """
        size = hidden.shape[1] * len(self._tokens.banned)
        for part in torch.split(torch.arange(len(rows)), max(LARGEST // max(size, 1), 1)):
            index = part.to(hidden.device)
            pending = self._rows.masked[rows[part]] if self._masked_only else None
            own = _logits_at(pending, logits, hidden[index])
            without = None if unguided is None else _logits_at(pending, logits, unguided[index])
            aside = None if shadow is None else logits(shadow[index])
            self._apply(rows[part], own, without, aside)

    def _apply(self, rows: Tensor, own: Tensor, without: Tensor | None, shadow: Tensor | None) -> None:
        state, device, decode = self._rows, own.device, self._decode
        guided = own if without is None else without + (decode.guidance + 1) * (own - without)
        given = Input(
            logits=guided,
            token=state.token[rows].to(device),
            masked=state.masked[rows].to(device),
            response=state.response[rows].to(device),
            step=state.step[rows].to(device),
            banned=self._tokens.banned,
            mask_id=self._tokens.mask_id,
            own=None if without is None else own,
            uniform=self._draw(rows).to(device) if decode.temperature > 0 else None,
            order=self._draw(rows).to(device) if self._ordered else None,
            shadow=shadow,
            endings=self._tokens.endings,
            memory=state.recalled(rows),
        )
        outcome = self._step(given, decode)
        if self._may_stall:
            outcome = unstuck(given, outcome)
        token, logprob, confidence, write, remask, done, finite = to_host((*outcome[:6], torch.isfinite(own).all()))
        _require_finite(finite)
        state.remember(rows, outcome.memory)
        state.apply(rows, Outcome(token, logprob, confidence, write, remask, done, {}))

    def first_token(self, row: int, logits: Tensor) -> None:
        """Fix the first token of a row's open block from the logits (V,) of the context alone, as a step of its own."""
        sequence = self._rows.sequences[row]
        uniform = torch.from_numpy(sequence.random.random((1, 1))) if self._decode.temperature > 0 else None
        drawn = None if uniform is None else uniform.to(logits.device)
        found = choose(checked(logits)[None, None], self._tokens.banned, drawn, self._decode, endings=self._tokens.endings)
        size = self._rows.block_size
        wide = [torch.nn.functional.pad(value.cpu(), (0, size - 1)) for value in found]
        write = torch.arange(size).unsqueeze(0) == 0
        nothing = torch.zeros_like(write)
        done = ~(self._rows.masked[row : row + 1] & ~write).any(dim=-1)
        outcome = Outcome(wide[0], wide[1], wide[2], write, nothing, done, {})
        self._rows.apply(torch.tensor([row]), outcome, denoised=False)

    def _draw(self, rows: Tensor) -> Tensor:
        size = self._rows.block_size
        return torch.from_numpy(np.stack([self._rows.sequences[row].random.random(size) for row in rows.tolist()]))


def _logits_at(pending: Tensor | None, logits: Callable[[Tensor], Tensor], hidden: Tensor) -> Tensor:
    """Logits (n, B, V) of `hidden` (n, B, H): of all positions, or of the `pending` ones (n, B), with zeros elsewhere."""
    if pending is None or bool(pending.all()):
        return logits(hidden)
    pending = pending.to(hidden.device)
    found = logits(hidden[pending])
    out = found.new_zeros(*pending.shape, found.shape[-1])
    out[pending] = found
    return out


def to_host(values: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors to the CPU, from a GPU through pinned memory and with a single wait for all of them."""
    if values[0].device.type != "cuda":
        return [value.cpu() for value in values]
    staged = [torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True) for value in values]
    torch.cuda.current_stream().synchronize()
    return staged


def checked(logits: Tensor) -> Tensor:
    """The logits, if they are finite. Raises InputError if not."""
    _require_finite(torch.isfinite(logits).all())
    return logits


def _require_finite(finite: Tensor) -> None:
    if not finite:
        raise InputError("the model's logits are NaN or infinite: damaged weights, or a narrow dtype (try --dtype float32)")
