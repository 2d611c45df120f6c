"""The packed update equals the row-by-row one, gradient for gradient in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from unmask.harness.models.model import Model
from unmask.harness.records import Sample
from unmask.trainers.tracerl import TraceRL

from .conftest import block_rollouts, judged
from .naive import block_rows, row_logprobs


def gradients(model: Model) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.network.named_parameters() if p.grad is not None}


def packed_gradients(model: Model, samples: Sequence[Sample], **options: Any) -> dict[str, Tensor]:
    """The gradient that the trainer hands to its optimizer, which is kept from using it."""
    trainer = TraceRL(model, options, 1)
    found: dict[str, Tensor] = {}
    trainer.optimizer.step = lambda norm, factor: found.update(gradients(model))  # type: ignore[method-assign]
    trainer.step(samples)
    return found


def naive_gradients(model: Model, samples: Sequence[Sample], advantages: Sequence[float], weights: str) -> dict[str, Tensor]:
    """The same, one row and one token at a time. The ratio is 1 and its gradient that of the log-probability."""
    size = samples[0].rollout.block_size
    rows = [(i, row) for i, sample in enumerate(samples) for row in block_rows(sample.rollout, size)]
    model.network.zero_grad()
    for i, (hidden, targets, blocks) in rows:
        rollout = samples[i].rollout
        logprobs = row_logprobs(model, rollout, size, hidden)
        loss = torch.zeros((), dtype=torch.float64)
        for target, block in zip(targets, blocks, strict=True):
            logprob = logprobs[target, rollout.token_ids[target]]
            weight = {
                "paper": 1 / blocks.count(block) / len(samples),
                "code": 1 / max(s.rollout.length for s in samples) / len(rows),
                "sequence-mean": 1 / rollout.length / len(samples),
                "token-mean": 1 / sum(s.rollout.length for s in samples),
            }[weights]
            ratio = torch.exp(logprob - logprob.detach())
            loss = loss - weight * ratio * advantages[i]
        loss.backward()  # type: ignore[no-untyped-call]
    return gradients(model)


@pytest.fixture
def group(tiny: Callable[..., Model]) -> tuple[Model, list[Sample]]:
    model = tiny("sdar")
    rollouts = block_rollouts(model, [5, 6, 7, 8], tokens=14, remasking="dynamic", threshold=0.3)
    return model, [judged(rollout, float(i % 3 == 0), "p") for i, rollout in enumerate(rollouts)]


ADVANTAGES = [1.0, -1.0, -1.0, 1.0]


@pytest.mark.parametrize("weights", ["paper", "code", "sequence-mean", "token-mean"])
def test_the_packed_gradient_is_the_row_by_row_gradient(group: tuple[Model, list[Sample]], weights: str) -> None:
    model, samples = group
    expected = naive_gradients(model, samples, ADVANTAGES, weights)
    found = packed_gradients(model, samples, weights=weights, clip_norm=1e9)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-8, msg=name)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-3


@pytest.mark.parametrize("options", [{"micro_tokens": 1}, {"gradient_checkpointing": True}, {"micro_tokens": 150}])
def test_the_split_into_micro_batches_does_not_change_the_gradient(
    group: tuple[Model, list[Sample]], options: dict[str, Any]
) -> None:
    model, samples = group
    whole = packed_gradients(model, samples)
    split = packed_gradients(model, samples, **options)
    for name, gradient in whole.items():
        torch.testing.assert_close(split[name], gradient, rtol=0, atol=1e-10, msg=name)


def test_the_head_in_pieces_gives_the_same_gradient(group: tuple[Model, list[Sample]], monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = group
    whole = packed_gradients(model, samples)
    monkeypatch.setattr("unmask.trainers.scoring.PIECE", 448 * 7)
    pieces = packed_gradients(model, samples)
    for name, gradient in whole.items():
        torch.testing.assert_close(pieces[name], gradient, rtol=0, atol=1e-10, msg=name)
