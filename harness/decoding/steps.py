"""One denoising step of each algorithm, as a pure function of logits, tokens and what earlier steps left behind.

A step sees the open block of every row and says which positions get which token, which become masks again, and which blocks
need no further step. It changes nothing: `rows` applies the outcome and keeps the record. Where a step needs more than the
current logits (credit, KLASS, post-edits), it returns the new memory beside the outcome.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ..records import Algorithm, DecodeConfig
from .choose import Candidates, Endings, choose, entropy, filtered, log_probability
from .rules import View, best_of_runs, most_confident, select
from .schedules import scheduled

Memory = dict[str, Tensor]
"""What a row's earlier steps of the same block left behind, by name: tensors of (rows, ...), zeros in a new block."""


@dataclass(frozen=True, slots=True)
class Input:
    """What a step may look at.

    `logits` (rows, B, V) float are aligned with the positions; `own` are the model's where guidance changed them. `token` (rows,
    B); `masked` (rows, B) the masks; `response` (rows, B) the positions that are not prompt; `step` (rows,) counts the block's
    steps from 0. `uniform` and `order` (rows, B) float64 are random numbers for tokens and for positions. `shadow` (rows, B, V)
    are WINO's logits of every position that do not see its token.
    """

    logits: Tensor
    token: Tensor
    masked: Tensor
    response: Tensor
    step: Tensor
    banned: Tensor
    mask_id: int
    own: Tensor | None = None
    uniform: Tensor | None = None
    order: Tensor | None = None
    shadow: Tensor | None = None
    endings: Endings = field(default_factory=Endings)
    memory: Memory = field(default_factory=dict)


class Outcome(NamedTuple):
    """What a step decided: `token`, `logprob` and `confidence` (rows, B) count where `write` does; `remask` positions become
    masks; `done` (rows,) marks blocks that need no further step. `memory` is to be given to the next step."""

    token: Tensor
    logprob: Tensor
    confidence: Tensor
    write: Tensor
    remask: Tensor
    done: Tensor
    memory: Memory


def block_step(given: Input, decode: DecodeConfig) -> Outcome:
    """Fix open positions by the rule of `decode.remasking`; nothing that is fixed changes, unless the rule overwrites."""
    logits, memory = _credited(given, decode)
    own = given.own if given.own is not None else (given.logits if decode.remasking == "credit" else None)
    found = choose(logits, given.banned, given.uniform, decode, own=own, endings=given.endings)
    open_ = opened(given.masked, decode)
    if decode.remasking in ("near_best", "credit"):
        open_ = open_ & (found.token != given.mask_id)
    entropies, stable = None, None
    if decode.remasking in ("entropy_bounded", "entropy_budget"):
        entropies = entropy(_ranked(logits, given, decode))
    if decode.remasking == "klass":
        stable, memory = _stability(given, decode)
    left = given.masked.sum(dim=-1)
    view = View(found.confidence, open_, scheduled(decode, given.step, left), given.step, given.order, entropies, stable)
    chosen = select(view, decode)
    if decode.force_first_token:
        first = (given.step == 0).unsqueeze(-1)
        chosen = torch.where(first, open_ & (open_.cumsum(dim=-1) == 1), chosen)
    return _fixed(given, found, chosen, memory)


def opened(masked: Tensor, decode: DecodeConfig) -> Tensor:
    """The masks whose turn it is: all, or those of the first sub-block that has any (Fast-dLLM v2, arXiv 2509.26328)."""
    if decode.sub_block_size is None:
        return masked
    part = torch.arange(masked.shape[-1], device=masked.device) // decode.sub_block_size
    current = torch.where(masked, part, part[-1] + 1).min(dim=-1, keepdim=True).values
    return masked & (part == current)


def _ranked(logits: Tensor, given: Input, decode: DecodeConfig) -> Tensor:
    if decode.confidence == "processed":
        return filtered(logits.float().masked_fill(given.banned, float("-inf")), decode)
    return logits.float().softmax(dim=-1)


def _credited(given: Input, decode: DecodeConfig) -> tuple[Tensor, Memory]:
    """dInfer's credit: tokens that were the best guess in earlier steps of the block gain, the more the longer."""
    if decode.remasking != "credit":
        return given.logits, {}
    logits = given.logits.float()
    table = given.memory.get("credit", torch.zeros_like(logits)) * decode.credit_decay
    best, token = logits.softmax(dim=-1).max(dim=-1)
    gained = (best**decode.credit_gamma * given.masked).unsqueeze(-1)
    table = table.scatter_add(-1, token.unsqueeze(-1), gained)
    return logits + decode.credit_alpha * (table + 1).log(), {"credit": table}


def _stability(given: Input, decode: DecodeConfig) -> tuple[Tensor, Memory]:
    """For how many steps in a row KL(now || before) stayed below the threshold; the first step of a block has no before."""
    now = given.logits.float().softmax(dim=-1)
    before = given.memory.get("distribution", torch.zeros_like(now))
    change = (now * ((now + 1e-12).log() - (before + 1e-12).log())).sum(dim=-1)
    earlier = given.memory.get("stable", torch.zeros_like(given.token))
    stable = torch.where(change < decode.kl_threshold, earlier + 1, 0)
    return stable, {"distribution": now, "stable": stable}


def _fixed(given: Input, found: Candidates, chosen: Tensor, memory: Memory) -> Outcome:
    """The outcome of a step that fixes `chosen`. A candidate that is the mask itself leaves its position open."""
    chosen = chosen & (found.token != given.mask_id)
    masked = given.masked & ~chosen
    return Outcome(*found, chosen, torch.zeros_like(chosen), ~masked.any(dim=-1), memory)


