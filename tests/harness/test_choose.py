"""Choosing tokens and choosing positions, against loops that say the same thing slowly."""

import math

import pytest
import torch
from torch import Tensor
from unmask.harness.decoding.choose import choose, draw, filtered, nucleus
from unmask.harness.decoding.rules import View, select
from unmask.harness.decoding.schedules import even
from unmask.harness.records import DecodeConfig, Remasking


def logits(rows: int = 3, block: int = 4, vocabulary: int = 50, seed: int = 0) -> Tensor:
    return torch.randn(rows, block, vocabulary, generator=torch.Generator().manual_seed(seed)) * 3


NOTHING_BANNED = torch.zeros(50, dtype=torch.bool)


def uniform(like: Tensor, seed: int = 1) -> Tensor:
    return torch.rand(like.shape[:-1], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_temperature_zero_takes_the_argmax_and_ranks_by_the_raw_softmax() -> None:
    x = logits()
    found = choose(x, NOTHING_BANNED, None, DecodeConfig(temperature=0.0))
    assert torch.equal(found.token, x.argmax(-1))
    assert torch.allclose(found.confidence, x.softmax(-1).max(-1).values)
    assert torch.allclose(found.logprob, x.log_softmax(-1).max(-1).values)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 100.0])
def test_a_banned_token_is_never_chosen_however_likely(temperature: float) -> None:
    x = logits()
    x[..., 7] = 50.0
    banned = NOTHING_BANNED.clone()
    banned[7] = True
    for seed in range(20):
        found = choose(x, banned, uniform(x, seed), DecodeConfig(temperature=temperature))
        assert (found.token != 7).all()


def test_the_raw_logprob_counts_the_banned_token_in_the_normaliser() -> None:
    x = logits()
    banned = NOTHING_BANNED.clone()
    banned[int(x[0, 0].argmax())] = True
    found = choose(x, banned, None, DecodeConfig(temperature=0.0))
    expected = x[0, 0, found.token[0, 0]] - torch.logsumexp(x[0, 0], 0)
    assert found.logprob[0, 0].item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_raw_confidence_does_not_depend_on_temperature_or_filters() -> None:
    x = logits()
    for decode in (DecodeConfig(temperature=0.3), DecodeConfig(top_k=1), DecodeConfig(top_p=0.1)):
        found = choose(x, NOTHING_BANNED, uniform(x), decode)
        expected = x.softmax(-1).gather(-1, found.token.unsqueeze(-1)).squeeze(-1)
        assert torch.allclose(found.confidence, expected, atol=1e-6)


def test_the_processed_confidence_is_one_under_top_k_one() -> None:
    x = logits()
    found = choose(x, NOTHING_BANNED, uniform(x), DecodeConfig(top_k=1, confidence="processed"))
    assert torch.equal(found.confidence, torch.ones_like(found.confidence))


def test_top_k_keeps_the_k_best() -> None:
    x = logits()
    kept = filtered(x, DecodeConfig(top_k=5)) > 0
    best = torch.zeros_like(kept).scatter(-1, x.topk(5).indices, True)
    assert torch.equal(kept, best)


def test_top_p_keeps_the_smallest_set_that_reaches_the_mass() -> None:
    p = logits().softmax(-1)
    kept = nucleus(p, 0.8)
    for row in range(p.shape[0]):
        for position in range(p.shape[1]):
            total, expected = 0.0, set()
            for token in p[row, position].argsort(descending=True, stable=True).tolist():
                if total >= 0.8:
                    break
                expected.add(token)
                total += p[row, position, token].item()
            assert set(kept[row, position].nonzero().flatten().tolist()) == expected
    assert torch.allclose(kept.sum(-1), torch.ones(3, 4))


def test_draws_follow_the_distribution() -> None:
    p = torch.tensor([0.5, 0.0, 0.2, 0.3]).expand(20000, 4)
    u = torch.rand(20000, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    counts = torch.bincount(draw(p, u), minlength=4) / 20000
    assert counts[1] == 0
    assert torch.allclose(counts, torch.tensor([0.5, 0.0, 0.2, 0.3]), atol=0.015)


@pytest.mark.parametrize("u", [0.0, 1.0 - 2**-53])
def test_a_draw_at_the_edge_is_a_token_with_mass(u: float) -> None:
    p = torch.tensor([[0.0, 0.3, 0.7, 0.0]])
    assert draw(p, torch.tensor([u], dtype=torch.float64)).item() in (1, 2)


@pytest.mark.parametrize(("block", "steps", "expected"), [(4, 4, (1, 1, 1, 1)), (8, 3, (3, 3, 2)), (8, 1, (8,)), (5, 2, (3, 2))])
def test_the_schedule_gives_the_remainder_to_the_first_steps(block: int, steps: int, expected: tuple[int, ...]) -> None:
    assert even(block, steps) == expected


def chosen_by(confidence: Tensor, masked: Tensor, count: Tensor, decode: DecodeConfig) -> Tensor:
    return select(View(confidence, masked, count, torch.zeros_like(count)), decode)


def naive_select(confidence: list[float], masked: list[bool], count: int, decode: DecodeConfig) -> set[int]:
    open_positions = [i for i, is_masked in enumerate(masked) if is_masked]
    if decode.remasking == "sequential":
        return set(open_positions[:count])
    best = sorted(open_positions, key=lambda i: (-confidence[i], i))[:count]
    above = [i for i in open_positions if confidence[i] > decode.threshold]
    return set(above if decode.remasking == "dynamic" and len(above) >= count else best)


@pytest.mark.parametrize("remasking", ["static", "dynamic", "sequential"])
def test_selection_equals_a_plain_loop(remasking: Remasking) -> None:
    generator = torch.Generator().manual_seed(5)
    confidence = (torch.rand(200, 6, generator=generator) * 8).round() / 8  # coarse, so that ties occur
    masked = torch.rand(200, 6, generator=generator) < 0.6
    count = torch.randint(1, 5, (200,), generator=generator)
    decode = DecodeConfig(remasking=remasking, threshold=0.6)
    chosen = chosen_by(confidence, masked, count, decode)
    for row in range(200):
        expected = naive_select(confidence[row].tolist(), masked[row].tolist(), int(count[row]), decode)
        assert set(chosen[row].nonzero().flatten().tolist()) == expected


def test_a_fixed_position_is_never_selected_even_when_the_count_is_too_large() -> None:
    masked = torch.tensor([[False, True, False, True]])
    rules: tuple[Remasking, ...] = ("static", "dynamic", "sequential")
    for remasking in rules:
        chosen = chosen_by(torch.rand(1, 4), masked, torch.tensor([4]), DecodeConfig(remasking=remasking, threshold=2 / 3))
        assert torch.equal(chosen, masked)


def test_every_masked_row_makes_progress() -> None:
    masked = torch.tensor([[True, True], [False, True]])
    confidence = torch.full((2, 2), math.exp(-50))
    assert chosen_by(confidence, masked, torch.tensor([1, 1]), DecodeConfig()).any(-1).all()
