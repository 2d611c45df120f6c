"""A response in the order in which it was denoised: what every token reads after each step.

Tokens that make up one character together are one cell. Changes to fixed tokens (the record's events) are followed; the page of a
report does the same in JavaScript.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .records import Event, Rollout


class State(NamedTuple):
    """What a cell reads from a step on; `text` is None for a mask."""

    step: int
    text: str | None
    kind: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One token, or the tokens of one character. `extra` lies behind the end of the response."""

    text: str
    states: tuple[State, ...]
    confidence: float
    block: int
    extra: bool

    def at(self, done: int) -> State | None:
        """Its state after `done` steps; None before it was fixed."""
        reached = [state for state in self.states if state.step < done]
        return reached[-1] if reached else None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """All cells, and the number of steps."""

    cells: tuple[Cell, ...]
    steps: int


def trajectory(rollout: Rollout, pieces: Sequence[str], names: Sequence[tuple[str, str]]) -> Trajectory:
    """Build it from the text of each token, and of the old and new token of each event."""
    steps = 1 + max([*rollout.step_map, *(event.step for event in rollout.events)], default=-1)
    changes: dict[int, list[tuple[Event, str, str]]] = defaultdict(list)
    for event, (old, new) in zip(rollout.events, names, strict=True):
        changes[event.position].append((event, old, new))
    cells, first = [], 0
    for last, piece in enumerate(pieces):
        if piece or last == len(pieces) - 1:
            cells.append(_cell(rollout, first, last, piece, changes[last], steps))
            first = last + 1
    return Trajectory(tuple(cells), steps)


def _cell(rollout: Rollout, first: int, last: int, piece: str, changes: Sequence[tuple[Event, str, str]], steps: int) -> Cell:
    step = max(rollout.step_map[first : last + 1])
    original = changes[0][1] if changes and changes[0][0].kind != "insert" else piece
    states = [State(step, original, "fixed")]
    states += [State(event.step, None if event.kind == "remask" else new, event.kind) for event, _, new in changes]
    if states[-1].text is None:  # it was fixed once more before the end; the record does not say when
        states.append(State(steps - 1, piece, "edit"))
    block = (first + rollout.block_offset) // rollout.block_size
    confidence = min(rollout.confidences[first : last + 1])
    return Cell(piece, tuple(states), confidence, block, first >= rollout.length)
