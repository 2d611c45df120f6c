"""A request's tokens do not depend on what it shares a pass with: batch size, order, neighbours, padding; for every family.

In float32 on a CPU the whole record is equal, bit for bit. In bfloat16 it is not, and the test says by how much.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from unmask.harness.models.model import Model, load_model
from unmask.harness.records import DecodeConfig, Request, Rollout

from .recordings import SHARED, folders, model_of

OFTEN = ("sdar", "dream", "llada2")
"""One model of each kind: block-causal, full attention with a shift, experts. The others run in CI."""
FOLDERS = [
    pytest.param(folder, id=folder.name, marks=[] if folder.name in OFTEN else [pytest.mark.slow])
    for folder in folders(None)
    if folder.name != "diffusion_gemma"
]
needs_recordings = pytest.mark.skipif(not SHARED.exists(), reason="the shared recordings are not here")


def requests(model: Model, count: int) -> list[Request]:
    """Prompts of many lengths, so that rows are padded and stand at different blocks."""
    generator = torch.Generator().manual_seed(5)
    lengths = [3, 70, 9, 17, 33, 4, 64, 21, 58, 12][:count]
    prompts = [tuple(torch.randint(0, 250, (n,), generator=generator).tolist()) for n in lengths]
    return [Request(f"p{i}", 0, prompt, seed=100 + i) for i, prompt in enumerate(prompts)]


def by_request(rollouts: Iterable[Rollout]) -> dict[str, Rollout]:
    return {rollout.problem_id: dataclasses.replace(rollout, seconds=0.0) for rollout in rollouts}


SAMPLED = DecodeConfig(temperature=1.0, remasking="dynamic", threshold=0.6, max_new_tokens=16, block_size=8)


@pytest.mark.parametrize("folder", FOLDERS)
def test_batch_size_order_and_neighbours_change_nothing_in_float32(folder: Path) -> None:
    model = model_of(folder)
    wanted = requests(model, 7)
    expected = by_request(model.generate(wanted, SAMPLED, max_batch=1))
    assert len(expected) == 7
    assert by_request(model.generate(wanted[::-1], SAMPLED, max_batch=4)) == expected
    assert by_request(model.generate(wanted, SAMPLED, max_batch=16)) == expected
    assert by_request(model.generate(wanted[3:5], SAMPLED, max_batch=2)).items() <= expected.items()


@needs_recordings
@pytest.mark.parametrize(
    "changes",
    [{"cache": "prefix"}, {"cache": "dual"}, {"algorithm": "wino", "remasking": "dynamic"}, {"guidance": 0.5}],
    ids=["prefix", "dual", "wino", "guided"],
)
def test_windows_shadows_and_guidance_do_not_depend_on_the_batch_either(changes: dict[str, Any]) -> None:
    model = model_of(SHARED / "llada")
    decode = dataclasses.replace(SAMPLED, **changes)
    wanted = requests(model, 5)
    expected = by_request(model.generate(wanted, decode, max_batch=1))
    assert by_request(model.generate(wanted[::-1], decode, max_batch=5)) == expected


TOLERANCE = 0.01
"""By how much a log-probability may move in bfloat16 with what shares its pass; measured on a CPU: 0.0001 at most."""


@needs_recordings
@pytest.mark.parametrize("name", ["llada2", "dream"])
def test_in_bfloat16_a_batch_moves_log_probabilities_by_less_than_the_stated_tolerance(name: str) -> None:
    model = load_model(str(SHARED / name), device="cpu", dtype="bfloat16")
    decode = DecodeConfig(temperature=0.0, remasking="sequential", max_new_tokens=24, block_size=8)
    wanted = requests(model, 6)
    alone, together = (by_request(model.generate(wanted, decode, max_batch=size)) for size in (1, 8))
    compared = 0
    for key, one in alone.items():
        other = together[key]
        # From the first token that differs on the contexts differ too.
        pairs = zip(one.token_ids, other.token_ids, strict=True)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(one.token_ids))
        assert one.logprobs[:same] == pytest.approx(other.logprobs[:same], abs=TOLERANCE)
        compared += same
    assert compared > 60
