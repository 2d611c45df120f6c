"""Every named decoder on a model it fits, and what its records hold."""

import dataclasses
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from unmask.harness.decoding.choose import choose, within_sigma
from unmask.harness.decoding.presets import OFFICIAL, PRESETS
from unmask.harness.decoding.rules import View, entropy_bounded, entropy_budget, klass
from unmask.harness.decoding.settings import resolve
from unmask.harness.models.model import Model, load_model
from unmask.harness.records import DecodeConfig, Request, Rollout
from unmask.harness.replay import replay_states, state_before
from unmask.rewards.errors import InputError

from .recordings import SHARED, model_of
from .tiny import write_checkpoint

needs_recordings = pytest.mark.skipif(not SHARED.exists(), reason="the shared recordings are not here")
PROMPT = tuple(range(40, 57))


def fitting(name: str) -> str:
    """The recorded model that a decoder is for."""
    if name.startswith(("dream", "diffucoder", "dllm-rl-dream")):
        return "dream"
    if name.startswith(("llada2", "sdar", "jetengine", "dynamic", "static", "sequential", "fast-dllm-v2", "nemotron")):
        return "llada2" if name.startswith("llada2") else "sdar"
    return "diffusion_gemma" if name == "diffusion-gemma" else "llada"


def generate(model: Model, decode: DecodeConfig, prompt: tuple[int, ...] = PROMPT, seed: int = 3) -> Rollout:
    return next(model.generate([Request("p", 0, prompt, seed)], decode))


def preset(name: str, **more: Any) -> DecodeConfig:
    """A named decoder in a size for tests: blocks of 8."""
    settings = dict(PRESETS[name].settings)
    if "block_size" in settings:
        settings["block_size"] = 8
    if "steps_per_block" in settings:
        settings["steps_per_block"] = min(settings["steps_per_block"], 4)
    if settings.get("horizon"):
        settings["horizon"] = 8
    return DecodeConfig(**{**settings, "max_new_tokens": 16, **more})


OFTEN = ("dynamic", "dream", "fast-dllm-dual", "llada2.1-quality", "dinfer-hierarchy-remask", "klass", "wino")
"""One decoder of each kind; the others run in CI."""


@needs_recordings
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in OFTEN else [pytest.mark.slow]) for n in PRESETS])
def test_every_named_decoder_fills_a_response_and_keeps_a_complete_record(name: str) -> None:
    size = {"block_size": 8} if fitting(name) in ("sdar", "llada2") else {}
    model = model_of(SHARED / fitting(name))
    rollout = generate(model, preset(name, full_length=True, **size))
    assert rollout.length >= 1
    assert len(rollout.token_ids) >= 16
    assert all(step >= 0 for step in rollout.step_map)
    assert rollout.decode == model.resolve(rollout.decode), "what a record holds resolves to itself"
    if name != "diffusion-gemma":
        assert model.checkpoint.mask_id not in rollout.token_ids
        states = list(replay_states(rollout, model.checkpoint.mask_id))
        assert len(states) == rollout.forward_passes.denoise
        assert (rollout.canvas > 0) == (model.checkpoint.family.attention == "full")


def test_the_authors_settings_name_known_decoders_and_fields() -> None:
    for entry in OFFICIAL:
        assert "" in entry.tasks
        for settings in entry.tasks.values():
            DecodeConfig(**{**PRESETS[entry.preset].settings, **settings})


@needs_recordings
@pytest.mark.parametrize(
    ("folder", "changes", "names"),
    [
        (
            "llada",
            {"remasking": "static", "threshold": 0.8},
            "threshold=0.8 has no effect under algorithm block with remasking static",
        ),
        ("llada", {"edit_threshold": 0.3}, "edit_threshold=0.3 has no effect"),
        ("llada", {"temperature": 0.0, "top_k": 5}, "top_k=5 has no effect under temperature 0"),
        ("llada", {"schedule_eps": 0.1}, "schedule_eps=0.1 has no effect"),
        ("llada", {"horizon": 4}, "needs decode.cache=prefix"),
        ("sdar", {"cache": "dual"}, "only for models with full attention; .* its block cache is exact"),
        ("sdar", {"guidance": 1.0}, "only for models with full attention"),
        ("sdar", {"algorithm": "wino"}, "only for models with full attention"),
        ("dream", {"cache": "prefix"}, "force_first_token=true"),
        ("dream", {"algorithm": "wino"}, "a shadow cannot check it"),
        ("sdar", {"algorithm": "diffusion_gemma"}, "not for .* family sdar"),
        ("llada", {"eos_early_stop": True, "full_length": True}, "exclude each other"),
        ("sdar", {"block_size": 8, "sub_block_size": 3}, "no multiple"),
    ],
)
def test_a_setting_without_effect_or_beyond_the_model_is_refused(folder: str, changes: dict[str, Any], names: str) -> None:
    with pytest.raises(InputError, match=names) as caught:
        resolve(DecodeConfig(**changes), model_of(SHARED / folder).checkpoint)
    assert "\n" not in str(caught.value)


