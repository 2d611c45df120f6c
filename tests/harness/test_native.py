"""DiffusionGemma: our record of a run is the run of transformers' own generate."""

import json
from typing import Any

import pytest
import torch
from unmask.harness.models.model import Model
from unmask.harness.records import DecodeConfig, Request, Rollout
from unmask.harness.replay import replay_states
from unmask.rewards.errors import InputError

from .recordings import SHARED, model_of

FOLDER = SHARED / "diffusion_gemma"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the shared recordings are not here")


def cases() -> list[dict[str, Any]]:
    if not FOLDER.exists():
        return []
    found: list[dict[str, Any]] = json.loads((FOLDER / "generations.json").read_text("utf-8"))["cases"]
    return found


def run(model: Model, case: dict[str, Any]) -> Rollout:
    params = case["params"]
    decode = DecodeConfig(
        algorithm="diffusion_gemma",
        max_new_tokens=params["max_new_tokens"],
        steps_per_block=params["max_denoising_steps"],
        entropy_bound=params.get("sampler_config", {}).get("entropy_bound", 0.1),
        stable_steps=params.get("stability_threshold", 1),
        mean_entropy=params.get("confidence_threshold", 0.005),
        full_length=True,
    )
    return next(model.generate([Request("p", 0, tuple(case["prompt_ids"]), seed=case["rng_seed"])], decode))


class Drafts:
    """A streamer that keeps every draft, as a user of transformers would write it."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def put(self, value: torch.Tensor) -> None: ...

    def put_draft(self, value: torch.Tensor) -> None:
        self.seen.append(value[0].tolist())

    def end(self) -> None: ...


def native(model: Model, case: dict[str, Any]) -> tuple[list[int], list[list[int]]]:
    from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig

    params = dict(case["params"])
    if "sampler_config" in params:
        params["sampler_config"] = EntropyBoundSamplerConfig(entropy_bound=params["sampler_config"]["entropy_bound"])
    drafts = Drafts()
    with torch.random.fork_rng():
        torch.manual_seed(case["rng_seed"])
        out = model.network.generate(torch.tensor([case["prompt_ids"]]), streamer=drafts, **params)
    return out.sequences[0, len(case["prompt_ids"]) :].tolist(), drafts.seen


def drafts_of(rollout: Rollout) -> list[list[int]]:
    """The best guesses after every step, rebuilt from step map and events."""
    first = {event.position: event.old for event in reversed(rollout.events)}
    tokens = [first.get(i, token) for i, token in enumerate(rollout.token_ids)]
    size, out = rollout.block_size, []
    for step in range(rollout.forward_passes.denoise):
        for event in rollout.events:
            if event.step == step:
                tokens[event.position] = event.new
        canvas = max(i for i, first_step in enumerate(rollout.step_map) if first_step <= step) // size
        out.append(tokens[canvas * size : (canvas + 1) * size])
    return out


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(), ids=[case["name"] for case in cases()])
def test_tokens_and_every_draft_are_those_of_the_native_generate(case: dict[str, Any]) -> None:
    """The recording was sampled under another version: it shares the first steps, where rounding has not yet moved a draw."""
    model = model_of(FOLDER)
    rollout = run(model, case)
    tokens, drafts = native(model, case)
    assert list(rollout.token_ids) == tokens
    assert drafts_of(rollout) == drafts
    assert drafts[:3] == case["drafts"][:3]
    assert "log-probability" in rollout.note


def test_requests_keep_their_own_random_stream() -> None:
    model, decode = model_of(FOLDER), DecodeConfig(max_new_tokens=16, steps_per_block=4)
    wanted = [Request(f"p{i}", 0, (60, 61, 62 + i), i) for i in range(3)]
    one = {r.problem_id: r.token_ids for r in model.generate(wanted, decode, max_batch=1)}
    assert {r.problem_id: r.token_ids for r in model.generate(wanted[::-1], decode, max_batch=3)} == one


def test_canvases_without_masks_cannot_be_replayed() -> None:
    rollout = next(model_of(FOLDER).generate([Request("p", 0, (60, 61), 1)], DecodeConfig(max_new_tokens=16, steps_per_block=2)))
    with pytest.raises(InputError, match="no masks"):
        next(replay_states(rollout, 0))
