"""The packed update equals the row-by-row one, gradient for gradient in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from unmask.harness.models.attention import clean_and_noisy
from unmask.harness.models.model import Model
from unmask.harness.records import Sample
from unmask.trainers import tiles
from unmask.trainers.packing import Batch
from unmask.trainers.scoring import block_mask
from unmask.trainers.tracerl import TraceRL
from unmask.trainers.traces import trace_of

from .conftest import block_rollouts, full_rollouts, judged
from .naive import block_rows, canvas_logprobs, canvas_rows, row_logprobs


def gradients(model: Model) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.network.named_parameters() if p.grad is not None}


def packed_gradients(model: Model, samples: Sequence[Sample], **options: Any) -> dict[str, Tensor]:
    """The gradient that the trainer hands to its optimizer, which is kept from using it."""
    trainer = TraceRL(model, options, 1)
    found: dict[str, Tensor] = {}
    trainer.engine.optimizer.step = lambda norm, factor: found.update(gradients(model))  # type: ignore[method-assign]
    trainer.step(samples)
    return found


def naive_gradients(
    model: Model, samples: Sequence[Sample], advantages: Sequence[float], weights: str, shrink: int = 1
) -> dict[str, Tensor]:
    """The same, one row and one token at a time. The ratio is 1 and its gradient that of the log-probability."""
    size = samples[0].rollout.block_size
    rows = [(i, row) for i, sample in enumerate(samples) for row in block_rows(sample.rollout, size, shrink)]
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


@pytest.mark.parametrize("family", ["llada", "dream"])
@pytest.mark.parametrize(("weights", "shrink"), [("paper", 1), ("paper", 4), ("code", 2)])
def test_the_gradient_of_a_canvas_is_the_row_by_row_gradient(
    tiny: Callable[..., Model], family: str, weights: str, shrink: int
) -> None:
    model = tiny(family)
    rollouts = full_rollouts(model, [4, 7, 5, 5])
    samples = [judged(rollout, float(i % 3 == 0), "p") for i, rollout in enumerate(rollouts)]
    rows = [(i, *row) for i, sample in enumerate(samples) for row in canvas_rows(sample.rollout, shrink)]
    for i, hidden, targets in rows:
        logprobs = canvas_logprobs(model, rollouts[i], hidden)
        for target in targets:
            weight = 1 / len(targets) / {"paper": len(samples), "code": len(rows)}[weights]
            loss = -weight * logprobs[target, rollouts[i].token_ids[target]] * ADVANTAGES[i]
            loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    expected = gradients(model)
    found = packed_gradients(model, samples, weights=weights, shrink=shrink, clip_norm=1e9)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-8, msg=name)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-3


def test_the_gradient_with_shrunk_steps_is_the_row_by_row_gradient(group: tuple[Model, list[Sample]]) -> None:
    model, samples = group
    expected = naive_gradients(model, samples, ADVANTAGES, "paper", shrink=2)
    found = packed_gradients(model, samples, shrink=2, clip_norm=1e9)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-8, msg=name)


def test_a_shorter_head_pass_and_no_clean_copy_per_step(group: tuple[Model, list[Sample]]) -> None:
    """Tokens that go through the network: the context once, and one block per view; logits at targets only."""
    model, samples = group
    seen: list[int] = []
    hook = model.network.lm_head.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    metrics = TraceRL(model, {}, 1).step(samples)
    hook.remove()
    expected = trained = 0
    for sample in samples:
        rollout, size = sample.rollout, sample.rollout.block_size
        rows = block_rows(rollout, size)
        last = max(block for _, _, blocks in rows for block in blocks)
        expected += last * size + size * sum(len(set(blocks)) for _, _, blocks in rows)
        trained += rollout.length
    assert metrics["tokens_forwarded"] == expected
    assert metrics["tokens_trained"] == sum(seen) == trained
    assert metrics["rows"] == sum(len(block_rows(sample.rollout, sample.rollout.block_size)) for sample in samples)


def test_checkpointing_runs_layers_again_instead_of_keeping_activations(group: tuple[Model, list[Sample]]) -> None:
    model, samples = group
    calls: list[bool] = []
    hook = model.network.model.layers[0].mlp.register_forward_pre_hook(lambda module, _: calls.append(module.training))
    TraceRL(model, {"gradient_checkpointing": True}, 1).step(samples)
    hook.remove()
    assert len(calls) == 2 * 1
    assert not any(calls), "the layers' parts stay in evaluation mode, so that there is no dropout"
    assert not any(module.training for module in model.network.modules())


@pytest.mark.parametrize("options", [{}, {"micro_tokens": 1}, {"gradient_checkpointing": True}, {"shrink": 2}])
def test_attention_by_tiles_gives_the_same_gradient(
    group: tuple[Model, list[Sample]], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    model, samples = group
    before = model.network.config._attn_implementation
    dense = packed_gradients(model, samples, **options)
    seen: list[list[list[tiles.Tile]]] = []
    made = tiles.tiles_of

    def watched(batch: Batch) -> list[list[tiles.Tile]]:
        seen.append(made(batch))
        return seen[-1]

    monkeypatch.setattr(tiles, "LONG", 1)
    monkeypatch.setattr(tiles, "SIZE", 8)
    monkeypatch.setattr(tiles, "tiles_of", watched)
    tiled = packed_gradients(model, samples, **options)
    assert max(len(row) for rows in seen for row in rows) > 3
    for name, gradient in dense.items():
        torch.testing.assert_close(tiled[name], gradient, rtol=0, atol=1e-10, msg=name)
    assert model.network.config._attn_implementation == before, "sampling keeps its own attention"


def test_the_mask_of_flex_attention_is_the_dense_one(group: tuple[Model, list[Sample]]) -> None:
    model, samples = group
    trainer = TraceRL(model, {"attention": "flex"}, 1)
    traces = [trace_of(sample.rollout, trainer.engine.layout) for sample in samples]
    work = trainer.engine.pack(traces, [trainer.views(s, t) for s, t in zip(samples, traces, strict=True)])
    for batch in work.batches:
        rows, length = batch.ids.shape
        expected = clean_and_noisy(batch.positions, batch.copies, batch.width)
        query, key = torch.arange(length)[:, None], torch.arange(length)[None, :]
        for row in range(rows):
            found = block_mask(batch).mask_mod(torch.tensor(row), torch.tensor(0), query, key)
            assert torch.equal(found, expected[row])