def raw_logprobs(model: Model, rollout: Rollout) -> list[float]:
    """Recompute every log-probability from the record alone, one uncached pass per state, with full attention."""
    out = [math.nan] * len(rollout.token_ids)
    prompt, shift = len(rollout.prompt_ids), int(model.checkpoint.family.shift)
    for state in replay_states(rollout, model.checkpoint.mask_id):
        ids = torch.tensor([state.tokens])
        mask = torch.ones(1, 1, ids.shape[1], ids.shape[1], dtype=torch.bool)
        with torch.inference_mode():
            logprobs = model.network(input_ids=ids, attention_mask=mask).logits[0].log_softmax(-1)
        for position in state.fixed:
            out[position] = logprobs[prompt + position - shift, rollout.token_ids[position]].item()
    return out


@needs_recordings
@pytest.mark.parametrize("folder", ["llada", "dream", "lladamoe"])
@pytest.mark.parametrize(
    "changes", [{}, {"guidance": 0.7}, {"remasking": "credit", "threshold": 0.3}], ids=["plain", "cfg", "credit"]
)
def test_a_canvas_record_reproduces_its_raw_log_probabilities(folder: str, changes: dict[str, Any]) -> None:
    """Also under guidance and credit: they decide, but what is recorded is the model's own distribution."""
    model = model_of(SHARED / folder)
    decode = DecodeConfig(
        **{"block_size": 8, "threshold": 0.5, "temperature": 0.8, "max_new_tokens": 16, "full_length": True} | changes
    )
    rollout = generate(model, decode)
    assert rollout.canvas == len(rollout.token_ids) == 16
    assert rollout.note == ""
    assert raw_logprobs(model, rollout) == pytest.approx(rollout.logprobs, abs=1e-4)


@needs_recordings
@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_an_approximate_cache_is_marked_in_the_record(cache: str) -> None:
    rollout = generate(model_of(SHARED / "llada"), DecodeConfig(block_size=8, cache=cache, max_new_tokens=16))  # type: ignore[arg-type]
    assert rollout.cache == cache
    assert "approximate" in rollout.note


@needs_recordings
@pytest.mark.parametrize("folder", ["llada", pytest.param("dream", marks=pytest.mark.slow)])
def test_leaving_at_the_stop_changes_nothing_that_is_kept(folder: str) -> None:
    """Whatever token stops: the response of the full run, cut there, is the response of the run that leaves."""
    loaded = model_of(SHARED / folder)
    decode = DecodeConfig(remasking="static", block_size=8, temperature=0.7, max_new_tokens=32)
    whole = generate(loaded, dataclasses.replace(decode, full_length=True))
    left = 0
    for stop in sorted(set(whole.token_ids))[:6]:
        model = Model(dataclasses.replace(loaded.checkpoint, stop_ids=(stop,)), loaded.network, loaded.info)
        cut, full = generate(model, decode), generate(model, dataclasses.replace(decode, full_length=True))
        assert (cut.length, cut.text, cut.finish) == (full.length, full.text, full.finish) == (cut.length, cut.text, "stop")
        assert cut.token_ids[: cut.length] == full.token_ids[: cut.length]
        never = [token for token, step in zip(cut.token_ids, cut.step_map, strict=True) if step < 0]
        assert set(never) <= {model.checkpoint.mask_id}
        assert len(cut.token_ids) == len(full.token_ids) == cut.canvas
        left += cut.forward_passes.denoise < full.forward_passes.denoise
    assert left > 0


