"""What one step of a trainer reports, gathered over micro-batches and ranks as sums and turned into figures at the end."""

from collections.abc import Hashable, Sequence
from statistics import fmean

import torch
from torch import Tensor

from ..harness.records import Sample
from .engine import Update
from .objective import PolicyTerm
from .packing import Batch
from .parallel import all_max, all_sum

_SUMS = (
    "samples",
    "unjudged",
    "overlong",
    "reward",
    "correct",
    "groups",
    "groups_kept",
    "judged",
    "advantage_square",
    "rows",
    "tokens_forwarded",
    "tokens_padding",
    "tokens_trained",
    "clipped",
    "policy_tokens",
    "nll",
    "nll_tokens",
    "entropy",
    "kl",
    "kl_tokens",
    "gap_tokens",
    "gap_absolute",
    "gap_k3",
    "scored",
    "loss",
    "updates",
    "returns",
    "returns_square",
    "errors",
    "errors_square",
    "returned",
    "value_loss",
    "value_updates",
)


class Meter:
    """Sums of one step. Every rank makes the same one and calls `result` once."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = dict.fromkeys(_SUMS, 0.0)
        self._gap_max = 0.0
        self._grad_norms: list[float] = []
        self._lr = 0.0

    def add(self, **amounts: float) -> None:
        for name, amount in amounts.items():
            self._sums[name] += amount

    def samples(self, samples: Sequence[Sample], overlong: Sequence[bool]) -> None:
        """What came in, before anything is left out."""
        rewards = [sample.verdict.reward for sample in samples if sample.verdict.reward is not None]
        self.add(
            samples=len(samples),
            unjudged=len(samples) - len(rewards),
            overlong=sum(overlong),
            reward=sum(rewards),
            correct=sum(sample.verdict.status == "correct" for sample in samples),
        )

    def groups(self, groups: Sequence[Hashable], advantages: Sequence[float]) -> None:
        """Groups, those of them with a signal, and the spread of the advantages."""
        kept = {group for group, advantage in zip(groups, advantages, strict=True) if advantage != 0.0}
        self.add(
            groups=len(set(groups)),
            groups_kept=len(kept),
            judged=len(advantages),
            advantage_square=sum(advantage**2 for advantage in advantages),
        )

    def batch(self, batch: Batch, entropy: Tensor) -> None:
        """One micro-batch of an update."""
        real = int((batch.copies >= 0).sum()) if len(batch.index) else 0
        self.add(
            tokens_forwarded=real,
            tokens_padding=batch.ids.numel() - real,
            scored=len(entropy),
            entropy=float(entropy.sum()),
        )

    def policy(self, term: PolicyTerm) -> None:
        """The policy term of a micro-batch's targets."""
        self.add(clipped=float(term.clipped.sum()), policy_tokens=len(term.clipped))

    def likelihood(self, logprob: Tensor) -> None:
        """Log-probabilities that are the objective themselves."""
        self.add(nll=-float(logprob.detach().sum()), nll_tokens=len(logprob))

    def kl(self, kl: Tensor) -> None:
        """The KL term of a micro-batch's targets."""
        self.add(kl=float(kl.detach().sum()), kl_tokens=len(kl))

    def gap(self, difference: Tensor) -> None:
        """Trainer's minus sampler's log-probability of every target, the weights being those that sampled."""
        if len(difference):
            difference = difference.double()
            self._gap_max = max(self._gap_max, float(difference.abs().max()))
            k3 = torch.exp(difference) - 1 - difference
            self.add(gap_tokens=len(difference), gap_absolute=float(difference.abs().sum()), gap_k3=float(k3.sum()))

    def explained(self, returns: Tensor, values: Tensor) -> None:
        """Returns and the values that predicted them, for the explained variance."""
        error = returns - values
        self.add(
            returns=float(returns.sum()),
            returns_square=float((returns**2).sum()),
            errors=float(error.sum()),
            errors_square=float((error**2).sum()),
            returned=len(returns),
        )

    def update(self, done: Update) -> None:
        """One update of the policy."""
        self.add(loss=done.loss, updates=1)
        self._grad_norms.append(done.grad_norm)
        self._lr = done.lr

    def result(self) -> dict[str, float]:
        """The figures over all ranks. Shares and means of nothing are left out."""
        total = {name: all_sum(value) for name, value in self._sums.items()}
        gap_max = all_max(self._gap_max)
        out = {name: total[name] for name in ("samples", "unjudged", "groups", "groups_kept")}
        out |= {name: total[name] for name in ("rows", "tokens_forwarded", "tokens_padding", "tokens_trained")}
        judged = total["samples"] - total["unjudged"]
        for name, over, count in (
            ("reward", "reward", judged),
            ("accuracy", "correct", total["samples"]),
            ("overlength", "overlong", total["samples"]),
            ("clip_fraction", "clipped", total["policy_tokens"]),
            ("entropy", "entropy", total["scored"]),
            ("kl", "kl", total["kl_tokens"]),
            ("gap_mean", "gap_absolute", total["gap_tokens"]),
            ("gap_k3", "gap_k3", total["gap_tokens"]),
            ("nll", "nll", total["nll_tokens"]),
            ("loss", "loss", self._sums["updates"]),
            ("value_loss", "value_loss", self._sums["value_updates"]),
        ):
            if count:
                out[name] = total[over] / count
        if total["judged"]:
            out["advantage_std"] = (total["advantage_square"] / total["judged"]) ** 0.5
        if total["gap_tokens"]:
            out["gap_max"] = gap_max
        if total["returned"]:
            spread = _variance(total["returns"], total["returns_square"], total["returned"])
            error = _variance(total["errors"], total["errors_square"], total["returned"])
            out["explained_variance"] = 1 - error / spread if spread > 0 else 0.0
        if self._grad_norms:
            out |= {"grad_norm": fmean(self._grad_norms), "lr": self._lr}
        return out | {"updates": self._sums["updates"]}


def _variance(total: float, squares: float, count: float) -> float:
    return max(squares / count - (total / count) ** 2, 0.0)
