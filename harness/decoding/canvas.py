"""The loop for models with full attention: the response is a canvas of masks that every pass sees whole.

Sources: LLaDA's `generate.py` (arXiv 2502.09992), Dream's `diffusion_generate` (arXiv 2508.15487), Fast-dLLM (arXiv 2505.22618),
dLLM-RL's samplers (arXiv 2509.06949). The canvas is filled block by block from the end of the prompt; one block as long as the
canvas is pure diffusion. Sequences share passes and leave when they are done.

A sequence also leaves once a stop and everything before it are fixed, where its algorithm never changes what is fixed: the tokens
kept are then final, and what the passes left out would have filled is cut off. Step map and pass count say what was run.
"""

import time
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..models.canvas import CanvasDenoiser
from ..records import DecodeConfig, Finish, ForwardPasses, Request
from .ending import Decoded, TokenRules, refusal
from .rows import NEVER, Rows, Sequence, Watch
from .sampling import Sampler


class CanvasDecoder:
    """Decodes requests in completion order, up to `rows` at a time, none beyond `context` positions."""

    def __init__(self, denoiser: CanvasDenoiser, tokens: TokenRules, decode: DecodeConfig, *, rows: int, context: int) -> None:
        self._denoiser, self._tokens, self._decode, self._context = denoiser, tokens, decode, context
        self._longest = decode.max_new_tokens or context
        self._rows = Rows(rows, denoiser.block_size, tokens.mask_id)
        self._canvas = torch.full((rows, 0), tokens.mask_id)
        self._sampler = Sampler(self._rows, tokens, decode)
        self._final = decode.algorithm == "block" and decode.overshoot == "clamp" and not decode.full_length

    def run(self, requests: Iterable[Request | None], watch: Watch | None = None) -> Iterator[Decoded]:
        """Yield each request's result when it is done. A request that is None says that there is none right now."""
        pending = iter(requests)
        while True:
            while self._rows.count < self._rows.capacity and (request := next(pending, None)) is not None:
                if (refused := self._admit(request)) is not None:
                    yield refused
            if self._rows.count == 0:
                return
            yield from self._pass()
            if watch is not None:
                self._rows.tell(watch)

    def _admit(self, request: Request) -> Decoded | None:
        size, prompt = self._denoiser.block_size, len(request.prompt_ids)
        longest = request.max_new_tokens or self._longest
        total = min(prompt + -(-longest // size) * size, self._context)
        sequence = Sequence(request, total, np.random.Generator(np.random.Philox(request.seed)), longest)
        if total <= prompt:
            return refusal(sequence, f"the prompt has {prompt} tokens; the model's context is {self._context}")
        row = self._rows.add(sequence, prompt)
        if total > self._canvas.shape[1]:
            self._canvas = torch.nn.functional.pad(self._canvas, (0, total - self._canvas.shape[1]), value=self._tokens.mask_id)
        self._canvas[row] = self._tokens.mask_id
        self._canvas[row, :prompt] = torch.tensor(request.prompt_ids)
        for position, token in request.fixed:
            if prompt + position < total:
                self._canvas[row, prompt + position] = token
        return None

    def _pass(self) -> Iterator[Decoded]:
        """One denoising pass over all rows."""
        rows, n = self._rows, self._rows.count
        everyone = torch.arange(n)
        tokens, lengths, starts = self._canvas[:n], self._lengths(), rows.start[:n]
        if self._decode.algorithm == "wino":
            self._checked_step(everyone, tokens, lengths, starts)
        else:
            hidden = self._hidden(everyone, tokens, lengths, starts)
            unguided = None
            if self._decode.guidance > 0:
                unguided = self._hidden(everyone, self._without_prompt(tokens), lengths, starts)
            self._sampler.step(everyone, hidden, self._denoiser.logits, unguided)
        self._write_back()
        for row in reversed(range(n)):
            result = self._finish(row)
            if result is not None:
                yield result

    def _hidden(self, rows: Tensor, tokens: Tensor, lengths: Tensor, starts: Tensor) -> Tensor:
        fresh = self._rows.step[rows] == 0
        return self._denoiser.run(*(value.to(self._denoiser.device) for value in (rows, tokens, lengths, starts, fresh)))

    def _checked_step(self, rows: Tensor, tokens: Tensor, lengths: Tensor, starts: Tensor) -> None:
        """WINO's pass: rows of one length at a time, with a shadow of the open block."""
        for length in sorted(set(lengths.tolist())):
            some = rows[lengths == length]
            ids, ends, begins = (value[some].to(self._denoiser.device) for value in (tokens, lengths, starts))
            hidden, shadow = self._denoiser.run_with_shadow(ids, ends, begins, self._tokens.mask_id)
            self._sampler.step(some, hidden, self._denoiser.logits, shadow=shadow)

    def _lengths(self) -> Tensor:
        return torch.tensor([sequence.total for sequence in self._rows.sequences])

    def _without_prompt(self, tokens: Tensor) -> Tensor:
        prompts = torch.tensor([len(sequence.request.prompt_ids) for sequence in self._rows.sequences])
        inside = torch.arange(tokens.shape[1]) < prompts.unsqueeze(1)
        return tokens.masked_fill(inside, self._tokens.mask_id)

    def _write_back(self) -> None:
        """Copy the open blocks into the canvases."""
        rows, n = self._rows, self._rows.count
        positions = rows.start[:n].unsqueeze(1) + torch.arange(rows.block_size)
        exists = rows.response[:n]
        row = torch.arange(n).unsqueeze(1).expand_as(positions)
        self._canvas[row[exists], positions[exists]] = rows.token[:n][exists]

    def _finish(self, row: int) -> Decoded | None:
        rows = self._rows
        done = bool(rows.done[row])
        if not done and not self._final:
            return None
        more = int(rows.start[row]) + rows.block_size < rows.sequences[row].total
        length = None
        if not (more and self._decode.full_length):
            length = self._tokens.length_of(rows.known(row)[: rows.sequences[row].longest])
        if not done and length is None:
            return None
        rows.close(row)
        if more and length is None:
            rows.advance(row)
            return None
        return self._leave(row, length)

    def _leave(self, row: int, length: int | None) -> Decoded:
        sequence = self._rows.sequences[row]
        canvas = sequence.total - len(sequence.request.prompt_ids)
        never = canvas - len(sequence.tokens)
        sequence.tokens += [self._tokens.mask_id] * never
        sequence.step_map += [NEVER] * never
        sequence.logprobs += [0.0] * never
        sequence.confidences += [0.0] * never
        last = self._rows.remove(row)
        if last != row:
            self._canvas[row] = self._canvas[last]
            self._denoiser.move(last, row)
        finish: Finish = "length" if length is None else "stop"
        passes = ForwardPasses(0, sequence.denoise, 0)
        longest = min(canvas, sequence.longest)
        seconds = time.monotonic() - sequence.started
        return Decoded(sequence.request, sequence, length or longest, finish, passes, seconds, canvas=canvas)
