"""Mistakes seen in published decoders (numbered as in the list that the docs give), each with a test that we do not make it."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from unmask.harness.decoding.choose import choose, score_of
from unmask.harness.decoding.presets import PRESETS
from unmask.harness.decoding.rules import View, select
from unmask.harness.decoding.schedules import scheduled
from unmask.harness.decoding.steps import STEPS, Input, block_step, unstuck
from unmask.harness.models.model import Model
from unmask.harness.records import DecodeConfig, Request, Rollout
from unmask.rewards.records import Message

from .recordings import SHARED, model_of

needs_recordings = pytest.mark.skipif(not SHARED.exists(), reason="the shared recordings are not here")
V, MASK = 30, 29
OWN = Path(__file__).parents[1] / "data" / "sdar"


def logits(rows: int = 2, size: int = 4, seed: int = 0) -> Tensor:
    x = torch.randn(rows, size, V, generator=torch.Generator().manual_seed(seed)) * 3
    x[..., MASK] = -20.0
    return x


def given(x: Tensor, **changes: Any) -> Input:
    shape = x.shape[:2]
    everything = torch.ones(shape, dtype=torch.bool)
    banned = torch.zeros(V, dtype=torch.bool)
    nothing = torch.zeros(shape[0], dtype=torch.long)
    base = Input(x, torch.full(shape, MASK), everything, everything, nothing, banned, MASK)
    return dataclasses.replace(base, **changes)


def generate(model: Model, decode: DecodeConfig, prompt: tuple[int, ...], seed: int = 1) -> Rollout:
    return next(model.generate([Request("p", 0, prompt, seed)], decode))


def test_trap_3_dreams_hidden_top_k_is_a_setting_of_its_preset_and_in_the_record() -> None:
    assert all(preset.settings["top_k"] == 50 for name, preset in PRESETS.items() if name.startswith(("dream", "diffucoder")))
    assert DecodeConfig().top_k == 0


def test_trap_4_and_d6_confidence_is_that_of_the_model_unless_asked_otherwise() -> None:
    """Under top_k 1 every processed confidence is 1, and a threshold opens the whole block; the raw one ranks."""
    uniform = torch.full((2, 4), 0.5, dtype=torch.float64)
    raw = block_step(given(logits(), uniform=uniform), DecodeConfig(top_k=1, threshold=0.9))
    processed = block_step(given(logits(), uniform=uniform), DecodeConfig(top_k=1, threshold=0.9, confidence="processed"))
    assert processed.write.all()
    assert not raw.write.all()
    assert raw.confidence.max() < 1


def test_d6_a_low_temperature_does_not_lift_confidences_over_the_threshold() -> None:
    uniform = torch.full((2, 4), 0.5, dtype=torch.float64)
    cold = choose(logits(), torch.zeros(V, dtype=torch.bool), uniform, DecodeConfig(temperature=0.1))
    greedy = choose(logits(), torch.zeros(V, dtype=torch.bool), None, DecodeConfig(temperature=0.0))
    assert torch.allclose(cold.confidence, greedy.confidence, atol=1e-6)


def test_trap_5_equal_confidences_are_taken_from_the_left() -> None:
    """With its ends suppressed LLaDA gives many positions exactly confidence 0; which of them is fixed is then defined."""
    view = View(torch.zeros(1, 5), torch.tensor([[False, True, True, True, True]]), torch.tensor([2]), torch.tensor([0]))
    chosen = select(view, DecodeConfig(remasking="static"))
    assert chosen.tolist() == [[False, True, True, False, False]]


@pytest.mark.parametrize("algorithm", ["block", "edit", "remask"])
def test_trap_6_and_d9_the_mask_is_never_a_token(algorithm: str) -> None:
    x = logits()
    x[..., MASK] = 40.0
    banned = torch.zeros(V, dtype=torch.bool)
    banned[MASK] = True
    decode = DecodeConfig(algorithm=algorithm, temperature=0.0)  # type: ignore[arg-type]
    outcome = STEPS[decode.algorithm](given(x, banned=banned), decode)
    assert outcome.write.any(-1).all()
    assert (outcome.token[outcome.write] != MASK).all()


@needs_recordings
def test_trap_7_a_stop_in_the_prompt_ends_nothing_and_nothing_behind_the_stop_counts() -> None:
    model = model_of(SHARED / "llada")
    stop = model.checkpoint.stop_ids[0]
    decode = DecodeConfig(remasking="static", block_size=8, temperature=0.0, max_new_tokens=16)
    rollout = generate(model, decode, (stop, 60, 61, stop))
    assert rollout.length > 0
    inner = rollout.token_ids[: rollout.length - (rollout.finish == "stop")]
    assert not set(inner) & set(model.checkpoint.stop_ids)
    assert model.tokenizer.decode(inner, skip_special_tokens=True) == rollout.text


@needs_recordings
def test_trap_9_filler_behind_the_first_end_is_not_generated_text() -> None:
    loaded = model_of(SHARED / "dream")
    decode = DecodeConfig(remasking="static", block_size=8, temperature=0.0, max_new_tokens=32, full_length=True)
    whole = generate(loaded, decode, tuple(range(40, 60)))
    model = Model(dataclasses.replace(loaded.checkpoint, stop_ids=(whole.token_ids[5],)), loaded.network, loaded.info)
    rollout = generate(model, decode, tuple(range(40, 60)))
    assert rollout.length <= 6 < len(rollout.token_ids) == 32


def test_trap_10_rows_of_the_embedding_without_a_token_are_never_drawn_however_hot() -> None:
    model = model_of(OWN)
    rollout = generate(model, DecodeConfig(temperature=1000.0, max_new_tokens=200), (65, 66, 67, 68))
    assert set(rollout.token_ids) <= set(model.tokenizer.get_vocab().values())


DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def with_tokenizer(model: Model, change: Callable[[Any], object]) -> Model:
    tokenizer = copy.deepcopy(model.tokenizer)
    change(tokenizer)
    return Model(dataclasses.replace(model.checkpoint, tokenizer=tokenizer), model.network, model.info)


def test_trap_15_the_record_shows_a_system_prompt_that_the_template_adds() -> None:
    model = with_tokenizer(model_of(OWN), lambda tokenizer: setattr(tokenizer, "chat_template", DEFAULT_SYSTEM))
    ids = model.encode([Message("user", "2+2?")])
    assert "You are a helpful assistant." in model.tokenizer.decode(ids)
    assert generate(model, DecodeConfig(max_new_tokens=8), ids).prompt_ids == ids
    own = model.tokenizer.decode(model.encode([Message("system", "Be brief."), Message("user", "2+2?")]))
    assert "Be brief." in own
    assert "helpful" not in own


def test_trap_18_an_edit_threshold_of_0_edits_wherever_the_best_token_is_another() -> None:
    """LLaDA2.1's Speed setting; diffusers reads 0 as no editing at all."""
    x = logits()
    fixed = torch.zeros(2, 4, dtype=torch.bool)
    state = given(x, token=torch.zeros(2, 4, dtype=torch.long), masked=fixed)
    edited = STEPS["edit"](state, DecodeConfig(algorithm="edit", edit_threshold=0.0, temperature=0.0))
    assert torch.equal(edited.write, x.argmax(-1) != 0)
    assert edited.write.any()
    none = STEPS["edit"](state, DecodeConfig(algorithm="edit", edit_threshold=1.0, temperature=0.0))
    assert not none.write.any()
    assert none.done.all()


