"""Shared by the trainer tests: tiny random networks of each kind of family behind the demo's tokenizer, and rollouts of them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM
from unmask.harness.models.model import Model, load_model
from unmask.harness.records import DecodeConfig, ForwardPasses, ModelInfo, Request, Rollout, Sample
from unmask.rewards.records import Verdict

SHAPE: dict[str, Any] = {
    "vocab_size": 448,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
}
FAMILIES: dict[str, tuple[Any, bool, Any, Any]] = {
    "sdar": ("block_causal", False, Qwen3Config(head_dim=8, **SHAPE), Qwen3ForCausalLM),
    "llada": ("full", False, LlamaConfig(**SHAPE), LlamaForCausalLM),
    "dream": ("full", True, Qwen2Config(**SHAPE), Qwen2ForCausalLM),
}


@pytest.fixture(scope="session")
def demo() -> Model:
    torch.set_num_threads(1)
    return load_model("demo", device="cpu")


@pytest.fixture
def tiny(demo: Model) -> Callable[..., Model]:
    """Makes a random network of a family, float64 unless told otherwise; peaked, so that probabilities differ."""

    def make(family: str = "sdar", dtype: torch.dtype = torch.float64, seed: int = 0) -> Model:
        attention, shift, config, kind = FAMILIES[family]
        torch.manual_seed(seed)
        network = kind(config).to(dtype).eval()
        if dtype == torch.float64:
            keep_float64(network)
        with torch.no_grad():
            network.lm_head.weight.mul_(20)
        spec = dataclasses.replace(demo.checkpoint.family, name=family, attention=attention, shift=shift)
        checkpoint = dataclasses.replace(demo.checkpoint, family=spec)
        return Model(checkpoint, network, ModelInfo(family, "random", family, "0", "float64"))

    return make


def keep_float64(network: torch.nn.Module) -> None:
    """transformers' norms compute in float32 whatever they are given; torch's keep the precision that these tests need."""
    for module in list(network.modules()):
        child: Any
        for name, child in module.named_children():
            if type(child).__name__.endswith("RMSNorm"):
                norm = torch.nn.RMSNorm(child.weight.shape, child.variance_epsilon, dtype=torch.float64)
                setattr(module, name, norm)


def block_rollouts(model: Model, prompts: list[int], *, tokens: int = 21, seed: int = 0, **decode: Any) -> list[Rollout]:
    """Rollouts from random prompts of the given lengths, by the harness's own decoder, in the order of `prompts`."""
    random = torch.Generator().manual_seed(seed)
    requests = [
        Request(f"p{i}", i, tuple(torch.randint(5, 400, (length,), generator=random).tolist()), seed + i)
        for i, length in enumerate(prompts)
    ]
    settings = DecodeConfig(**{"max_new_tokens": tokens, "remasking": "static", **decode})
    return sorted(model.generate(requests, settings), key=lambda rollout: rollout.sample)


def judged(rollout: Rollout, reward: float | None, problem: str = "") -> Sample:
    """A rollout with a verdict."""
    verdict = Verdict(reward=reward, status="verifier_error" if reward is None else "correct" if reward > 0 else "wrong")
    name = problem or rollout.problem_id
    return Sample("task", name, name, dataclasses.replace(rollout, problem_id=name), verdict)


@torch.no_grad()
def full_rollouts(
    model: Model, prompts: list[int], *, tokens: int = 12, per_step: int = 2, seed: int = 0, greedy: bool = False
) -> list[Rollout]:
    """Rollouts of a full-attention model by a sampler as plain as can be: one sequence, one network call per step.

    The last positions are left masked in every third rollout, as an early end leaves them.
    """
    random = torch.Generator().manual_seed(seed)
    out = []
    for i, length in enumerate(prompts):
        prompt = torch.randint(5, 400, (length,), generator=random).tolist()
        canvas = [model.checkpoint.mask_id] * tokens
        steps, logprobs = [-1] * tokens, [0.0] * tokens
        last = tokens - 3 if i % 3 == 2 else tokens
        step = 0
        while any(s < 0 for s in steps[:last]):
            logits = model.network(input_ids=torch.tensor([prompt + canvas]), is_causal=False, use_cache=False).logits[0]
            shift = int(model.checkpoint.family.shift)
            raw = torch.log_softmax(logits[length - shift : length - shift + tokens].double(), dim=-1)
            drawn = raw.argmax(-1) if greedy else torch.multinomial(raw.exp(), 1, generator=random).squeeze(1)
            free = [k for k in range(last) if steps[k] < 0]
            free.sort(key=lambda k: -float(raw[k, drawn[k]]))
            for k in free[:per_step]:
                canvas[k], steps[k], logprobs[k] = int(drawn[k]), step, float(raw[k, drawn[k]])
            step += 1
        out.append(
            Rollout(
                problem_id=f"p{i}",
                sample=i,
                seed=seed,
                prompt_ids=tuple(prompt),
                token_ids=tuple(canvas),
                length=last - 2,
                step_map=tuple(steps),
                logprobs=tuple(logprobs),
                confidences=(0.0,) * tokens,
                block_size=tokens,
                block_offset=0,
                forward_passes=ForwardPasses(0, step, 0),
                cache="none",
                finish="stop",
                text="",
                decode=DecodeConfig(),
                model=model.info,
                seconds=0.0,
            )
        )
    return out


def rollouts_of(model: Model, prompts: list[int], seed: int = 0) -> list[Rollout]:
    """Rollouts by whichever sampler the family has, several steps per window."""
    if model.checkpoint.family.attention == "full":
        return full_rollouts(model, prompts, seed=seed)
    return block_rollouts(model, prompts, tokens=14, seed=seed, remasking="dynamic", threshold=0.3)
