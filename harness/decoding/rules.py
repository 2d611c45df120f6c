"""Which candidates a step fixes: one pure function per rule, named by `DecodeConfig.remasking`.

A rule sees one row per sequence and one column per position of the open block, and returns the positions to fix. Only open
positions (masked, and within the sub-block in turn) compete, and a count larger than what is open fixes it all; a position that
is fixed, a prompt token among them, is never touched, except under `overshoot: overwrite`. Sources stand at each rule.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..records import DecodeConfig, Remasking
from .schedules import shares

LOWEST = float("-inf")


@dataclass(frozen=True, slots=True)
class View:
    """What a rule may look at. All (rows, B) but for `count` and `step` (rows,).

    `entropy` is that of the ranked distribution and `stable` the number of steps in a row with a small change of the
    distribution; both are there only for the rules that ask for them. `uniform` holds random numbers for the order of positions.
    """

    confidence: Tensor
    open: Tensor
    count: Tensor
    step: Tensor
    uniform: Tensor | None = None
    entropy: Tensor | None = None
    stable: Tensor | None = None


def select(view: View, decode: DecodeConfig) -> Tensor:
    """Return the positions to fix, (rows, B) bool, by the rule that `decode.remasking` names."""
    return RULES[decode.remasking](view, decode)


def static(view: View, decode: DecodeConfig) -> Tensor:
    """The `count` most confident (SDAR, LLaDA, Dream); with an order temperature drawn like Dream's alg_temp."""
    confidence = view.confidence
    if decode.order_temperature > 0:
        # Drawing without replacement from softmax(c / T) takes the largest of c / T plus Gumbel noise.
        noise = -(-_required(view.uniform).clamp(min=1e-300).log()).log()
        confidence = confidence.double() / decode.order_temperature + noise.to(confidence.device)
    if decode.overshoot == "overwrite":
        return most_confident_anywhere(confidence, view.open, view.count)
    return most_confident(confidence, view.open, view.count)


def dynamic(view: View, decode: DecodeConfig) -> Tensor:
    """All above the threshold, if they are at least `count`, else the `count` most confident (SDAR, LLaDA2.0)."""
    above = view.open & (view.confidence > decode.threshold)
    enough = above.sum(dim=-1) >= view.count
    return torch.where(enough.unsqueeze(-1), above, static(view, decode))


def sequential(view: View, decode: DecodeConfig) -> Tensor:
    """The leftmost `count` (SDAR)."""
    return leftmost(view.open, view.count)


def at_random(view: View, decode: DecodeConfig) -> Tensor:
    """`count` positions drawn uniformly (LLaDA's `random`)."""
    return most_confident(_required(view.uniform).to(view.confidence.device), view.open, view.count)


def origin(view: View, decode: DecodeConfig) -> Tensor:
    """Each mask by itself with the probability of the time grid (Dream's `origin`)."""
    steps = decode.steps_per_block or 1
    share = shares(steps, decode.schedule_eps)[view.step.clamp(max=steps - 1).cpu()]
    return view.open & (_required(view.uniform) < share.unsqueeze(-1)).to(view.open.device)


def threshold(view: View, decode: DecodeConfig) -> Tensor:
    """The most confident, and all that reach the threshold (Fast-dLLM, arXiv 2505.22618; dLLM-RL; LMDeploy)."""
    return most_confident(view.confidence, view.open, _one(view)) | (view.open & (view.confidence >= decode.threshold))


def factor(view: View, decode: DecodeConfig) -> Tensor:
    """Down the sorted confidences until the n-th is below 1 - factor / (n + 1) (Fast-dLLM, the factor rule).

    The best is always taken. A stop at the very last mask takes that one too, as in the released code.
    """
    ordered = view.confidence.masked_fill(~view.open, LOWEST).sort(dim=-1, descending=True).values
    n = torch.arange(1, ordered.shape[-1] + 1, device=ordered.device)
    below = ordered < 1 - decode.factor / (n + 1)
    below[..., 0] = False
    stop = torch.where(below.any(dim=-1), below.int().argmax(dim=-1), ordered.shape[-1])
    masks = view.open.sum(dim=-1)
    return most_confident(view.confidence, view.open, torch.where(stop >= masks - 1, masks, stop))


def near_best(view: View, decode: DecodeConfig) -> Tensor:
    """All that reach the threshold or come within 1e-5 of the best (dInfer's threshold decoder, arXiv 2510.08666)."""
    confidence = view.confidence.masked_fill(~view.open, LOWEST)
    bar = (confidence.max(dim=-1, keepdim=True).values - 1e-5).clamp(max=decode.threshold)
    return view.open & (confidence >= bar)