@needs_recordings
def test_ending_inside_a_block_keeps_the_same_response() -> None:
    loaded = model_of(SHARED / "llada2")
    decode = DecodeConfig(remasking="static", block_size=8, temperature=0.0, max_new_tokens=24)
    whole = generate(loaded, dataclasses.replace(decode, full_length=True))
    model = Model(dataclasses.replace(loaded.checkpoint, stop_ids=(whole.token_ids[4],)), loaded.network, loaded.info)
    late, early = generate(model, decode), generate(model, dataclasses.replace(decode, eos_early_stop=True))
    assert late.text == early.text
    assert late.length == early.length
    assert early.forward_passes.denoise <= late.forward_passes.denoise


@needs_recordings
def test_a_state_of_the_record_is_found_by_its_step() -> None:
    model = model_of(SHARED / "dream")
    rollout = generate(model, DecodeConfig(remasking="static", block_size=8, temperature=0.0, max_new_tokens=16))
    mask = model.checkpoint.mask_id
    assert state_before(rollout, 0, mask).tokens == (*PROMPT, *[mask] * 16)
    assert state_before(rollout, 9, mask).start == len(PROMPT) + 8
    with pytest.raises(InputError, match="no step 99"):
        state_before(rollout, 99, mask)


def naive_bound(entropies: list[float], bound: float, *, less_largest: bool) -> set[int]:
    order = sorted(range(len(entropies)), key=lambda i: entropies[i])
    kept: set[int] = set()
    total = 0.0
    for i in order:
        total += entropies[i]
        if kept and (total - entropies[i] > bound if less_largest else total >= bound):
            break
        kept.add(i)
    return kept