def test_trap_19_dreams_schedule_rounds_in_float32_so_that_the_first_step_fixes_none() -> None:
    decode = DecodeConfig(schedule="linear", remasking="static", block_size=16, steps_per_block=16)
    left, counts = 16, []
    for step in range(16):
        counts.append(int(scheduled(decode, torch.tensor([step]), torch.tensor([left]))))
        left -= counts[-1]
    assert counts[0] == 0
    assert counts[-1] == 2
    assert left == 0


def test_trap_20_a_step_whose_candidates_are_all_masks_does_not_stall() -> None:
    x = logits()
    x[..., MASK] = 40.0
    state, decode = given(x), DecodeConfig(remasking="near_best", temperature=0.0, never="nothing")
    stalled = block_step(state, decode)
    assert not stalled.write.any()
    helped = unstuck(state, stalled)
    assert helped.write.sum(-1).tolist() == [1, 1]
    assert (helped.token[helped.write] != MASK).all()


def test_d7_negative_entropy_ranks_the_surest_first() -> None:
    p = torch.tensor([[0.98, 0.01, 0.01], [0.4, 0.3, 0.3]])
    score = score_of(p, torch.tensor([0, 0]), "neg_entropy")
    assert score[0] > score[1]
    wrong = score_of(p, torch.tensor([0, 0]), "entropy")
    assert wrong[0] < wrong[1], "dLLM-RL's LLaDA sampler, there by its own name"


def test_d8_a_count_beyond_the_masks_left_touches_no_fixed_token() -> None:
    masked = torch.tensor([[False, False, True, True]])
    view = View(torch.rand(1, 4), masked, torch.tensor([4]), torch.tensor([0]))
    assert torch.equal(select(view, DecodeConfig(remasking="static")), masked)


@pytest.mark.parametrize("schedule", ["even", "linear"])
def test_d9_a_schedule_that_has_run_out_goes_on(schedule: str) -> None:
    decode = DecodeConfig(schedule=schedule, remasking="static", block_size=4, steps_per_block=2)  # type: ignore[arg-type]
    assert int(scheduled(decode, torch.tensor([50]), torch.tensor([3]))) >= 1


def test_d10_added_tokens_that_are_not_special_stay_in_the_text() -> None:
    """JetEngine shows tokens behind the vocabulary's end as token 0, thinking tags among them."""
    model = with_tokenizer(model_of(OWN), lambda tokenizer: tokenizer.add_tokens(["<plan>"]))
    added = model.tokenizer.get_vocab()["<plan>"]
    assert added >= model.tokenizer.vocab_size
    assert model.tokenizer.decode([72, added, 73], skip_special_tokens=True) == "H<plan>I"
    assert model.text([72, added, 73]) == "H<plan>I"


def test_d12_the_first_token_of_a_block_is_forced_only_where_that_is_asked_for() -> None:
    x = logits(1, 4)
    x[0, 0] = 0.0  # the first position knows nothing
    x[0, 2, 5] = 60.0
    plain = block_step(given(x), DecodeConfig(remasking="static", temperature=0.0, block_size=4))
    forced = block_step(given(x), DecodeConfig(remasking="static", temperature=0.0, block_size=4, force_first_token=True))
    assert plain.write.tolist() == [[False, False, True, False]]
    assert forced.write.tolist() == [[True, False, False, False]]