def unstuck(given: Input, outcome: Outcome) -> Outcome:
    """Guard against a stall: where a step changed nothing and masks are left, fix the position surest of another token.

    Only with masks among the candidates (`never: nothing`) can every chosen one be a mask; the same state would then come again
    for ever. dInfer leaves this to its caller.
    """
    still = ~(outcome.write | outcome.remask).any(dim=-1, keepdim=True) & given.masked.any(dim=-1, keepdim=True)
    allowed = given.logits.float().clone()
    allowed[..., given.mask_id] = float("-inf")
    other = allowed.argmax(dim=-1)
    logprob = log_probability(given.logits.float(), other)
    best = most_confident(logprob, given.masked, torch.ones_like(given.step)) & still
    write = outcome.write | best
    return outcome._replace(
        token=torch.where(best, other, outcome.token),
        logprob=torch.where(best, logprob, outcome.logprob),
        confidence=torch.where(best, logprob.exp(), outcome.confidence),
        write=write,
        done=outcome.done | (still.squeeze(-1) & ~(given.masked & ~write).any(dim=-1)),
    )


def edit_step(given: Input, decode: DecodeConfig) -> Outcome:
    """LLaDA2.1: fix masks above `threshold` (at least `min_fixed`) and replace tokens above `edit_threshold` in one pass.

    Without masks left up to `max_post_steps` passes go on editing, until one changes nothing. Source: LLaDA2.1's modeling file.
    """
    found = choose(given.logits, given.banned, given.uniform, decode, endings=given.endings)
    above = given.masked & (found.confidence > decode.threshold)
    least = torch.full_like(given.step, decode.min_fixed)
    enough = above.sum(dim=-1, keepdim=True) >= decode.min_fixed
    fixed = torch.where(enough, above, most_confident(found.confidence, given.masked, least))
    fixed = fixed & (found.token != given.mask_id)
    edited = given.response & ~given.masked & (found.confidence > decode.edit_threshold) & (found.token != given.token)
    remasked = edited & (found.token == given.mask_id)
    write = (fixed | edited) & ~remasked
    complete = ~given.masked.any(dim=-1)
    post = given.memory.get("post", torch.zeros_like(given.step)) + complete
    still = ~write.any(dim=-1) & ~remasked.any(dim=-1)
    left = ((given.masked & ~fixed) | remasked).any(dim=-1)
    done = ~left & ((complete & still) | (post >= decode.max_post_steps))
    return Outcome(*found, write, remasked, done, {"post": post})


def remask_step(given: Input, decode: DecodeConfig) -> Outcome:
    """dInfer's hierarchy with remasking: a fixed token whose position now is less sure than `remask_threshold` opens again.

    Every run of open positions gives its best above `low_threshold`, all above `threshold` follow, and at least one more than was
    opened is filled, so that the block advances. Source: dInfer's get_transfer_index_hierarchy_remask.
    """
    found = choose(given.logits, given.banned, given.uniform, decode, endings=given.endings)
    doubtful = given.response & ~given.masked & (found.confidence < decode.remask_threshold)
    open_ = given.masked | doubtful
    chosen = best_of_runs(found.confidence, open_) & (found.confidence > decode.low_threshold)
    chosen = chosen | (open_ & (found.confidence > decode.threshold))
    missing = (doubtful.sum(dim=-1) + 1 - chosen.sum(dim=-1)).clamp(min=0)
    chosen = chosen | most_confident(found.confidence, open_ & ~chosen, missing)
    filled = chosen & (found.token != given.mask_id)
    remasked = doubtful & ~filled
    write = filled & (given.masked | (found.token != given.token))
    left = (given.masked & ~filled) | remasked
    return Outcome(*found, write, remasked, ~left.any(dim=-1), {})


def wino_step(given: Input, decode: DecodeConfig) -> Outcome:
    """WINO (arXiv 2507.18578): draft all masks above `threshold`, and take back drafts that do not hold `remask_threshold`.

    `shadow` checks every fixed token against the distribution that does not see it. Never more are taken back than the step
    before drafted less one, and none in a step that drafts a single token, so that the block advances.
    """
    if given.shadow is None:
        raise ValueError("wino needs the logits of the shadow block")
    found = choose(given.logits, given.banned, given.uniform, decode, endings=given.endings)
    most = (given.masked.sum(dim=-1) * 0.7).long().clamp(5, 20)
    above = given.masked & (found.confidence > decode.threshold)
    least = most_confident(found.confidence, given.masked, torch.ones_like(most))
    drafted = torch.where(above.any(dim=-1, keepdim=True), above, least)
    drafted = drafted & most_confident(found.confidence, given.masked, most)
    checked = given.response & ~given.masked
    support = log_probability(given.shadow.float(), given.token).exp().masked_fill(~checked, float("inf"))
    doubtful = checked & (support < decode.remask_threshold)
    last = given.memory.get("drafted", torch.zeros_like(most))
    limit = torch.where(given.step == 0, 30, last) - 1
    worst = most_confident(-support, checked, limit.clamp(min=0))
    several = (drafted.sum(dim=-1, keepdim=True) > 1) & (limit > 0).unsqueeze(-1)
    remasked = doubtful & worst & several
    drafted = drafted & (found.token != given.mask_id)
    left = (given.masked & ~drafted) | remasked
    return Outcome(*found, drafted, remasked, ~left.any(dim=-1), {"drafted": drafted.sum(dim=-1)})


STEPS: Mapping[Algorithm, Callable[[Input, DecodeConfig], Outcome]] = {
    "block": block_step,
    "edit": edit_step,
    "remask": remask_step,
    "wino": wino_step,
}
