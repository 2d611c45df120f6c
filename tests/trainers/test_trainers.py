"""The trainers as the loop sees them: samples in, a changed network and metrics out, state that can be saved and restored."""

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from unmask.harness.models.model import Model
from unmask.harness.records import Sample
from unmask.rewards.errors import InputError
from unmask.rewards.plugins import load_object
from unmask.rewards.records import Message, StepReward, Verdict
from unmask.trainers.base import TRAINERS
from unmask.trainers.curriculum import widen
from unmask.trainers.metrics import Meter
from unmask.trainers.sft import SFT, supervised
from unmask.trainers.tracerl import TraceRL

from .conftest import block_rollouts, judged, rollouts_of

FAMILIES = ["sdar", "dream", pytest.param("llada", marks=pytest.mark.slow)]
SETTINGS = [
    ("tracerl", {}),
    ("tracerl", {"value": "separate", "value_lr": 1e-3}),
    ("tracerl", {"value": "shared", "value_lr": 1e-3}),
    ("random-mask", {}),
    ("coupled", {"match": "compute"}),
    ("rft", {}),
    ("sft", {"views": "semi-ar"}),
    ("sft", {"views": "random", "inverse_t": True}),
    ("sft", {"views": "trace", "collect": True}),
]


def make(name: str, model: Model, options: dict[str, Any], total: int = 10) -> Any:
    kind: Any = load_object(name, "unmask.trainers", TRAINERS)
    return kind(model, options, total)


def group(model: Model, seed: int = 0) -> list[Sample]:
    """Two groups of three with unequal rewards, one group of equal ones, and a response that could not be judged."""
    rollouts = rollouts_of(model, [4, 4, 4, 7, 7, 7, 5, 5, 6], seed)
    rewards = [1.0, 0.0, 0.0, 0.5, 1.0, 0.0, 1.0, 1.0, None]
    problems = ["a", "a", "a", "b", "b", "b", "c", "c", "b"]
    return [judged(r, reward, problem) for r, reward, problem in zip(rollouts, rewards, problems, strict=True)]


