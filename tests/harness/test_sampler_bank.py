"""Single steps equal those of other implementations on recorded logits: dInfer, Fast-dLLM, LMDeploy, SGLang, diffusers."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from unmask.harness.decoding.rules import View, entropy_bounded
from unmask.harness.decoding.steps import STEPS, Input, Memory
from unmask.harness.records import DecodeConfig

from .recordings import SHARED

BANK = SHARED / "samplers"
pytestmark = pytest.mark.skipif(not BANK.exists(), reason="the shared recordings are not here")
NOT_REPRODUCED = {
    "sglang_indel": "LLaDA2.2's insertions and deletions: its family is not supported (expert admission by block)",
    "pen1": "SGLang's anti-repetition penalty is not an option here",
}
EMITS_MASKS = "LMDeploy takes a drawn mask for a token and never opens its position again"


def bank() -> list[dict[str, Any]]:
    if not BANK.exists():
        return []
    found: list[dict[str, Any]] = json.loads((BANK / "samplers.json").read_text("utf-8"))["cases"]
    return found


def reproduced(case: dict[str, Any]) -> bool:
    masks = case["name"].startswith("lmdeploy") and case["logits"] == "peaked"
    return not masks and not any(name in case["name"] for name in NOT_REPRODUCED)


def settings(case: dict[str, Any]) -> DecodeConfig:
    name, params = case["name"], case["params"]
    common: dict[str, Any] = {"temperature": 0.0, "block_size": 16, "never": "nothing"}
    steps = params.get("denoising_steps", params.get("num_inference_steps", 16))
    if name.startswith("dinfer_hierarchy_remask"):
        return DecodeConfig(algorithm="remask", **common, **params)
    if name.startswith("dinfer_hierarchy"):
        high = params["threshold"] or 1.0
        return DecodeConfig(remasking="hierarchy", threshold=high, low_threshold=params["low_threshold"], **common)
    if name.startswith("dinfer_credit"):
        credit = {"credit_alpha": params["credit_alpha"], "credit_decay": params["decay_beta"]}
        return DecodeConfig(
            remasking="credit", threshold=params["threshold"], credit_gamma=params["boost_gamma"], **credit, **common
        )
    if name.startswith("dinfer_threshold"):
        return DecodeConfig(remasking="near_best", threshold=params["threshold"], **common)
    if name.startswith("fastdllm_factor"):
        return DecodeConfig(remasking="factor", factor=params["factor"], **common)
    if name.startswith("fastdllm_threshold"):
        return DecodeConfig(remasking="threshold", threshold=params["threshold"], **common)
    if name.startswith("sglang_joint") or params.get("editing_threshold") is not None:
        edits = params.get("edit_threshold", params.get("editing_threshold"))
        post = params.get("max_post_edit_steps", 16)
        least = 16 // steps if "num_inference_steps" in params else 1
        return DecodeConfig(
            algorithm="edit", threshold=params["threshold"], edit_threshold=edits, max_post_steps=post, min_fixed=least, **common
        )
    if name.startswith("sglang_low_confidence"):
        return DecodeConfig(remasking="dynamic", threshold=params["threshold"], steps_per_block=16, **common)
    if name.startswith("lmdeploy_dynamic"):
        return DecodeConfig(remasking="threshold", threshold=params["confidence_threshold"], **common)
    rule = "sequential" if "sequential" in name else "dynamic" if "threshold" in params else "static"
    return DecodeConfig(remasking=rule, threshold=params.get("threshold", 0.9), steps_per_block=steps, **common)  # type: ignore[arg-type]


def steps_of(case: dict[str, Any], logits: Tensor) -> list[list[int]]:
    """Run our step on the recorded logits from the first recorded state on; returns all states."""
    decode, mask = settings(case), case["mask_id"]
    token = torch.tensor([case["states"][0]])
    own = torch.arange(16).unsqueeze(0) >= case["prompt_prefix"]
    # dInfer's remasking counts doubtful prompt tokens too, and leaves it to its caller to keep them.
    response = torch.ones_like(own) if decode.algorithm == "remask" else own
    memory: Memory = {}
    states, done = [token[0].tolist()], False
    for step in range(len(case["states"]) - 1):
        given = Input(
            logits=logits[step : step + 1],
            token=token,
            masked=(token == mask) & response,
            response=response,
            step=torch.tensor([step]),
            banned=torch.zeros(logits.shape[-1], dtype=torch.bool),
            mask_id=mask,
            memory=memory,
        )
        outcome = STEPS[decode.algorithm](given, decode)
        memory = outcome.memory
        if not done:
            token = torch.where(outcome.write & own, outcome.token, token).masked_fill(outcome.remask & own, mask)
        done = bool(outcome.done)
        states.append(token[0].tolist())
    return states


CASES = [case for case in bank() if "states" in case and reproduced(case)]


@pytest.mark.parametrize("case", CASES, ids=[f"{case['name']}-{case['logits']}" for case in CASES])
def test_every_state_equals_the_recorded_one(case: dict[str, Any]) -> None:
    logits = load_file(BANK / "logits.safetensors")[f"logits.{case['logits']}"]
    assert steps_of(case, logits) == case["states"]


@pytest.mark.parametrize("name", ["steady", "drifting", "peaked"])
def test_the_entropy_bound_accepts_what_diffusers_accepts(name: str) -> None:
    case = next(c for c in bank() if c["name"] == "diffusers_entropy_bound" and c["logits"] == name)
    logits = load_file(BANK / "logits.safetensors")[f"logits.{name}"]
    everything = torch.ones(8, 16, dtype=torch.bool)
    entropies = torch.special.entr(logits[:8].softmax(-1)).sum(-1)
    nothing = torch.zeros(8, dtype=torch.long)
    for entry in case["accepted_by_bound"]:
        decode = DecodeConfig(remasking="entropy_bounded", entropy_bound=entry["entropy_bound"])
        chosen = entropy_bounded(View(entropies, everything, nothing, nothing, entropy=entropies), decode)
        assert [row.nonzero().flatten().tolist() for row in chosen] == entry["accepted"]
