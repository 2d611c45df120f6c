"""The loop for models whose open block sees nothing behind it: block-causal ones, and those with a causal context.

Sources: SDAR's `generate.py` and the sampler of TraceRL (arXiv 2509.06949, section 3). Blocks lie at absolute multiples of the
block size, so that the prompt's remainder shares the first one, or begin at the end of the prompt. A block is denoised until its
algorithm is done with it, then run once more to keep its keys and values: together with the first step of the next block
(`fuse`), or in a pass of its own, as those loops do. Sequences at different blocks share a forward pass, a finished one leaves at
once and the next request takes its row. A request's tokens depend on its prompt, seed and settings only.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import torch

from ...rewards.errors import InputError
from ..models.denoiser import BlockDenoiser
from ..records import DecodeConfig, Finish, ForwardPasses, Request
from .ending import Decoded, TokenRules, refusal
from .rows import Rows, Sequence, Watch
from .sampling import Sampler
from .usage import Usage


class BlockDecoder:
    """Decodes requests in completion order, up to `rows` at a time, none beyond `context` positions.

    `alignment` says where blocks begin; with `first_token` "ar" the first token of a block that holds none of the prompt is
    predicted left to right, from the context alone, which therefore has to be kept first: nothing is fused. With `cache` "none"
    every pass runs the whole context again: slow, and the same tokens, which is what it is there to show.
    """

    def __init__(
        self,
        denoiser: BlockDenoiser,
        tokens: TokenRules,
        decode: DecodeConfig,
        *,
        rows: int,
        context: int,
        alignment: Literal["absolute", "prompt_end"] = "absolute",
        first_token: Literal["model", "ar"] = "model",
        fuse: bool = True,
        usage: Usage | None = None,
    ) -> None:
        self._denoiser, self._tokens, self._decode, self._context = denoiser, tokens, decode, context
        self._aligned, self._seeded = alignment == "absolute", first_token == "ar"
        self._cached = decode.cache == "exact"
        self._fuse = (fuse and not self._seeded) or not self._cached
        self._usage = usage or Usage()
        self._longest = decode.max_new_tokens or context
        self._rows, self._limit = Rows(rows, denoiser.block_size, tokens.mask_id), rows
        self._waiting: deque[Request] = deque()
        self._sampler = Sampler(self._rows, tokens, decode)

    def run(self, requests: Iterable[Request | None], watch: Watch | None = None) -> Iterator[Decoded]:
        """Yield each request's result when it is done. A request that is None says that there is none right now."""
        pending = iter(requests)
        while True:
            yield from self._admit_all(pending)
            if self._rows.count == 0:
                return
            try:
                finished = self._pass()
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._halve()
                continue
            # From the last row down, so that filling a freed row with the last one never moves a row still to be looked at.
            for row in reversed(range(len(finished))):
                result = self._finish_block(row) if finished[row] else self._leave_early(row)
                if result is not None:
                    yield result
            if watch is not None:
                self._rows.tell(watch)

    def _admit_all(self, pending: Iterator[Request | None]) -> Iterator[Decoded]:
        """Take requests while there is room; one that must wait for room is the first to come in."""
        while self._rows.count < self._limit:
            request = self._waiting.popleft() if self._waiting else next(pending, None)
            if request is None:
                return
            sequence, start = self._sequence(request)
            if sequence.total <= len(request.prompt_ids):
                detail = f"the prompt has {len(request.prompt_ids)} tokens; the model's context is {self._context}"
                yield refusal(sequence, detail)
            elif self._denoiser.room(sequence.total, self._rows.count) <= self._rows.count:
                self._waiting.appendleft(request)
                return
            else:
                self._admit(sequence, start)

    def _sequence(self, request: Request) -> tuple[Sequence, int]:
        """A request's record to be, and where its first block begins."""
        size, prompt = self._denoiser.block_size, len(request.prompt_ids)
        longest = request.max_new_tokens or self._longest
        start = prompt // size * size if self._aligned else prompt
        blocks = min(-(-(prompt + longest - start) // size), (self._context - start) // size)
        return Sequence(request, start + blocks * size, np.random.Generator(np.random.Philox(request.seed)), longest), start

    def _admit(self, sequence: Sequence, start: int) -> None:
        ids = sequence.request.prompt_ids
        twin = next((row for row, other in enumerate(self._rows.sequences) if other.request.prompt_ids == ids), None)
        row = self._rows.add(sequence, start)
        sequence.prefill = int(start > 0 and not self._fuse)
        # A twin's last state has moved on with its blocks; where that predicts a token, each row reads its own prompt.
        if self._cached and twin is not None and not self._seeded and not self._denoiser.shift:
            self._denoiser.share(twin, row, start)
        elif self._cached:
            self._run_context(row)
        self._seed_block(row)

    def _halve(self) -> None:
        """Half as many sequences from now on. Those in work begin again: their tokens depend on their own seeds only."""
        count = self._rows.count
        if count <= 1:
            raise InputError(
                "out of memory with a single sequence; lower decode.max_new_tokens, or use another --device or --dtype"
            )
        self._waiting.extendleft(reversed(self._rows.clear()))
        self._limit = count // 2
        self._denoiser.reset(self._limit)

    def _run_context(self, row: int) -> None:
        """With the next pass, run everything before the open block of a row."""
        sequence, start = self._rows.sequences[row], int(self._rows.start[row])
        if start > 0:
            self._denoiser.prefill(row, [*sequence.request.prompt_ids, *sequence.tokens][:start])

    def _seed_block(self, row: int) -> None:
        if self._seeded and self._rows.start[row] > 0 and bool(self._rows.masked[row].all()):
            if not self._cached:
                self._run_context(row)
            self._denoiser.settle()
            self._sampler.first_token(row, self._denoiser.next_logits(row))

    def _pass(self) -> list[bool]:
        """One forward pass over all rows: a denoising step for open blocks, the cache write for finished ones.

        Returns which rows may leave their block.
        """
        rows, n = self._rows, self._rows.count
        if not self._cached:
            for row in range(n):
                self._run_context(row)
        done = rows.done[:n].clone()
        hidden = self._denoiser.run(rows.start[:n], rows.token[:n], done)
        self._count(n)
        open_rows = (~done).nonzero().squeeze(-1)
        if len(open_rows):
            self._sampler.step(open_rows, hidden, self._denoiser.logits)
        finished: list[bool] = (rows.done[:n] if self._fuse else done).tolist()
        return finished

    def _count(self, n: int) -> None:
        keys = int(self._rows.start[:n].sum()) + n * self._denoiser.block_size
        read, taken = keys * self._denoiser.plan.position_bytes, self._denoiser.cache_bytes
        self._usage.count(n, self._denoiser.row_count(n), read, taken)

    def _finish_block(self, row: int) -> Decoded | None:
        start, before = int(self._rows.start[row]), len(self._rows.sequences[row].tokens)
        sequence = self._rows.close(row)
        sequence.cache += not self._fuse
        more, full = start + self._denoiser.block_size < sequence.total, self._decode.full_length
        tokens = sequence.tokens[: sequence.longest]
        length = None if more and full else self._tokens.length_of(tokens, since=0 if full else before)
        if more and length is None:
            if self._fuse and self._cached:
                self._denoiser.keep(row, start, self._rows.token[row].clone())
            self._rows.advance(row)
            self._seed_block(row)
            return None
        return self._leave(row, length)

    def _leave_early(self, row: int) -> Decoded | None:
        """With `eos_early_stop`: leave when the stop and all before it are fixed. Later steps could not change what is kept."""
        if not self._decode.eos_early_stop or self._decode.algorithm != "block":
            return None
        length = self._tokens.length_of(self._rows.known(row)[: self._rows.sequences[row].longest])
        if length is None:
            return None
        self._rows.close(row)
        return self._leave(row, length)

    def _leave(self, row: int, length: int | None) -> Decoded:
        sequence = self._rows.sequences[row]
        last = self._rows.remove(row)
        if last != row:
            self._denoiser.move(last, row)
        finish: Finish = "length" if length is None else "stop"
        passes = ForwardPasses(sequence.prefill, sequence.denoise, sequence.cache)
        longest = min(len(sequence.tokens), sequence.longest)
        return Decoded(sequence.request, sequence, length or longest, finish, passes, time.monotonic() - sequence.started)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an error of its own; the CPU's allocator has only its words."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
