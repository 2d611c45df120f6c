"""Likelihoods against brute force: probabilities that sum to one, chain rules by hand, and a mean over every mask."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from unmask.harness.models.likelihood import likelihood, log_likelihood
from unmask.harness.models.model import Model, load_model
from unmask.rewards.errors import InputError

from .tiny import write_checkpoint

MASK = 261
CONTEXT = [65, 66, 67, 68, 69]
RESPONSE = [70, 71, 72]
FULL = ("llada", "dream")
BLOCK = ("sdar", "fast-dllm-v2", "nemotron-diffusion")


def model_of(folder: Path, name: str, **fields: Any) -> Model:
    return load_model(str(write_checkpoint(folder, name, **fields)), device="cpu")


@torch.inference_mode()
def log_probs(model: Model, ids: list[int], allowed: Tensor) -> Tensor:
    """(T, V) log-probabilities as the network has them, under a (T, T) mask."""
    positions = torch.arange(len(ids)).unsqueeze(0)
    out: Tensor = model.network(input_ids=torch.tensor([ids]), attention_mask=allowed[None, None], position_ids=positions).logits
    return out[0].log_softmax(-1)


def everywhere(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool)


def by_blocks(length: int, size: int) -> Tensor:
    block = torch.arange(length) // size
    return block.unsqueeze(0) <= block.unsqueeze(1)


@pytest.mark.parametrize("method", ["left_to_right", "confidence"])
@pytest.mark.parametrize("name", ["llada", "dream", "sdar"])
def test_the_probabilities_of_all_responses_sum_to_one(name: str, method: Any, tmp_path: Path) -> None:
    """Over a vocabulary of a few tokens: all others get no probability."""
    model = model_of(tmp_path, name)
    few = [70, 71, 72]
    head = model.network.lm_head
    forward = head.forward
    others = torch.ones(head.weight.shape[0], dtype=torch.bool)
    others[few] = False
    head.forward = lambda hidden: forward(hidden).masked_fill(others, -1e9)
    total = sum(
        math.exp(log_likelihood(model, CONTEXT, response, method=method)) for response in itertools.product(few, repeat=3)
    )
    assert total == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("name", FULL)
def test_left_to_right_is_the_chain_rule_of_single_passes(name: str, tmp_path: Path) -> None:
    model = model_of(tmp_path, name)
    expected = 0.0
    for i, token in enumerate(RESPONSE):
        ids = CONTEXT + RESPONSE[:i] + [MASK] * (len(RESPONSE) - i)
        source = len(CONTEXT) + i - model.checkpoint.family.shift
        expected += float(log_probs(model, ids, everywhere(len(ids)))[source, token])
    found = likelihood(model, CONTEXT, RESPONSE, method="left_to_right")
    assert found.log_probability == pytest.approx(expected, abs=1e-4)
    assert (found.tokens, found.passes, found.error) == (3, 3, 0.0)


@pytest.mark.parametrize("name", ["sdar", "fast-dllm-v2"])
def test_a_block_is_conditioned_on_clean_blocks_and_masked_to_its_end(name: str, tmp_path: Path) -> None:
    model = model_of(tmp_path, name)
    size, shift = model.checkpoint.block_size or 0, model.checkpoint.family.shift
    response = [70, 71, 72, 73, 74, 75, 76]
    expected = 0.0
    for i, token in enumerate(response):
        position = len(CONTEXT) + i
        end = (position // size + 1) * size
        ids = CONTEXT + response[:i] + [MASK] * (end - position)
        expected += float(log_probs(model, ids, by_blocks(end, size))[position - shift, token])
    assert log_likelihood(model, CONTEXT, response) == pytest.approx(expected, abs=1e-4)


def test_a_causal_context_is_read_causally_and_predicts_a_blocks_first_token(tmp_path: Path) -> None:
    model = model_of(tmp_path, "nemotron-diffusion")
    response, size = [70 + i for i in range(10)], 8
    expected = 0.0
    for i, token in enumerate(response):
        first = len(CONTEXT) + i // size * size
        position, end = len(CONTEXT) + i, first + size
        ids = CONTEXT + response[:i] + [model.checkpoint.mask_id] * (end - position)
        row = torch.arange(end)
        allowed = (row.unsqueeze(1) >= first) | (row.unsqueeze(0) <= row.unsqueeze(1))
        source = position - 1 if position == first else position
        expected += float(log_probs(model, ids, allowed)[source, token])
    assert log_likelihood(model, CONTEXT, response) == pytest.approx(expected, abs=1e-4)


def test_the_confidence_order_is_that_of_greedy_decoding(tmp_path: Path) -> None:
    model = model_of(tmp_path, "llada")
    ids, expected = CONTEXT + [MASK] * 3, 0.0
    while MASK in ids:
        found = log_probs(model, ids, everywhere(len(ids)))
        closed = [i for i, token in enumerate(ids) if token == MASK]
        best = max(closed, key=lambda i: float(found[i].max()))
        expected += float(found[best, RESPONSE[best - len(CONTEXT)]])
        ids[best] = RESPONSE[best - len(CONTEXT)]
    assert log_likelihood(model, CONTEXT, RESPONSE, method="confidence") == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("method", ["left_to_right", "confidence"])
def test_the_greedy_response_is_known_as_greedy(method: Any, tmp_path: Path) -> None:
    model = model_of(tmp_path, "dream")
    ids = CONTEXT + [MASK] * 3
    while MASK in ids:
        found = log_probs(model, ids, everywhere(len(ids))).roll(1, 0)
        closed = [i for i, token in enumerate(ids) if token == MASK]
        best = closed[0] if method == "left_to_right" else max(closed, key=lambda i: float(found[i].max()))
        ids[best] = int(found[best].argmax())
    greedy = ids[len(CONTEXT) :]
    assert likelihood(model, CONTEXT, greedy, method=method).greedy is True
    assert likelihood(model, CONTEXT, [greedy[0], (greedy[1] + 1) % 250, greedy[2]], method=method).greedy is False


@pytest.mark.parametrize("name", ["llada", "dream", "sdar"])
def test_monte_carlo_converges_to_the_mean_over_every_mask(name: str, tmp_path: Path) -> None:
    """Brute force: every number of masks, every placement of them, weighted as the bound has it."""
    model = model_of(tmp_path, name)
    context = CONTEXT[:4]
    length, shift = len(RESPONSE), model.checkpoint.family.shift
    size = 4 if name == "sdar" else len(context) + length
    rest = -(len(context) + length) % size
    exact = 0.0
    for count in range(1, length + 1):
        placements = list(itertools.combinations(range(length), count))
        for placed in placements:
            ids = context + [MASK if i in placed else token for i, token in enumerate(RESPONSE)] + [MASK] * rest
            allowed = by_blocks(len(ids), size)
            found = log_probs(model, ids, allowed)
            right = sum(float(found[len(context) + i - shift, RESPONSE[i]]) for i in placed)
            exact += right * length / count / len(placements) / length
    estimate = likelihood(model, context, RESPONSE, method="monte_carlo", samples=1200, seed=1, max_batch=600)
    assert abs(estimate.log_probability - exact) < 4 * estimate.error
    assert estimate.error < 0.08 * abs(exact)
    assert estimate.passes == 1200


def test_the_default_is_monte_carlo_for_full_attention_and_exact_for_blocks(tmp_path: Path) -> None:
    assert likelihood(model_of(tmp_path / "a", "llada"), CONTEXT, RESPONSE, samples=4).method == "monte_carlo"
    assert likelihood(model_of(tmp_path / "b", "sdar"), CONTEXT, RESPONSE).method == "left_to_right"


def test_a_seed_repeats_and_the_batch_changes_nothing(tmp_path: Path) -> None:
    model = model_of(tmp_path, "llada")
    settings: dict[str, Any] = {"method": "monte_carlo", "samples": 16}
    first = likelihood(model, CONTEXT, RESPONSE, seed=3, **settings)
    again = likelihood(model, CONTEXT, RESPONSE, seed=3, max_batch=3, **settings)
    assert again.log_probability == pytest.approx(first.log_probability, abs=1e-4)
    assert likelihood(model, CONTEXT, RESPONSE, seed=4, **settings).log_probability != first.log_probability


def test_guidance_is_a_mix_with_the_masked_context(tmp_path: Path) -> None:
    model, strength = model_of(tmp_path, "llada"), 0.5
    ids, bare = [*CONTEXT, MASK], [MASK] * 6
    with torch.inference_mode():
        mask = everywhere(6)[None, None]
        given, free = (model.network(input_ids=torch.tensor([row]), attention_mask=mask).logits[0, 5] for row in (ids, bare))
    expected = (free + (strength + 1) * (given - free)).log_softmax(-1)[70]
    found = log_likelihood(model, CONTEXT, [70], method="left_to_right", cfg=strength)
    assert found == pytest.approx(float(expected), abs=1e-4)


def test_perplexity_is_per_token_and_an_empty_response_is_certain(tmp_path: Path) -> None:
    model = model_of(tmp_path, "sdar")
    found = likelihood(model, [], RESPONSE)
    assert found.perplexity == pytest.approx(math.exp(-found.log_probability / 3))
    empty = likelihood(model, CONTEXT, [])
    assert (empty.log_probability, empty.perplexity, empty.passes) == (0.0, 1.0, 0)


@pytest.mark.parametrize("name", [*FULL, *BLOCK])
def test_a_longer_context_than_the_model_has_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than the model's context of 512"):
        log_likelihood(model_of(tmp_path, name), [65] * 510, RESPONSE)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = model_of(tmp_path, "sdar")
    for options, said in (
        ({"samples": 0}, "samples"),
        ({"cfg": 0.5}, "full attention"),
        ({"method": "montecarlo"}, "did you mean 'monte_carlo'"),
    ):
        with pytest.raises(InputError, match=said):
            log_likelihood(model, CONTEXT, RESPONSE, **options)
    with pytest.raises(InputError, match="token 999"):
        log_likelihood(model, CONTEXT, [999])