def weights(model: Model) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.network.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def likelihood(trainer: Any, samples: Sequence[Sample]) -> float:
    """The mean log-probability of the samples' tokens in TraceRL's contexts."""
    scorer = TraceRL(trainer.model, {"shrink": 1}, 1)
    from unmask.trainers.traces import trace_of

    traces = [trace_of(sample.rollout, scorer.engine.layout) for sample in samples]
    work = scorer.engine.pack(traces, [scorer.views(s, t) for s, t in zip(samples, traces, strict=True)])
    return float(scorer.engine.logprobs(trainer.model.network, work).mean())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_good_responses_become_likelier_than_bad_ones(
    tiny: Callable[..., Model], family: str, name: str, options: dict[str, Any]
) -> None:
    model = tiny(family, torch.float32)
    samples = group(model)[:3]
    trainer = make(name, model, {"lr": 1e-3, **options})
    before = likelihood(trainer, samples[:1]) - likelihood(trainer, samples[1:])
    for _ in range(4):
        metrics = trainer.step(samples if name != "sft" else samples[:1])
    after = likelihood(trainer, samples[:1]) - likelihood(trainer, samples[1:])
    assert after > before + 0.01
    assert all(math.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_a_restored_trainer_goes_on_exactly(tiny: Callable[..., Model], name: str, options: dict[str, Any]) -> None:
    options = {"lr": 1e-3, "schedule": "cosine", "warmup": 2, **options}
    model = tiny("sdar", torch.float32)
    samples = [group(model, seed) for seed in range(3)]
    trainer = make(name, model, options)
    trainer.step(samples[0])
    trainer.step(samples[1])
    state, kept = copy.deepcopy(trainer.state_dict()), weights(model)
    expected = trainer.step(samples[2])
    after = weights(model)

    other = tiny("sdar", torch.float32, seed=1)
    restored = make(name, other, options)
    other.network.load_state_dict(kept)
    restored.load_state_dict(state)
    assert restored.step(samples[2]) == expected
    assert same(weights(other), after)


def test_the_same_seed_gives_the_same_update(tiny: Callable[..., Model]) -> None:
    results = []
    for _ in range(2):
        model = tiny("sdar", torch.float32)
        trainer = make("random-mask", model, {"lr": 1e-3, "minibatches": 2, "epochs": 2})
        results.append((trainer.step(group(model)), weights(model)))
    assert results[0][0] == results[1][0]
    assert same(results[0][1], results[1][1])


@pytest.mark.parametrize(("minibatches", "value"), [(1, "none"), (2, "none"), (1, "separate"), (2, "shared")])
def test_a_loss_that_is_not_finite_changes_nothing(
    tiny: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, minibatches: int, value: str
) -> None:
    model = tiny("sdar", torch.float32)
    samples = group(model)
    trainer = make("tracerl", model, {"lr": 1e-3, "minibatches": minibatches, "value": value})
    trainer.step(samples)
    kept, state = weights(model), copy.deepcopy(trainer.state_dict())
    loss: Any = type(trainer)._loss
    calls: list[int] = []

    def poisoned(self: Any, *arguments: Any) -> Any:
        calls.append(1)
        return loss(self, *arguments) * (float("nan") if len(calls) == minibatches else 1.0)

    monkeypatch.setattr(type(trainer), "_loss", poisoned)
    with pytest.raises(FloatingPointError, match="loss is not finite"):
        trainer.step(samples)
    assert same(weights(model), kept)
    assert all(parameter.grad is None for parameter in model.network.parameters())
    monkeypatch.undo()
    expected = trainer.step(samples)
    other = tiny("sdar", torch.float32)
    other.network.load_state_dict(kept)
    again = make("tracerl", other, {"lr": 1e-3, "minibatches": minibatches, "value": value})
    again.load_state_dict(state)
    assert again.step(samples) == expected
    assert same(weights(other), weights(model))


def test_a_gradient_that_is_not_finite_changes_nothing(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    trainer = make("tracerl", model, {"lr": 1e-3})
    kept = weights(model)
    handle = model.network.lm_head.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(FloatingPointError, match="gradient is not finite"):
        trainer.step(group(model))
    handle.remove()
    assert same(weights(model), kept)


def test_metrics_of_a_step(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    samples = group(model)
    metrics = make("tracerl", model, {"lr": 1e-3, "value": "separate"}).step(samples)
    assert metrics["samples"] == 9
    assert metrics["unjudged"] == 1
    assert metrics["groups"] == 3
    assert metrics["groups_kept"] == 2
    assert metrics["reward"] == pytest.approx(4.5 / 8)
    assert metrics["accuracy"] == pytest.approx(5 / 9)
    assert metrics["overlength"] == sum(s.rollout.finish == "length" for s in samples) / 9
    assert metrics["tokens_trained"] == sum(s.rollout.length for s in samples[:8])
    assert metrics["gap_max"] < 1e-4
    assert metrics["clip_fraction"] == 0.0
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-9)
    assert metrics["entropy"] > 0.1
    assert metrics["grad_norm"] > 0
    assert metrics["explained_variance"] == pytest.approx(0.0)
    assert metrics["lr"] == 1e-3


def test_groups_without_a_signal_cost_nothing(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    kept = weights(model)
    trainer = make("tracerl", model, {"lr": 1e-3})
    metrics = trainer.step([judged(rollout, 1.0, "a") for rollout in block_rollouts(model, [4, 4])])
    assert metrics["tokens_forwarded"] == metrics["updates"] == metrics["groups_kept"] == 0
    assert same(weights(model), kept)
    assert trainer.step([])["samples"] == 0


def test_overlong_responses_can_be_left_out(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    rollouts = block_rollouts(model, [4, 4, 4], tokens=8)
    assert {rollout.finish for rollout in rollouts} == {"length"}
    samples = [judged(rollout, float(i), "a") for i, rollout in enumerate(rollouts)]
    assert make("tracerl", model, {"overlength": "mask"}).step(samples)["groups"] == 0
    assert make("tracerl", model, {"overlength": "penalise"}).step(samples)["groups_kept"] == 0
    assert make("tracerl", model, {}).step(samples)["groups_kept"] == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["random-mask", "coupled"])
@pytest.mark.parametrize("share", ["block", "sequence"])
def test_matched_compute_forwards_exactly_the_tokens_of_tracerl(
    tiny: Callable[..., Model], family: str, name: str, share: str
) -> None:
    model = tiny(family, torch.float32)
    samples = group(model)
    shrink = 1 if family == "sdar" else 2
    expected = make("tracerl", model, {"shrink": shrink}).step(samples)["tokens_forwarded"]
    metrics = make(name, model, {"match": "compute", "shrink": shrink, "share": share}).step(samples)
    assert metrics["tokens_forwarded"] == expected > 0


def test_masks_are_drawn_anew_in_every_step(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    sample = group(model)[0]
    trainer = make("random-mask", model, {})
    from unmask.trainers.traces import trace_of

    trace = trace_of(sample.rollout, trainer.engine.layout)
    first, again = trainer.views(sample, trace), trainer.views(sample, trace)
    trainer.steps_done += 1
    later = trainer.views(sample, trace)
    assert torch.equal(first.masked, again.masked)
    assert first.masked.shape != later.masked.shape or not torch.equal(first.masked, later.masked)


def test_blocks_of_several_sizes_do_not_share_an_update(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    samples = group(model)
    with pytest.raises(InputError, match=r"blocks of \[4, 8\]"):
        make("tracerl", model, {}).step([widen(samples[0], 8), *samples[1:]])


def test_several_updates_per_step_clip(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    metrics = make("tracerl", model, {"lr": 3e-3, "minibatches": 2, "epochs": 3}).step(group(model))
    assert metrics["updates"] == 6
    assert metrics["clip_fraction"] > 0
    assert metrics["kl"] > 0
    assert metrics["gap_max"] < 1e-4, "the gap is measured with the weights that sampled"


def test_the_reference_holds_the_policy_back(tiny: Callable[..., Model]) -> None:
    moved = {}
    samples = group(tiny("sdar", torch.float32))[:3]
    for coefficient in (0.0, 100.0):
        model = tiny("sdar", torch.float32)
        kept = weights(model)
        trainer = make("tracerl", model, {"lr": 1e-3, "kl": "reference", "kl_coef": coefficient})
        for _ in range(5):
            metrics = trainer.step(samples)
        moved[coefficient] = metrics["kl"]
        assert not same(weights(model), kept)
    assert moved[100.0] < moved[0.0] / 2


def test_process_rewards_reach_the_tokens_before_them(tiny: Callable[..., Model]) -> None:
    """Outcomes are equal; only the parts tell the responses apart."""
    model = tiny("sdar", torch.float32)
    samples = [judged(rollout, 1.0, "a") for rollout in block_rollouts(model, [4, 4])]

    class WithProcess(TraceRL):
        def token_rewards(self, sample: Sample) -> list[float]:
            return [0.0] * (sample.rollout.length - 1) + [1.0 if sample.rollout.sample == 0 else -1.0]

    trainer = WithProcess(model, {"lr": 1e-3, "process": "add"}, 10)
    before = likelihood(trainer, samples[:1]) - likelihood(trainer, samples[1:])
    for _ in range(3):
        trainer.step(samples)
    assert likelihood(trainer, samples[:1]) - likelihood(trainer, samples[1:]) > before
    assert TraceRL(model, {"process": "ignore"}, 10).step(samples)["updates"] == 0


@pytest.mark.parametrize("value", ["none", "separate"])
def test_the_parts_of_a_verdict_are_placed_and_the_rest_is_the_outcome(tiny: Callable[..., Model], value: str) -> None:
    model = tiny("sdar", torch.float32)
    samples = []
    for number, rollout in enumerate(block_rollouts(model, [4, 4])):
        text = model.tokenizer.decode(list(rollout.token_ids[: rollout.length]), skip_special_tokens=True)
        rollout = dataclasses.replace(rollout, text=text)
        parts = (StepReward(0, 3, 0.5 - number), StepReward(len(text) - 2, len(text), 0.0))
        verdict = Verdict(reward=1.5 - number, status="partial", step_rewards=parts)
        samples.append(dataclasses.replace(judged(rollout, 1.0, "a"), verdict=verdict))
    trainer = make("tracerl", model, {"process": "add", "value": value, "lr": 1e-3})
    lessons = trainer._lessons(samples, Meter())
    assert [lesson.reward for lesson in lessons] == [1.0, 1.0]
    assert [lesson.advantage for lesson in lessons] == [0.0, 0.0]
    spread = 1.0 if value == "none" else 0.5  # standardised within the group, where there is no other baseline
    assert [set(lesson.process.tolist()) - {0.0} for lesson in lessons] == [{spread}, {-spread}]
    before = likelihood(trainer, samples[:1]) - likelihood(trainer, samples[1:])
    trainer.step(samples)
    assert likelihood(trainer, samples[:1]) - likelihood(trainer, samples[1:]) != before


@pytest.mark.parametrize("family", ["sdar", *(pytest.param(name, marks=pytest.mark.slow) for name in ("llada", "dream"))])
def test_a_value_model_learns_what_responses_are_worth(tiny: Callable[..., Model], family: str) -> None:
    """The policy stands still (its learning rate is 0), so the same rewards can be explained better and better."""
    model = tiny(family, torch.float32)
    trainer = make("tracerl", model, {"lr": 0.0, "value": "separate", "value_lr": 1e-2, "value_clip": 10.0}, 60)
    samples = group(model)[:6]
    explained = [trainer.step(samples)["explained_variance"] for _ in range(16)]
    assert explained[0] == pytest.approx(0.0, abs=1e-6)
    assert explained[-1] > 0.5


def test_narrow_weights_are_not_rounded_away(tiny: Callable[..., Model]) -> None:
    """Steps of 1e-5 are below half a unit of bfloat16's last place for most weights; a float32 copy adds them up."""
    model = tiny("sdar", torch.bfloat16)
    trainer = make("tracerl", model, {"lr": 1e-5}, 100)
    samples = group(tiny("sdar", torch.float32))
    kept = weights(model)
    trainer.step(samples)
    changed = sum(int((a != b).sum()) for a, b in zip(kept.values(), weights(model).values(), strict=True))
    for _ in range(9):
        trainer.step(samples)
    later = sum(int((a != b).sum()) for a, b in zip(kept.values(), weights(model).values(), strict=True))
    assert later > 3 * changed


def test_frozen_weights_stay(tiny: Callable[..., Model]) -> None:
    """As LoRA has it: a few weights are trained, the others need no gradient."""
    model = tiny("sdar", torch.float32)
    for name, parameter in model.network.named_parameters():
        parameter.requires_grad_("q_proj" in name)
    kept = weights(model)
    make("tracerl", model, {"lr": 1e-3, "gradient_checkpointing": True}).step(group(model))
    changed = {name for name, weight in weights(model).items() if not torch.equal(weight, kept[name])}
    assert changed == {name for name in kept if "q_proj" in name}


def moved(samples: Sequence[Sample], by: float) -> list[Sample]:
    """The samples as if the sampler's log-probabilities had been higher by that much."""
    logprobs = [tuple(logprob + by for logprob in sample.rollout.logprobs) for sample in samples]
    rollouts = [dataclasses.replace(sample.rollout, logprobs=own) for sample, own in zip(samples, logprobs, strict=True)]
    return [dataclasses.replace(sample, rollout=rollout) for sample, rollout in zip(samples, rollouts, strict=True)]


@pytest.mark.parametrize("minibatches", [1, 2])
def test_the_gap_between_sampler_and_trainer_is_measured(tiny: Callable[..., Model], minibatches: int) -> None:
    model = tiny("sdar", torch.float32)
    metrics = make("tracerl", model, {"lr": 1e-3, "minibatches": minibatches}).step(moved(group(model), 0.3))
    assert metrics["gap_mean"] == pytest.approx(0.3, abs=1e-4)
    assert metrics["gap_max"] == pytest.approx(0.3, abs=1e-4)
    assert metrics["gap_k3"] == pytest.approx(math.exp(-0.3) - 1 + 0.3, abs=1e-4)


def test_the_sampler_can_be_the_old_policy(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    own = make("tracerl", model, {"lr": 0.0, "old": "sampler"}).step(group(model))
    assert own["clip_fraction"] == 0.0
    assert own["loss"] == pytest.approx(make("tracerl", model, {"lr": 0.0}).step(group(model))["loss"], abs=1e-4)
    other = make("tracerl", model, {"lr": 0.0, "old": "sampler"}).step(moved(group(model), 0.5))
    assert 0 < other["clip_fraction"] < 1, "the ratio is e^-0.5, which is clipped where the advantage is negative"


@pytest.mark.parametrize(("by", "factor"), [(0.3, math.exp(-0.3)), (-5.0, 2.0)])
def test_the_correction_weighs_by_a_truncated_ratio(tiny: Callable[..., Model], by: float, factor: float) -> None:
    """The gradient is that of the uncorrected loss times pi_trainer / pi_sampler, at most 2."""
    model = tiny("sdar", torch.float32)
    plain = make("tracerl", model, {"lr": 0.0, "kl": "none"}).step(group(model))
    options = {"lr": 0.0, "kl": "none", "correction": "truncated"}
    corrected = make("tracerl", model, options).step(moved(group(model), by))
    assert corrected["grad_norm"] == pytest.approx(factor * plain["grad_norm"], rel=1e-3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tracerl", {"learning_rate": 1.0}, "learning_rate"),
        ("tracerl", {"weights": "papr"}, "did you mean 'paper'"),
        ("tracerl", {"epochs": 0}, "'epochs': is 0"),
        ("tracerl", {"shrink": 2, "old": "sampler"}, "shrink: 1"),
        ("random-mask", {"correction": "truncated"}, "leave both at their defaults"),
        ("random-mask", {"lower": 0.0}, "'lower': is 0.0"),
        ("sft", {"views": "blocks"}, "'views'"),
    ],
)
def test_options_are_checked(tiny: Callable[..., Model], name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(name, tiny("sdar", torch.float32), options)


def test_sft_learns_an_answer_given_as_text(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    sample = supervised(model, "task", "p", [Message("user", "What is 2 + 3?")], "The answer is 5.")
    size = model.checkpoint.block_size
    assert size is not None
    assert (len(sample.rollout.prompt_ids) + len(sample.rollout.token_ids)) % size == 0
    trainer = SFT(model, {"lr": 3e-3}, 30)
    losses = [trainer.step([sample])["nll"] for _ in range(30)]
    assert sum(losses[-5:]) < sum(losses[:5]) / 2


def test_sft_fills_a_canvas_with_stops_and_trains_as_many_as_told(tiny: Callable[..., Model]) -> None:
    model = tiny("llada", torch.float32)
    sample = supervised(model, "task", "p", [Message("user", "2 + 3?")], "5", canvas=24)
    assert (len(sample.rollout.token_ids), sample.rollout.canvas) == (24, 24)
    counts = [SFT(model, {"views": "trace", "shrink": 1, "tail": tail}, 1).step([sample])["tokens_trained"] for tail in (0, 4)]
    assert counts == [sample.rollout.length, sample.rollout.length + 4]


def test_sft_masks_change_with_the_epoch(tiny: Callable[..., Model]) -> None:
    model = tiny("sdar", torch.float32)
    trainer = SFT(model, {"lr": 0.0}, 30)
    sample = group(model)[0]
    trained = {trainer.step([sample])["tokens_trained"] for _ in range(6)}
    assert len(trained) > 1


def test_wider_blocks_than_the_sampler_used_are_no_gap(tiny: Callable[..., Model]) -> None:
    """Rollouts of blocks of 4 trained as blocks of 8: other contexts, so their log-probabilities are not compared."""
    model = tiny("sdar", torch.float32)
    metrics = make("tracerl", model, {"lr": 1e-3}).step([widen(sample, 8) for sample in group(model)])
    assert metrics["updates"] == 1
    assert "gap_mean" not in metrics
