"""Generation with the embedded model: the record is complete, exact, and independent of the batch."""

import dataclasses
from collections.abc import Iterable

import pytest
import torch
from unmask.benchmarks import load_benchmark
from unmask.harness.models.attention import block_causal
from unmask.harness.models.denoiser import BlockDenoiser
from unmask.harness.models.model import Model
from unmask.harness.records import DecodeConfig, Request, Rollout
from unmask.rewards.errors import InputError
from unmask.rewards.records import Message
from unmask.rewards.serde import decode, encode

SAMPLED = DecodeConfig(max_new_tokens=64)


def requests(model: Model, count: int, samples: int = 1) -> list[Request]:
    problems = load_benchmark("arith").load()[:count]
    return [
        Request(problem.id, sample, model.encode(problem.prompt), 1000 * index + sample)
        for index, problem in enumerate(problems)
        for sample in range(samples)
    ]


def by_request(rollouts: Iterable[Rollout]) -> dict[tuple[str, int], Rollout]:
    return {(r.problem_id, r.sample): dataclasses.replace(r, seconds=0.0) for r in rollouts}


def test_the_batch_size_changes_nothing(demo: Model) -> None:
    wanted = requests(demo, 12, samples=2)
    expected = by_request(demo.generate(wanted, SAMPLED, max_batch=1))
    assert len(expected) == 24
    for size in (2, 7, 64):
        assert by_request(demo.generate(wanted, SAMPLED, max_batch=size)) == expected


def test_the_order_and_the_neighbours_change_nothing(demo: Model) -> None:
    wanted = requests(demo, 10)
    expected = by_request(demo.generate(wanted, SAMPLED, max_batch=5))
    assert by_request(demo.generate(wanted[::-1], SAMPLED, max_batch=5)) == expected
    alone = by_request(demo.generate(wanted[3:4], SAMPLED, max_batch=5))
    assert alone.items() <= expected.items()


def test_another_seed_gives_another_answer_and_the_same_seed_the_same(demo: Model) -> None:
    (request,) = requests(demo, 1)
    hot = dataclasses.replace(SAMPLED, temperature=1.5, remasking="static")
    texts = {next(demo.generate([dataclasses.replace(request, seed=seed)], hot)).text for seed in range(6)}
    assert len(texts) > 1
    again = [next(demo.generate([dataclasses.replace(request, seed=0)], hot)).token_ids for _ in range(2)]
    assert again[0] == again[1]


def replay(model: Model, rollout: Rollout) -> list[float]:
    """Recompute every log-probability from the record alone: one uncached forward pass per denoising step."""
    prompt, response = list(rollout.prompt_ids), list(rollout.token_ids)
    out = [0.0] * len(response)
    for step in range(max(rollout.step_map) + 1):
        now = [i for i, s in enumerate(rollout.step_map) if s == step]
        block = (len(prompt) + now[0]) // rollout.block_size
        end = (block + 1) * rollout.block_size
        shown = [t if s < step else model.checkpoint.mask_id for t, s in zip(response, rollout.step_map, strict=True)]
        ids = (prompt + shown)[:end]
        positions = torch.arange(end).unsqueeze(0)
        mask = block_causal(positions, positions, rollout.block_size).unsqueeze(1)
        with torch.inference_mode():
            logits = model.network(input_ids=torch.tensor([ids]), position_ids=positions, attention_mask=mask).logits[0]
        logprobs = logits.log_softmax(-1)
        for i in now:
            out[i] = logprobs[len(prompt) + i, response[i]].item()
    return out


@pytest.mark.parametrize("remainder", range(4))
def test_the_record_reproduces_its_log_probabilities(demo: Model, remainder: int) -> None:
    request = next(r for r in requests(demo, 40) if len(r.prompt_ids) % 4 == remainder)
    rollout = next(demo.generate([request], dataclasses.replace(SAMPLED, temperature=1.2)))
    assert rollout.block_offset == remainder
    assert replay(demo, rollout) == pytest.approx(rollout.logprobs, abs=1e-4)


def test_a_stop_token_ends_the_response_and_is_not_in_its_text(demo: Model) -> None:
    rollouts = list(demo.generate(requests(demo, 8), SAMPLED))
    assert {r.finish for r in rollouts} == {"stop"}
    for rollout in rollouts:
        stops = [i for i, token in enumerate(rollout.token_ids) if token in demo.checkpoint.stop_ids]
        assert rollout.length == stops[0] + 1
        assert "<|" not in rollout.text
        assert rollout.text.startswith(demo.tokenizer.decode(rollout.token_ids[:3]))


def test_an_answer_begun_in_the_prompt_is_gone_on_with(demo: Model) -> None:
    asked = Message("user", "What is 2 plus 3?")
    text = demo.tokenizer.decode(demo.encode((asked, Message("assistant", "The sum is"))))
    assert text == demo.tokenizer.decode(demo.encode((asked,))) + "The sum is"


def test_a_stop_token_in_the_prompt_does_not_end_the_response(demo: Model) -> None:
    turns = [Message("user", "2+2"), Message("assistant", "4"), Message("user", "3+3")]
    ids = demo.encode(turns)
    assert set(ids) & set(demo.checkpoint.stop_ids)
    assert next(demo.generate([Request("p", 0, ids, 0)], SAMPLED)).length > 0


