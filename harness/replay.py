"""Rebuilds, from a record alone, what the network saw in every denoising pass of a rollout: for trainers and for audits.

Pure functions on the record. A state holds the prompt and the part of the response that the pass ran on, masks where nothing was
fixed yet: all of the canvas for a model with full attention, the response up to the end of the open block for the others.
Approximate caches and guidance are not undone: with them the network saw something else besides (`Rollout.note`). Not covered:
DiffusionGemma, whose canvases hold no masks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..rewards.errors import InputError
from .records import Event, Rollout


@dataclass(frozen=True, slots=True)
class State:
    """The input of one step.

    `tokens` are prompt and visible response; the open block lies at `start` to `end` (absolute positions, the prompt's remainder
    included). `fixed` are the response positions that this step fixed for the first time, `events` what it changed besides.
    """

    step: int
    tokens: tuple[int, ...]
    start: int
    end: int
    fixed: tuple[int, ...]
    events: tuple[Event, ...]


def replay_states(rollout: Rollout, mask_id: int) -> Iterator[State]:
    """Yield the state before every step, in order. Raises InputError for a rollout without masks to replay.

    A step of the step map is a denoising pass, or the choice of a block's first token from the context alone (models that
    predict it left to right): such a step comes before the block's first pass and fixes that token only.
    """
    if rollout.decode.algorithm == "diffusion_gemma":
        raise InputError("a rollout of DiffusionGemma cannot be replayed: its canvases hold no masks")
    replay = _Replay(rollout, mask_id)
    for step in range(replay.steps):
        yield replay.before(step)
        replay.apply(step)


def state_before(rollout: Rollout, step: int, mask_id: int) -> State:
    """The state before one step. Raises InputError for a step that the rollout does not have."""
    for state in replay_states(rollout, mask_id):
        if state.step == step:
            return state
    raise InputError(f"{rollout.problem_id}: the rollout has no step {step}")


class _Replay:
    def __init__(self, rollout: Rollout, mask_id: int) -> None:
        self._rollout, self._mask_id = rollout, mask_id
        self._prompt = list(rollout.prompt_ids)
        # What was never fixed holds the mask, or what the request had put there from the start.
        self._response = [t if step < 0 else mask_id for t, step in zip(rollout.token_ids, rollout.step_map, strict=True)]
        self._by_step: dict[int, list[int]] = {}
        for position, step in enumerate(rollout.step_map):
            if step >= 0:
                self._by_step.setdefault(step, []).append(position)
        self._changes: dict[int, list[Event]] = {}
        for event in rollout.events:
            self._changes.setdefault(event.step, []).append(event)
        self._first = {event.position: event.old for event in reversed(rollout.events)}
        last = max((*self._by_step, *self._changes), default=-1)
        self.steps = max(rollout.forward_passes.denoise, last + 1)
        self._block = 0

    def before(self, step: int) -> State:
        start, end = self._open_block(step)
        prompt, canvas = len(self._prompt), self._rollout.canvas
        shown = canvas if canvas else end - prompt
        return State(
            step=step,
            tokens=(*self._prompt, *self._response[:shown]),
            start=start,
            end=end,
            fixed=tuple(self._by_step.get(step, ())),
            events=tuple(self._changes.get(step, ())),
        )

    def _open_block(self, step: int) -> tuple[int, int]:
        """Where the open block lies: what the step changed, else the block before it for editing, else the first with a mask."""
        rollout = self._rollout
        changed = [*self._by_step.get(step, ()), *(event.position for event in self._changes.get(step, ()))]
        if changed:
            self._block = (max(changed) + rollout.block_offset) // rollout.block_size
        elif rollout.decode.algorithm == "block" and self._mask_id in self._response:
            self._block = (self._response.index(self._mask_id) + rollout.block_offset) // rollout.block_size
        start = len(self._prompt) - rollout.block_offset + self._block * rollout.block_size
        return start, min(start + rollout.block_size, len(self._prompt) + len(self._response))

    def apply(self, step: int) -> None:
        for position in self._by_step.get(step, ()):
            self._response[position] = self._first.get(position, self._rollout.token_ids[position])
        for event in self._changes.get(step, ()):
            if event.position >= 0:
                self._response[event.position] = event.new
            else:
                self._prompt[event.position] = event.new
