"""Filtered self-training: learn the responses that were right. The worked example of a trainer of one's own.

Copy this file, change `_example` or `_loss`, and train with `trainer.name=file.py:RFT`. What it shows: options that are checked,
a step over judged rollouts, metrics, a state that restores exactly. Each response is learnt as block diffusion trains (BD3-LM,
arXiv 2503.09573): beside the clean text stands a noisy copy in which every block has a share of its tokens masked, and the loss
is the mean negative log-likelihood of masked tokens. Rejection-sampling fine-tuning: RAFT, arXiv 2304.06767. Block models only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ..harness.models.attention import clean_and_noisy
from ..harness.models.model import Model
from ..harness.records import Rollout, Sample
from ..rewards.errors import InputError
from ..rewards.serde import decode
from .checkpoint import save_policy
from .parallel import all_max, all_sum, world_size
from .sharding import whole


@dataclass(frozen=True, slots=True)
class RFTOptions:
    """`threshold`: the reward from which a response is learnt; `micro_batch`: responses in one forward pass."""

    lr: float = 1e-5
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    threshold: float = 1.0
    micro_batch: int = 32


class RFT:
    """A trainer in the shape of `base.Trainer`."""

    def __init__(self, model: Model, options: Mapping[str, Any], total_steps: int) -> None:
        if model.checkpoint.family.attention != "block_causal":
            raise InputError(f"trainer rft: learns block models only, not the family {model.checkpoint.family.name}")
        self.model, self.network = model, model.network
        self.options = decode(RFTOptions, options, "trainer")
        self._weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        self._adamw = torch.optim.AdamW(self._weights, lr=self.options.lr, weight_decay=self.options.weight_decay)

    def step(self, samples: Sequence[Sample]) -> dict[str, float]:
        good = [s.rollout for s in samples if s.verdict.reward is not None and s.verdict.reward >= self.options.threshold]
        size = self.options.micro_batch
        examples = [self._examples(good[i : i + size]) for i in range(0, len(good), size)]
        # Sharded layers run in step on all ranks, so every rank runs as many batches.
        examples += [self._examples([])] * (int(all_max(len(examples))) - len(examples))
        count = all_sum(float(sum(int((example[3] >= 0).sum()) for example in examples)))
        if count == 0:
            return {"learnt": 0.0}
        total = 0.0
        for example in examples:
            loss = self._loss(*example) / count
            (loss * world_size()).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        norm = float(whole(torch.nn.utils.clip_grad_norm_(self._weights, self.options.clip_norm)))
        total = all_sum(total)
        if all_max(float(not math.isfinite(total + norm))):
            self._adamw.zero_grad()
            raise FloatingPointError(f"the loss ({total}) or the gradient ({norm}) is not finite")
        self._adamw.step()
        self._adamw.zero_grad()
        return {"learnt": all_sum(float(len(good))), "loss": total, "grad_norm": norm, "tokens_trained": count}

    def _examples(self, rollouts: Sequence[Rollout]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Ids, positions, copies and labels (-1: no loss) of [clean | noisy] sequences, each (rows, N)."""
        rows = [self._example(rollout) for rollout in rollouts] or [
            (torch.zeros(4, dtype=torch.long),) * 3 + (torch.full((4,), -1),)
        ]
        device = self._weights[0].device
        ids, positions, copies, labels = (
            pad_sequence([row[k] for row in rows], batch_first=True, padding_value=fill).to(device)
            for k, fill in enumerate((0, 0, -1, -1))
        )
        return ids, positions, copies, labels

    def _example(self, rollout: Rollout) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """In every block of the noisy copy, from one to all of the response's tokens are masked."""
        block, prompt = rollout.block_size, len(rollout.prompt_ids)
        clean = torch.tensor([*rollout.prompt_ids, *rollout.token_ids])
        place = torch.arange(len(clean))
        free = place >= prompt
        wanted = torch.rand(len(clean) // block + 1)[place // block]
        masked = free & (torch.rand(len(clean)) < wanted)
        start = prompt // block * block
        noisy = clean.masked_fill(masked, self.model.checkpoint.mask_id)[start:]
        labels = clean.masked_fill(~masked | (place >= prompt + rollout.length), -1)[start:]
        return (
            torch.cat([clean, noisy]),
            torch.cat([place, place[start:]]),
            torch.cat([torch.zeros_like(clean), torch.ones_like(noisy)]),
            torch.cat([torch.full_like(clean, -1), labels]),
        )

    def _loss(self, ids: Tensor, positions: Tensor, copies: Tensor, labels: Tensor) -> Tensor:
        """The summed negative log-likelihood of the labels."""
        block = self.model.checkpoint.block_size or 1
        mask = clean_and_noisy(positions, copies, block).unsqueeze(1)
        hidden = self.network.model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).last_hidden_state
        chosen = labels >= 0
        return functional.cross_entropy(self.network.lm_head(hidden[chosen]).float(), labels[chosen], reduction="sum")

    def state_dict(self) -> dict[str, Any]:
        return {"adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._adamw.load_state_dict(state["adamw"])

    def save(self, path: Path) -> None:
        save_policy(self.model, path)