def test_the_length_limit_is_exact_though_decoding_fills_the_block(demo: Model) -> None:
    (request,) = requests(demo, 1)
    for limit in (1, 3, 5):
        rollout = next(demo.generate([request], dataclasses.replace(SAMPLED, max_new_tokens=limit)))
        assert (rollout.length, rollout.finish) == (limit, "length")
        assert (len(request.prompt_ids) + len(rollout.token_ids)) % 4 == 0
        assert demo.tokenizer.decode(rollout.token_ids[:limit]) == rollout.text


def test_a_stop_string_cuts_the_text_before_it(demo: Model) -> None:
    (request,) = requests(demo, 1)
    rollout = next(demo.generate([request], dataclasses.replace(SAMPLED, stop=("answer",))))
    assert rollout.finish == "stop"
    assert "answer" not in rollout.text
    assert demo.tokenizer.decode(rollout.token_ids[: rollout.length]).endswith("answer")


def test_a_prompt_beyond_the_context_is_an_error_of_that_request_only(demo: Model) -> None:
    long = Request("long", 0, (5,) * (demo.context + 1), 0)
    results = {r.problem_id: r for r in demo.generate([long, *requests(demo, 2)], SAMPLED)}
    assert len(results) == 3
    assert results["long"].finish == "error"
    assert "context" in results["long"].detail
    assert results["long"].text == ""


def test_the_mask_token_is_never_in_a_response(demo: Model) -> None:
    wild = dataclasses.replace(SAMPLED, temperature=50.0, max_new_tokens=200)
    rollout = next(demo.generate(requests(demo, 1), wild))
    assert demo.checkpoint.mask_id not in rollout.token_ids
    assert max(rollout.token_ids) < len(demo.tokenizer)


STATIC = dataclasses.replace(SAMPLED, remasking="static", steps_per_block=4)


def test_passes_are_counted_apart(demo: Model) -> None:
    rollout = next(demo.generate(requests(demo, 1), STATIC, fuse=False))
    passes = rollout.forward_passes
    assert passes.denoise == max(rollout.step_map) + 1 == len(rollout.token_ids)
    assert passes.cache == len(rollout.token_ids) // 4 + bool(rollout.block_offset)
    assert passes.prefill == 1


def test_fused_passes_change_no_token_and_are_not_counted_twice(demo: Model) -> None:
    fused, plain = (next(demo.generate(requests(demo, 1), STATIC, fuse=fuse)) for fuse in (True, False))
    assert (fused.token_ids, fused.logprobs, fused.step_map) == (plain.token_ids, plain.logprobs, plain.step_map)
    assert fused.forward_passes.total == fused.forward_passes.denoise == plain.forward_passes.denoise


def test_samples_of_one_prompt_share_its_prefill(demo: Model) -> None:
    prompt = requests(demo, 1)[0].prompt_ids
    alone = [next(demo.generate([Request("p", i, prompt, i)], SAMPLED)) for i in range(5)]
    together = sorted(demo.generate([Request("p", i, prompt, i) for i in range(5)], SAMPLED, max_batch=2), key=lambda r: r.sample)
    assert [r.token_ids for r in alone] == [r.token_ids for r in together]
    assert [r.logprobs for r in alone] == [r.logprobs for r in together]


@pytest.mark.parametrize(
    ("changes", "names"),
    [({"block_size": 3}, "blocks of 4"), ({"block_size": 4096}, "context"), ({"steps_per_block": 5}, "at most 4 steps")],
)
def test_a_setting_the_model_does_not_allow_is_refused(demo: Model, changes: dict[str, int], names: str) -> None:
    with pytest.raises(InputError, match=names):
        demo.resolve(dataclasses.replace(SAMPLED, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("block_size", [1, 2, 8])
def test_divisors_and_multiples_of_the_trained_block_size_work(demo: Model, block_size: int) -> None:
    decode = dataclasses.replace(SAMPLED, block_size=block_size, max_new_tokens=16)
    rollout = next(demo.generate(requests(demo, 1), decode))
    assert (len(rollout.prompt_ids) + len(rollout.token_ids)) % block_size == 0


def test_a_rollout_survives_writing_and_reading(demo: Model) -> None:
    rollout = next(demo.generate(requests(demo, 1), SAMPLED))
    assert decode(Rollout, encode(rollout), "here") == rollout


def test_the_cache_gives_the_logits_of_full_recomputation(demo: Model) -> None:
    ids = torch.randint(4, 300, (48,), generator=torch.Generator().manual_seed(0))
    denoiser = BlockDenoiser(demo.network, 4, rows=3)
    denoiser.prefill(0, ids[:16].tolist())
    for start in range(16, 48, 4):
        noisy = torch.full((1, 4), demo.checkpoint.mask_id)
        open_block = torch.tensor([False])
        denoiser.run(torch.tensor([start]), noisy, open_block)  # leaves nothing behind
        logits = denoiser.logits(denoiser.run(torch.tensor([start]), ids[None, start : start + 4], open_block))
        positions = torch.arange(start + 4).unsqueeze(0)
        mask = block_causal(positions, positions, 4).unsqueeze(1)
        with torch.inference_mode():
            full = demo.network(input_ids=ids[None, : start + 4], position_ids=positions, attention_mask=mask).logits
        assert torch.allclose(logits[0], full[0, -4:], atol=1e-4)
