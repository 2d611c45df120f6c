"""The state of the sequences that are being decoded block by block: one row each, tensors for what the model and sampler
read, lists for what the record keeps. Knows nothing of models or of how tokens are chosen.
"""

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..records import Event, Request


@dataclass(slots=True)
class Sequence:
    """The record of one row so far: what finished blocks decided, one entry per response token."""

    request: Request
    total: int
    random: np.random.Generator
    started: float = field(default_factory=time.monotonic)
    tokens: list[int] = field(default_factory=list)
    step_map: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    denoise: int = 0
    cache: int = 0


class Rows:
    """Up to `capacity` rows; the first `count` are in use. All tensors are (capacity, ...) views of the open block."""

    def __init__(self, capacity: int, block_size: int, mask_id: int) -> None:
        self.capacity, self.block_size, self.mask_id = capacity, block_size, mask_id
        self.count = 0
        self.sequences: list[Sequence] = []
        shape = (capacity, block_size)
        self.start = torch.zeros(capacity, dtype=torch.long)
        self.step = torch.zeros(capacity, dtype=torch.long)
        self.token = torch.zeros(shape, dtype=torch.long)
        self.masked = torch.zeros(shape, dtype=torch.bool)
        self.fixed_at = torch.zeros(shape, dtype=torch.long)
        self.logprob = torch.zeros(shape)
        self.confidence = torch.zeros(shape)

    def add(self, sequence: Sequence) -> int:
        """Open the first block of a sequence: the prompt's remainder, then masks. Returns the row."""
        row, self.count = self.count, self.count + 1
        self.sequences.append(sequence)
        prompt = sequence.request.prompt_ids
        self._open(row, len(prompt) // self.block_size * self.block_size, prompt)
        return row

    def advance(self, row: int) -> None:
        """Open the next block of a row, all masks."""
        self._open(row, int(self.start[row]) + self.block_size, ())

    def _open(self, row: int, start: int, prompt: tuple[int, ...]) -> None:
        known = torch.tensor(prompt[start:], dtype=torch.long)
        self.start[row], self.step[row] = start, 0
        self.token[row], self.masked[row] = self.mask_id, True
        self.token[row, : len(known)], self.masked[row, : len(known)] = known, False

    def fix(self, rows: Tensor, chosen: Tensor, token: Tensor, logprob: Tensor, confidence: Tensor) -> None:
        """Write the chosen candidates of `rows` (n,); the other arguments are (n, B)."""
        step = torch.tensor([self.sequences[row].denoise for row in rows.tolist()]).unsqueeze(1)
        first = chosen & self.masked[rows]
        self._log_edits(rows, chosen & ~first & (token != self.token[rows]), token)
        self.fixed_at[rows] = torch.where(first, step, self.fixed_at[rows])
        for target, value in ((self.token, token), (self.logprob, logprob), (self.confidence, confidence)):
            target[rows] = torch.where(chosen, value, target[rows])
        self.masked[rows] &= ~chosen
        self.step[rows] += 1
        for row in rows.tolist():
            self.sequences[row].denoise += 1

    def _log_edits(self, rows: Tensor, edited: Tensor, token: Tensor) -> None:
        for index, offset in edited.nonzero().tolist():
            row = int(rows[index])
            sequence = self.sequences[row]
            position = int(self.start[row]) + offset - len(sequence.request.prompt_ids)
            old, new = int(self.token[row, offset]), int(token[index, offset])
            sequence.events.append(Event(sequence.denoise, position, old, new, "edit"))

    def close(self, row: int) -> Sequence:
        """Move the finished block of a row into its record and return the record."""
        sequence = self.sequences[row]
        skip = max(len(sequence.request.prompt_ids) - int(self.start[row]), 0)
        sequence.tokens += self.token[row, skip:].tolist()
        sequence.step_map += self.fixed_at[row, skip:].tolist()
        sequence.logprobs += rounded(self.logprob[row, skip:])
        sequence.confidences += rounded(self.confidence[row, skip:])
        return sequence

    def remove(self, row: int) -> int:
        """Free a row by moving the last one into it; returns the row that was moved."""
        last, self.count = self.count - 1, self.count - 1
        for tensor in (self.start, self.step, self.token, self.masked, self.fixed_at, self.logprob, self.confidence):
            tensor[row] = tensor[last]
        self.sequences[row] = self.sequences[last]
        self.sequences.pop()
        return last


def rounded(values: Tensor) -> list[float]:
    """Six decimals: float32 holds no more for a log-probability, and records stay small."""
    return [round(value, 6) for value in values.tolist()]