def hierarchy(view: View, decode: DecodeConfig) -> Tensor:
    """The best of every run of masks above the low threshold, all above the threshold, and always the best (dInfer)."""
    confident = view.open & (view.confidence > decode.threshold)
    in_runs = best_of_runs(view.confidence, view.open) & (view.confidence > decode.low_threshold)
    return confident | in_runs | most_confident(view.confidence, view.open, _one(view))


def entropy_bounded(view: View, decode: DecodeConfig) -> Tensor:
    """The most certain while the sum of entropies less the largest stays within the bound (EB-Sampler, arXiv 2505.24857)."""
    certain = _required(view.entropy).masked_fill(~view.open, float("inf"))
    ordered, order = certain.sort(dim=-1, stable=True)
    fits = ordered.cumsum(dim=-1) - ordered <= decode.entropy_bound
    return view.open & torch.zeros_like(view.open).scatter(-1, order, fits)


def entropy_budget(view: View, decode: DecodeConfig) -> Tensor:
    """The most certain while the sum of entropies stays below the bound, at least one (JetEngine's entropy_bounded)."""
    certain = _required(view.entropy).masked_fill(~view.open, float("inf"))
    ordered, order = certain.sort(dim=-1, stable=True)
    fits = ordered.cumsum(dim=-1) < decode.entropy_bound
    fits[..., 0] = True
    return view.open & torch.zeros_like(view.open).scatter(-1, order, fits)


def klass(view: View, decode: DecodeConfig) -> Tensor:
    """All above the threshold whose distribution was stable for `kl_steps` steps, else the `count` best (arXiv 2511.05664)."""
    ready = view.open & (view.confidence > decode.threshold) & (_required(view.stable) >= decode.kl_steps)
    return torch.where(ready.any(dim=-1, keepdim=True), ready, static(view, decode))


RULES: Mapping[Remasking, Callable[[View, DecodeConfig], Tensor]] = {
    "static": static,
    "dynamic": dynamic,
    "sequential": sequential,
    "random": at_random,
    "origin": origin,
    "threshold": threshold,
    "factor": factor,
    "near_best": near_best,
    "credit": near_best,
    "hierarchy": hierarchy,
    "entropy_bounded": entropy_bounded,
    "entropy_budget": entropy_budget,
    "klass": klass,
}


def most_confident(confidence: Tensor, open_: Tensor, count: Tensor) -> Tensor:
    """The `count` most confident open positions of each row; of equal ones the leftmost."""
    keys = confidence.masked_fill(~open_, LOWEST)
    rank = keys.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return open_ & (rank < count.unsqueeze(-1))


def most_confident_anywhere(confidence: Tensor, open_: Tensor, count: Tensor) -> Tensor:
    """SDAR's own top-k: with a count beyond the masks left it goes on among the fixed positions, in top-k's order of ties."""
    keys = confidence.masked_fill(~open_, LOWEST)
    chosen = torch.zeros_like(open_)
    for row, n in enumerate(count.tolist()):
        chosen[row, keys[row].topk(n).indices] = True
    return chosen


def leftmost(open_: Tensor, count: Tensor) -> Tensor:
    """The first `count` open positions of each row."""
    return open_ & (open_.cumsum(dim=-1) <= count.unsqueeze(-1))


def best_of_runs(confidence: Tensor, open_: Tensor) -> Tensor:
    """The most confident position of every contiguous run of open ones; of equal ones the leftmost."""
    starts = open_ & ~torch.nn.functional.pad(open_, (1, 0))[..., :-1]
    run = starts.cumsum(dim=-1) * open_
    keys = confidence.masked_fill(~open_, LOWEST)
    best = torch.full((*keys.shape[:-1], keys.shape[-1] + 1), LOWEST, dtype=keys.dtype, device=keys.device)
    best = best.scatter_reduce(-1, run, keys, "amax")
    attains = open_ & (keys == best.gather(-1, run))
    index = torch.arange(keys.shape[-1], device=keys.device).expand_as(run)
    first = torch.full_like(best, keys.shape[-1], dtype=torch.long)
    first = first.scatter_reduce(-1, run, torch.where(attains, index, keys.shape[-1]), "amin")
    return attains & (index == first.gather(-1, run))


def _one(view: View) -> Tensor:
    return torch.ones_like(view.count)


def _required(value: Tensor | None) -> Tensor:
    if value is None:
        raise ValueError("this rule needs figures that were not given")
    return value
