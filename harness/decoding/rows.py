"""The state of the sequences that are being decoded: one row each, tensors for what the model and the samplers read, lists for
what the record keeps. Knows nothing of models or of how tokens are chosen.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..records import Event, Request
from .steps import Memory, Outcome

Watch = Callable[[Request, Callable[[], list[int | None]]], None]
"""Is shown every request after every pass; the second argument gives its response so far, None where a mask stands."""

NEVER = -1
"""The step of a token that was never fixed."""


@dataclass(slots=True)
class Sequence:
    """The record of one row so far: what finished blocks decided, one entry per response token.

    `total` is where the last position lies, `longest` how many tokens the response may have. `steps` counts what the step map
    counts: denoising passes, and the choice of a first token from the context alone.
    """

    request: Request
    total: int
    random: np.random.Generator
    longest: int
    started: float = field(default_factory=time.monotonic)
    tokens: list[int] = field(default_factory=list)
    step_map: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    steps: int = 0
    prefill: int = 0
    denoise: int = 0
    cache: int = 0


class Rows:
    """Up to `capacity` rows; the first `count` are in use. All tensors are (capacity, ...) views of the open block.

    A block whose end lies beyond the row's `total` has positions that do not exist: they are neither masked nor response.
    """

    def __init__(self, capacity: int, block_size: int, mask_id: int) -> None:
        self.capacity, self.block_size, self.mask_id = capacity, block_size, mask_id
        self.count = 0
        self.sequences: list[Sequence] = []
        shape = (capacity, block_size)
        self.start = torch.zeros(capacity, dtype=torch.long)
        self.step = torch.zeros(capacity, dtype=torch.long)
        self.done = torch.zeros(capacity, dtype=torch.bool)
        self.token = torch.zeros(shape, dtype=torch.long)
        self.masked = torch.zeros(shape, dtype=torch.bool)
        self.response = torch.zeros(shape, dtype=torch.bool)
        self.fixed_at = torch.zeros(shape, dtype=torch.long)
        self.logprob = torch.zeros(shape)
        self.confidence = torch.zeros(shape)
        self.memory: Memory = {}

    def add(self, sequence: Sequence, start: int) -> int:
        """Open the first block of a sequence at `start`: what lies there of the prompt, then masks. Returns the row."""
        row, self.count = self.count, self.count + 1
        self.sequences.append(sequence)
        self._open(row, start)
        return row

    def advance(self, row: int) -> None:
        """Open the next block of a row, all masks."""
        self._open(row, int(self.start[row]) + self.block_size)

    def _open(self, row: int, start: int) -> None:
        sequence = self.sequences[row]
        known = sequence.request.prompt_ids[start:]
        self.start[row], self.step[row], self.done[row] = start, 0, False
        self.token[row], self.masked[row], self.response[row] = self.mask_id, True, True
        self.fixed_at[row], self.logprob[row], self.confidence[row] = NEVER, 0.0, 0.0
        if known:
            self.token[row, : len(known)] = torch.tensor(known[: self.block_size])
            self.masked[row, : len(known)] = self.response[row, : len(known)] = False
        if start + self.block_size > sequence.total:
            self.masked[row, sequence.total - start :] = self.response[row, sequence.total - start :] = False
        if sequence.request.fixed:
            self._fill(row, start)
        for tensor in self.memory.values():
            tensor[row] = 0

    def _fill(self, row: int, start: int) -> None:
        """Put in what the request has fixed of the block that opens at `start`; a block without a mask left is done."""
        request = self.sequences[row].request
        for position, token in request.fixed:
            place = len(request.prompt_ids) + position - start
            if 0 <= place < self.block_size and self.response[row, place]:
                self.token[row, place], self.masked[row, place] = token, False
        self.done[row] = not bool(self.masked[row].any())

    def apply(self, rows: Tensor, outcome: Outcome, *, denoised: bool = True) -> None:
        """Write the outcome of a step of `rows` (n,), and log what it changes of tokens that were fixed before."""
        chosen, masked = outcome.write, self.masked[rows]
        was_fixed = (self.fixed_at[rows] != NEVER) | ~self.response[rows]
        changed = (chosen & was_fixed & (masked | (outcome.token != self.token[rows]))) | outcome.remask
        if changed.any():
            self._log(rows, changed, outcome)
        step = torch.tensor([self.sequences[row].steps for row in rows.tolist()]).unsqueeze(1)
        self.fixed_at[rows] = torch.where(chosen & ~was_fixed, step, self.fixed_at[rows])
        for target, value in (
            (self.token, outcome.token),
            (self.logprob, outcome.logprob),
            (self.confidence, outcome.confidence),
        ):
            target[rows] = torch.where(chosen, value, target[rows])
        self.token[rows] = torch.where(outcome.remask, self.mask_id, self.token[rows])
        self.masked[rows] = (masked & ~chosen) | outcome.remask
        self.done[rows] = outcome.done
        self.step[rows] += int(denoised)
        for row in rows.tolist():
            self.sequences[row].steps += 1
            self.sequences[row].denoise += int(denoised)

    def remember(self, rows: Tensor, memory: Memory) -> None:
        """Keep what a step left behind for the next step of the same rows."""
        for name, value in memory.items():
            if name not in self.memory:
                self.memory[name] = value.new_zeros((self.capacity, *value.shape[1:]))
            self.memory[name][rows.to(value.device)] = value

    def recalled(self, rows: Tensor) -> Memory:
        """What earlier steps of the open block of `rows` left behind."""
        return {name: value[rows.to(value.device)] for name, value in self.memory.items()}

    def _log(self, rows: Tensor, changed: Tensor, outcome: Outcome) -> None:
        for index, offset in changed.nonzero().tolist():
            row = int(rows[index])
            sequence = self.sequences[row]
            position = int(self.start[row]) + offset - len(sequence.request.prompt_ids)
            old, again = int(self.token[row, offset]), bool(self.masked[row, offset])
            if outcome.remask[index, offset]:
                sequence.events.append(Event(sequence.steps, position, old, self.mask_id, "remask"))
            else:
                new = int(outcome.token[index, offset])
                sequence.events.append(Event(sequence.steps, position, old, new, "unmask" if again else "edit"))

    def known(self, row: int) -> list[int]:
        """The response up to the first mask: finished blocks, and what the open one has fixed without a gap."""
        masked = self.masked[row] & self.response[row]
        end = int(masked.int().argmax()) if masked.any() else self.block_size
        return self.sequences[row].tokens + self.token[row, :end][self.response[row, :end]].tolist()

    def shown(self, row: int) -> list[int | None]:
        """The response as far as it is opened, None where a mask still stands."""
        exists = self.response[row]
        tokens, masked = self.token[row, exists].tolist(), self.masked[row, exists].tolist()
        return self.sequences[row].tokens + [None if mask else token for token, mask in zip(tokens, masked, strict=True)]

    def tell(self, watch: Watch) -> None:
        """Let somebody look at every row."""
        for row, sequence in enumerate(self.sequences):
            watch(sequence.request, partial(self.shown, row))

    def close(self, row: int) -> Sequence:
        """Move the open block of a row into its record and return the record."""
        sequence = self.sequences[row]
        place = row if self.response[row].all() else (row, self.response[row])
        sequence.tokens += self.token[place].tolist()
        sequence.step_map += self.fixed_at[place].tolist()
        sequence.logprobs += rounded(self.logprob[place])
        sequence.confidences += rounded(self.confidence[place])
        return sequence

    def clear(self) -> list[Request]:
        """Free all rows; returns their requests."""
        requests = [sequence.request for sequence in self.sequences]
        self.count, self.sequences = 0, []
        return requests

    def remove(self, row: int) -> int:
        """Free a row by moving the last one into it; returns the row that was moved."""
        last, self.count = self.count - 1, self.count - 1
        block = (self.token, self.masked, self.response, self.fixed_at, self.logprob, self.confidence)
        for tensor in (self.start, self.step, self.done, *block, *self.memory.values()):
            tensor[row] = tensor[last]
        self.sequences[row] = self.sequences[last]
        self.sequences.pop()
        return last


def rounded(values: Tensor) -> list[float]:
    """Six decimals: float32 holds no more for a log-probability, and records stay small."""
    return [round(value, 6) for value in values.tolist()]