@pytest.mark.parametrize(("rule", "less_largest"), [(entropy_bounded, True), (entropy_budget, False)])
def test_entropy_rules_equal_a_plain_loop(rule: Callable[[View, DecodeConfig], Tensor], less_largest: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    for bound in (0.01, 0.2, 0.5, 5.0):
        entropies = torch.rand(50, 7, generator=generator)
        everything, nothing = torch.ones(50, 7, dtype=torch.bool), torch.zeros(50, dtype=torch.long)
        chosen = rule(View(entropies, everything, nothing, nothing, entropy=entropies), DecodeConfig(entropy_bound=bound))
        for row in range(50):
            expected = naive_bound(entropies[row].tolist(), bound, less_largest=less_largest)
            assert set(chosen[row].nonzero().flatten().tolist()) == expected


def test_klass_waits_until_the_distribution_is_stable() -> None:
    confidence, everything = torch.tensor([[0.95, 0.99, 0.5]]), torch.ones(1, 3, dtype=torch.bool)
    one, decode = torch.ones(1, dtype=torch.long), DecodeConfig(remasking="klass", threshold=0.9, kl_steps=2)
    young, old = torch.tensor([[1, 1, 1]]), torch.tensor([[2, 0, 2]])
    assert klass(View(confidence, everything, one, one, stable=young), decode).tolist() == [[False, True, False]]
    assert klass(View(confidence, everything, one, one, stable=old), decode).tolist() == [[True, False, False]]


@needs_recordings
def test_wino_takes_back_fewer_than_it_drafted_and_its_log_gives_every_state() -> None:
    model = model_of(SHARED / "llada")
    decode = DecodeConfig(
        algorithm="wino",
        threshold=0.3,
        remask_threshold=0.95,
        temperature=0.0,
        block_size=16,
        max_new_tokens=16,
        full_length=True,
    )
    rollout = generate(model, decode)
    kinds = {event.kind for event in rollout.events}
    assert kinds == {"remask", "unmask"}
    mask = model.checkpoint.mask_id
    states = [state.tokens for state in replay_states(rollout, mask)] + [(*PROMPT, *rollout.token_ids)]
    drafted = [sum(a == mask != b for a, b in zip(before, after, strict=True)) for before, after in pairwise(states)]
    taken = [sum(a != mask == b for a, b in zip(before, after, strict=True)) for before, after in pairwise(states)]
    assert sum(taken) > 0
    assert all(back < before for back, before in zip(taken[1:], drafted, strict=False) if back)
    assert all(taken[i] == 0 for i, count in enumerate(drafted) if count == 1)
    assert mask not in rollout.token_ids


def test_top_n_sigma_keeps_what_lies_near_the_best_logit() -> None:
    logits = torch.randn(4, 3, 100, generator=torch.Generator().manual_seed(0))
    kept = within_sigma(logits, 1.5).isfinite()
    bar = logits.max(-1, keepdim=True).values - 1.5 * logits.std(-1, keepdim=True, unbiased=False)
    assert torch.equal(kept, logits >= bar)
    hot = choose(
        logits, torch.zeros(100, dtype=torch.bool), torch.rand(4, 3).double(), DecodeConfig(top_n_sigma=1.5, temperature=9.0)
    )
    assert bool(kept.gather(-1, hot.token.unsqueeze(-1)).all())


@pytest.fixture(params=["fast-dllm-v2", "nemotron-diffusion", "sdlm", "stable-diffcoder"])
def block_model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    return load_model(str(write_checkpoint(tmp_path, request.param)), device="cpu")


def expected_logits(model: Model, ids: list[int], start: int, size: int) -> Tensor:
    """Logits (size, V) of the block at `start` in one plain pass, and behind it the next-token logits of the clean sequence."""
    family, n = model.checkpoint.family, len(ids)
    position = torch.arange(n)
    end = (position // size + 1) * size if family.alignment == "absolute" else start + torch.zeros_like(position) + size
    causal = position + 1
    limit = causal if family.attention == "causal_context" else end
    limit = torch.where(position >= start, start + size, limit)
    mask = (position < limit.unsqueeze(1))[None, None]
    with torch.inference_mode():
        logits: Tensor = model.network(input_ids=torch.tensor([ids]), attention_mask=mask).logits[0]
    return logits[start - 1 : start + size - 1] if family.shift else logits[start : start + size]


@pytest.mark.parametrize("length", [16, 19])
def test_models_with_another_context_or_shift_decode_as_one_plain_pass_says(block_model: Model, length: int) -> None:
    model, family = block_model, block_model.checkpoint.family
    prompt = tuple(range(50, 50 + length))
    decode = DecodeConfig(remasking="sequential", temperature=0.0, block_size=8, max_new_tokens=16, full_length=True)
    size = 8 if model.checkpoint.block_size in (4, 8, 32) else int(model.checkpoint.block_size or 8)
    rollout = generate(model, dataclasses.replace(decode, block_size=size), prompt)
    mask, tokens = model.checkpoint.mask_id, list(rollout.token_ids)
    for state in replay_states(rollout, mask):
        (position,) = state.fixed
        seeded = family.first_token == "ar" and position + length == state.start
        ids = [*prompt, *tokens[:position], *[mask] * (state.end - length - position)]
        if seeded:
            context = ids[: state.start]
            with torch.inference_mode():
                causal = family.attention == "causal_context"
                block = torch.arange(len(context)) // size
                seen = torch.ones(len(context), len(context)).tril().bool() if causal else block[:, None] >= block[None]
                row = model.network(input_ids=torch.tensor([context]), attention_mask=seen[None, None]).logits[0, -1]
        else:
            row = expected_logits(model, ids, state.start, size)[position + length - state.start]
        logprob = row.log_softmax(-1)[tokens[position]].item()
        assert rollout.logprobs[position] == pytest.approx(logprob, abs=1e-4)


def test_running_the_whole_context_again_gives_what_the_cache_gives(block_model: Model) -> None:
    size = int(block_model.checkpoint.block_size or 8)
    decode = DecodeConfig(temperature=0.7, threshold=0.3, block_size=size, max_new_tokens=3 * size, full_length=True)
    cached, again = (generate(block_model, dataclasses.replace(decode, cache=cache)) for cache in ("exact", "none"))
    assert cached.token_ids == again.token_ids
    assert cached.step_map == again.step_map
    assert cached.logprobs == pytest.approx(again.logprobs, abs=1e-4)


def test_those_models_too_decode_the_same_in_any_batch(block_model: Model) -> None:
    size = int(block_model.checkpoint.block_size or 8)
    decode = DecodeConfig(temperature=1.0, threshold=0.3, block_size=size, max_new_tokens=2 * size)
    prompts = [tuple(range(50, 50 + n)) for n in (5, 16, 23, 16)]
    wanted = [Request(f"p{i}", 0, prompt, i) for i, prompt in enumerate(prompts)]
    alone = {r.problem_id: (r.token_ids, r.logprobs) for r in block_model.generate(wanted, decode, max_batch=1)}
    together = {r.problem_id: (r.token_ids, r.logprobs) for r in block_model.generate(wanted[::-1], decode, max_batch=4)}
    assert together == alone
