"""Views of a trace: TraceRL's rounds, random masks, coupled masks, and traces that a model finds for a given answer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unmask.harness.models.model import Model
from unmask.trainers.collecting import collected
from unmask.trainers.curriculum import widen
from unmask.trainers.engine import Engine, EngineOptions
from unmask.trainers.masking import MaskRule, generator, matched_views, random_views, semi_autoregressive_views
from unmask.trainers.traces import GIVEN, NEVER, Trace, trace_of
from unmask.trainers.views import shrunk, trace_views

from .conftest import block_rollouts, full_rollouts, judged


def a_trace(prompt: int, steps: list[int], width: int, length: int | None = None, first: int | None = None) -> Trace:
    count = len(steps)
    start = prompt // width * width if first is None else first
    total = start + -(-(prompt + count - start) // width) * width
    fill = total - prompt - count
    return Trace(
        ids=torch.arange(100, 100 + total),
        steps=torch.tensor([GIVEN] * prompt + steps + [NEVER] * fill),
        trained=torch.tensor([False] * prompt + [i < (length or count) for i in range(count)] + [False] * fill),
        logprobs=torch.zeros(total),
        first=start,
        width=width,
        prompt=prompt,
        length=length or count,
    )


def test_steps_are_joined_within_their_window() -> None:
    windows = torch.tensor([[GIVEN, 3, 1, 3], [9, 7, NEVER, 8], [5, 5, 5, 5]])
    assert shrunk(windows, 1).tolist() == [[GIVEN, 1, 0, 1], [2, 0, NEVER, 1], [0, 0, 0, 0]]
    assert shrunk(windows, 2).tolist() == [[GIVEN, 0, 0, 0], [1, 0, NEVER, 0], [0, 0, 0, 0]]


@given(data=st.data(), width=st.sampled_from([2, 4, 5]), prompt=st.integers(1, 7), shrink=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_every_trained_token_is_a_target_once_and_sees_what_was_fixed_before(
    data: st.DataObject, width: int, prompt: int, shrink: int
) -> None:
    count = data.draw(st.integers(1, 12))
    steps = data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    trace = a_trace(prompt, steps, width, data.draw(st.integers(1, count)))
    views = trace_views(trace, shrink)
    seen: list[int] = []
    for start, masked, target in zip(views.start.tolist(), views.masked, views.target, strict=True):
        inside = range(start, start + width)
        own = [trace.steps[p].item() for p in inside]
        order = sorted({s for s in own if s not in (GIVEN, NEVER)})
        targets = [k for k in range(width) if target[k]]
        rank = order.index(own[targets[0]]) // shrink
        hidden = [s == NEVER or (s != GIVEN and order.index(s) // shrink >= rank) for s in own]
        assert masked.tolist() == hidden
        assert all(order.index(own[k]) // shrink == rank for k in targets)
        seen += [start + k for k in targets]
    assert sorted(seen) == trace.trained.nonzero().squeeze(1).tolist()


def test_larger_blocks_than_the_sampler_used_keep_its_order(tiny: Callable[..., Model]) -> None:
    """Block expansion: rollouts of blocks of 4, trained as blocks of 8; the half block at the end stays masked."""
    model = tiny("sdar")
    (rollout,) = block_rollouts(model, [6], tokens=5, block_size=4, steps_per_block=4)
    trace = trace_of(widen(judged(rollout, 1.0), 8).rollout, Engine(model, EngineOptions(), 1).layout)
    assert (trace.first, trace.width, len(trace.ids)) == (0, 8, 16)
    views = trace_views(trace)
    assert [int(target.sum()) for target in views.target] == [1] * rollout.length
    first, second = shrunk(trace.steps.view(-1, 8), 1).tolist()
    assert first[:6] == [GIVEN] * 6
    assert sorted(second[:4]) == [0, 1, 2, 3]
    assert second[4:] == [NEVER] * 4
    assert bool(views.masked[views.start == 8][:, 4:].all())


def test_masks_depend_on_the_seed_alone() -> None:
    trace = a_trace(3, list(range(17)), 4)
    rule = MaskRule()
    first, again, other = (random_views(trace, rule, generator(0, "task", "p", e), draws=2) for e in (0, 0, 1))
    assert torch.equal(first.masked, again.masked)
    assert not torch.equal(first.masked, other.masked)


@pytest.mark.parametrize("share", ["block", "sequence"])
def test_one_probability_per_block_gives_every_number_of_masks(share: Any) -> None:
    """The reference draws a threshold per token, which is a coin flip per token: 0.06, 0.25, 0.38, 0.25, 0.06."""
    counts = torch.zeros(5)
    trace = a_trace(4, list(range(400)), 4)
    for epoch in range(400):
        views = random_views(trace, MaskRule(share=share), generator(epoch), draws=1)
        counts += torch.bincount(views.target.sum(dim=-1), minlength=5)
        counts[0] += 100 - len(views)
    assert (counts / counts.sum()).tolist() == pytest.approx([0.148, 0.229, 0.246, 0.229, 0.148], abs=0.03)


def test_a_mask_and_its_complement_score_every_token_once() -> None:
    trace = a_trace(5, list(range(30)), 4, length=26)
    views = random_views(trace, MaskRule(coupled=True), generator(1), draws=3)
    scored = torch.zeros(len(trace.ids), dtype=torch.long)
    for start, target in zip(views.start.tolist(), views.target, strict=True):
        scored[start : start + 4] += target
    assert scored[trace.trained].tolist() == [3] * 26
    assert scored.sum() == 3 * 26


def test_the_inverse_of_t_weighs_what_is_drawn() -> None:
    trace = a_trace(4, list(range(8)), 4)
    rule = MaskRule(lower=0.25, upper=0.25, inverse_t=True, coupled=True)
    views = random_views(trace, rule, generator(2), draws=2)
    assert {round(float(scale), 4) for scale, row in zip(views.scale, views.row, strict=True) if row % 2 == 0} <= {4.0}
    assert {round(float(scale), 4) for scale, row in zip(views.scale, views.row, strict=True) if row % 2 == 1} <= {1.3333}


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_matched_views_are_exactly_as_many_as_asked(coupled: bool, count: int) -> None:
    trace = a_trace(5, list(range(30)), 4)
    assert len(matched_views(trace, MaskRule(coupled=coupled), generator(3), count=count)) == count


def test_what_follows_the_response_is_hidden_from_random_masks() -> None:
    trace = a_trace(4, list(range(8)), 4, length=5)
    views = random_views(trace, MaskRule(), generator(4), draws=20)
    last = views.start == 8
    assert bool(last.any())
    assert bool(views.masked[last][:, 1:].all())
    assert not bool(views.target[last][:, 1:].any())


def test_semi_autoregressive_views_hide_later_blocks_and_show_earlier_ones() -> None:
    trace = a_trace(3, list(range(12)), 12, length=10, first=3)
    views = semi_autoregressive_views(trace, MaskRule(), generator(5), draws=4, block_size=4)
    assert len(views) > 6
    for masked, target, row in zip(views.masked, views.target, views.row.tolist(), strict=True):
        block = row // 4
        assert not bool(masked[: 4 * block].any())
        assert bool(masked[4 * (block + 1) :].all())
        assert torch.equal(target, masked & (torch.arange(12) // 4 == block) & (torch.arange(12) < 10))


@pytest.mark.parametrize("family", ["sdar", "llada", "dream"])
def test_collected_traces_are_the_models_own_order(tiny: Callable[..., Model], family: str) -> None:
    """Greedy decoding records the order of its own choice; teacher forcing on its answer finds that order again."""
    model = tiny(family)
    if family == "sdar":
        rollouts = block_rollouts(model, [5, 8], tokens=12, temperature=0.0, steps_per_block=2)
    else:
        rollouts = full_rollouts(model, [5, 8], greedy=True)
    engine = Engine(model, EngineOptions(), 1)
    traces = [trace_of(rollout, engine.layout, tail=len(rollout.token_ids)) for rollout in rollouts]
    for trace, found in zip(traces, collected(engine, traces, 2), strict=True):
        known = trace.steps[trace.first :].view(-1, trace.width)
        order = shrunk(found.steps[trace.first :].view(-1, trace.width), 1)
        assert torch.equal(order[known != NEVER], shrunk(known, 1)[known != NEVER])
