"""Random masks: views in which tokens are hidden by chance instead of as the sampler found them.

One masking probability t per block or per sequence, uniform between two bounds, then each response token hidden with
probability t. Masks are a function of a seed, so that a sample's masks of an epoch can be drawn again. A block without a hidden
token carries no loss and is not shown. Source: the baselines of arXiv 2509.06949, section 5, and coupled masks of DiffuCoder
(arXiv 2506.20639); d1 (arXiv 2501.12502) and masked diffusion's 1/t weighting (arXiv 2502.09992, equation 3).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .traces import GIVEN, NEVER, Trace
from .views import Views, join


@dataclass(frozen=True, slots=True)
class MaskRule:
    """How masks are drawn: bounds of t, what shares one t, whether the loss is weighted by 1/t, and whether every mask is
    followed by its complement."""

    lower: float = 0.1
    upper: float = 0.9
    share: Literal["block", "sequence"] = "block"
    inverse_t: bool = False
    coupled: bool = False


def generator(*seed: object) -> torch.Generator:
    """A stream of random numbers that depends on `seed` only, on every machine."""
    digest = hashlib.sha256("/".join(map(str, seed)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def random_views(trace: Trace, rule: MaskRule, random: torch.Generator, *, draws: int) -> Views:
    """`draws` masks of the whole response, each with its complement if the rule is coupled."""
    return join(
        [masks for _, masks in zip(range(draws * (1 + rule.coupled)), _masks(trace, rule, random), strict=False)], trace.width
    )


def semi_autoregressive_views(trace: Trace, rule: MaskRule, random: torch.Generator, *, draws: int, block_size: int) -> Views:
    """For a full-attention canvas: `draws` masks of each block of `block_size`, earlier blocks clean, later ones hidden."""
    block = torch.arange(trace.width) // block_size
    trained = trace.trained[trace.first :]
    parts = []
    for number in range(draws * (int(block[trained].max()) + 1)):
        own = block == number // draws
        t = rule.lower + (rule.upper - rule.lower) * torch.rand(1, generator=random)
        target = own & trained & (torch.rand(trace.width, generator=random) < t)
        if not bool(target.any()):
            continue
        masked = target | (block > number // draws) | ~trained
        scale = 1 / t if rule.inverse_t else torch.ones(1)
        parts.append(Views(trace.starts, masked.unsqueeze(0), target.unsqueeze(0), torch.tensor([number]), scale))
    return join(parts, trace.width)


def matched_views(trace: Trace, rule: MaskRule, random: torch.Generator, *, count: int) -> Views:
    """Exactly `count` views, so that as many tokens are forwarded as by another choice of that many.

    Masks are drawn until there are enough; of the last one, blocks chosen by chance are left out.
    """
    parts: list[Views] = []
    missing = count
    for masks in _masks(trace, rule, random):
        if missing == 0 or not bool(trace.trained.any()):
            break
        chosen = torch.randperm(len(masks), generator=random)[:missing].sort().values
        parts.append(masks.where(chosen))
        missing -= len(chosen)
    return join(parts, trace.width)


def _masks(trace: Trace, rule: MaskRule, random: torch.Generator) -> Iterator[Views]:
    """Masks without end, numbered by row; a complement follows its mask."""
    row = 0
    while True:
        hidden, t = _draw(trace, rule, random)
        yield _views(trace, hidden, t, row, rule)
        row += 1
        if rule.coupled:
            yield _views(trace, ~hidden, 1 - t, row, rule)
            row += 1


def _draw(trace: Trace, rule: MaskRule, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which tokens are hidden, (w, W) bool, and the t of each window, (w, 1)."""
    count = len(trace.starts)
    drawn = torch.rand(1 if rule.share == "sequence" else count, 1, generator=random)
    t = (rule.lower + (rule.upper - rule.lower) * drawn).expand(count, 1)
    return torch.rand(count, trace.width, generator=random) < t, t


def _views(trace: Trace, hidden: Tensor, t: Tensor, row: int, rule: MaskRule) -> Views:
    steps = trace.steps[trace.first :].view(-1, trace.width)
    trained = trace.trained[trace.first :].view(-1, trace.width)
    # What follows the response's end is shown as it was at first: it must not tell where the response ends.
    masked = (hidden & trained) | ((steps != GIVEN) & ~trained) | (steps == NEVER)
    target = hidden & trained
    kept = target.any(dim=-1)
    count = int(kept.sum())
    scale = (1 / t.squeeze(1))[kept] if rule.inverse_t else torch.ones(count)
    return Views(trace.starts[kept], masked[kept], target[kept], torch.full((count,), row), scale)
