"""The states of a recorded trajectory: what was fixed before a denoising step, and the text that came with it. Pure functions."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ...rewards.errors import InputError
from ...rewards.program_steps import spread
from ..records import Rollout
from ..replay import replay_states

Every = Literal["block", "step"]
"""Where states are looked at: when a block is finished, or behind every denoising step."""


class State(NamedTuple):
    """The trajectory when `step` steps are done: response positions and tokens that are fixed, as a request goes on from them.

    `fresh` are the positions of the response proper that were fixed since the state before.
    """

    step: int
    fixed: tuple[tuple[int, int], ...]
    fresh: tuple[int, ...]


def states_of(rollout: Rollout, mask_id: int, every: Every, points: int) -> list[State]:
    """At most `points` states spread evenly over the trajectory, the last one being its end. None for an empty response.

    Raises InputError for a rollout that cannot be replayed.
    """
    steps = rollout.step_map[: rollout.length]
    if not steps:
        return []
    end = max(steps) + 1
    cuts = spread(sorted({*(cut for cut in _cuts(rollout, every) if 0 < cut < end), end}), points)
    inputs = {
        state.step: state.tokens[len(rollout.prompt_ids) :] for state in replay_states(rollout, mask_id) if state.step in cuts
    }
    states, before = [], 0
    for cut in cuts:
        tokens = inputs.get(cut, rollout.token_ids if cut == end else ())
        fixed = tuple((place, token) for place, token in enumerate(tokens) if token != mask_id)
        fresh = tuple(place for place, step in enumerate(steps) if before <= step < cut)
        states.append(State(cut, fixed, fresh))
        before = cut
    return states


def start_of(rollout: Rollout) -> State:
    """The state before anything is fixed."""
    return State(0, (), ())


def _cuts(rollout: Rollout, every: Every) -> Sequence[int]:
    """Numbers of steps after which a state is looked at."""
    if every == "step":
        return range(1, max(rollout.step_map) + 1)
    size, offset = rollout.block_size, rollout.block_offset
    last: dict[int, int] = {}
    for place, step in enumerate(rollout.step_map):
        block = (place + offset) // size
        last[block] = max(last.get(block, 0), step + 1)
    return sorted(last.values())


def check_replayable(rollout: Rollout) -> None:
    """Raise InputError for a rollout whose continuation would not be the sampler's own."""
    if rollout.decode.algorithm == "diffusion_gemma":
        raise InputError("a rollout of DiffusionGemma has no states to go on from: its canvases hold no masks")
