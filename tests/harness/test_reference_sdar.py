"""Decoding equals the recordings of the original SDAR code, token for token (tests/data/sdar, with its provenance)."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from unmask.harness.models.attention import block_causal
from unmask.harness.models.denoiser import BlockDenoiser
from unmask.harness.models.model import Model, load_model
from unmask.harness.records import DecodeConfig, Remasking, Request, Rollout

REFERENCE = Path(__file__).parents[1] / "data" / "sdar"
Case = dict[str, Any]
Decoded = tuple[Case, Rollout]
RULES: dict[str, Remasking] = {"low_confidence_static": "static", "low_confidence_dynamic": "dynamic", "sequential": "sequential"}


def cases() -> list[Case]:
    recorded: list[Case] = json.loads((REFERENCE / "generations.json").read_text())["cases"]
    return [case for case in recorded if case["token_choice"] != "seeded"]


@cache
def model() -> Model:
    return load_model(str(REFERENCE), device="cpu")


def settings(case: Case) -> DecodeConfig:
    params = case["params"]
    native = case["token_choice"] == "native_topk1"
    return DecodeConfig(
        block_size=params["block_length"],
        steps_per_block=params["denoising_steps"],
        remasking=RULES[params["remasking_strategy"]],
        threshold=params["confidence_threshold"],
        temperature=params["temperature"] if native else 0.0,
        top_k=params["top_k"],
        confidence="processed" if native else "raw",
        overshoot="overwrite",
        max_new_tokens=params["gen_length"],
    )


def decode_all(max_batch: int, *, fuse: bool = True) -> list[Decoded]:
    """Each case through its own call: settings differ between cases."""
    network = model()
    out: list[Decoded] = []
    for case in cases():
        object.__setattr__(network.checkpoint, "stop_ids", tuple(case["stop_ids"] or ()))
        request = Request("p", 0, tuple(case["prompt_ids"]), seed=1)
        out.append((case, next(iter(network.generate([request], settings(case), max_batch=max_batch, fuse=fuse)))))
    return out


@pytest.fixture(scope="module")
def decoded() -> list[Decoded]:
    return decode_all(max_batch=4)


def test_all_deterministic_cases_are_there(decoded: list[Decoded]) -> None:
    assert len(decoded) >= 15


def test_tokens_equal_the_original(decoded: list[Decoded]) -> None:
    for case, rollout in decoded:
        expected = case["output_ids"][len(case["prompt_ids"]) :][: len(rollout.token_ids)]
        assert list(rollout.token_ids) == expected, case["name"]


def test_step_maps_equal_the_original(decoded: list[Decoded]) -> None:
    for case, rollout in decoded:
        assert list(rollout.step_map) == case["step_map"][: len(rollout.step_map)], case["name"]
        rest = case["step_map"][len(rollout.step_map) :]
        assert set(rest) <= {-1}, case["name"]


def test_pass_counts_equal_the_original() -> None:
    for case, rollout in decode_all(max_batch=4, fuse=False):
        passes = rollout.forward_passes
        assert passes.denoise == case["n_denoise_forwards"], case["name"]
        assert passes.prefill + passes.cache == case["n_store_forwards"], case["name"]


@pytest.mark.parametrize("block_size", [4, 8, 24])
def test_logits_equal_the_original(block_size: int) -> None:
    recorded = load_file(REFERENCE / "logits.safetensors")
    name = "logits.full" if block_size == 24 else f"logits.block{block_size}"
    positions = torch.arange(24).unsqueeze(0)
    mask = block_causal(positions, positions, block_size).unsqueeze(1)
    with torch.inference_mode():
        found = model().network(input_ids=recorded["inputs.x"], position_ids=positions, attention_mask=mask).logits
    assert torch.allclose(found, recorded[name], atol=1e-4)


def test_the_cached_block_has_the_logits_of_the_original() -> None:
    recorded = load_file(REFERENCE / "logits.safetensors")
    ids = recorded["inputs.x"]
    denoiser = BlockDenoiser(model().network, 8, rows=1)
    denoiser.prefill(0, ids[0, :16].tolist())
    found = denoiser.run(torch.tensor([16]), ids[:, 16:24], torch.tensor([0]))
    assert torch.allclose(found, recorded["logits.cached_block8_16_24"], atol=1e-4)
