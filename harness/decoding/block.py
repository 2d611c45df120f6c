"""The loop for models whose open block sees nothing behind it: block-causal ones, and those with a causal context.

Sources: SDAR's `generate.py` and the sampler of TraceRL (arXiv 2509.06949, section 3). Blocks lie at absolute multiples of the
block size, so that the prompt's remainder shares the first one, or begin at the end of the prompt. A block is denoised until its
algorithm is done with it, then run once more to keep its keys and values: together with the first step of the next block
(`fuse`), or in a pass of its own, as those loops do. Sequences at different blocks share a forward pass, a finished one leaves at
once and the next request takes its row. A request's tokens depend on its prompt, seed and settings only.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from ..models.denoiser import BlockDenoiser
from ..records import DecodeConfig, Finish, ForwardPasses, Request
from .ending import Decoded, TokenRules, refusal
from .rows import Rows, Sequence
from .sampling import Sampler


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
    ) -> None:
        self._denoiser, self._tokens, self._decode, self._context = denoiser, tokens, decode, context
        self._aligned, self._seeded = alignment == "absolute", first_token == "ar"
        self._cached = decode.cache == "exact"
        self._fuse = (fuse and not self._seeded) or not self._cached
        self._longest = decode.max_new_tokens or context
        self._rows = Rows(rows, denoiser.block_size, tokens.mask_id)
        self._sampler = Sampler(self._rows, tokens, decode)

    def run(self, requests: Iterable[Request]) -> Iterator[Decoded]:
        """Yield each request's result when it is done."""
        pending = iter(requests)
        exhausted = False
        while True:
            while not exhausted and self._rows.count < self._rows.capacity:
                request = next(pending, None)
                if request is None:
                    exhausted = True
                elif (refused := self._admit(request)) is not None:
                    yield refused
            if self._rows.count == 0:
                return
            yield from self._pass()

    def _admit(self, request: Request) -> Decoded | None:
        size, prompt = self._denoiser.block_size, len(request.prompt_ids)
        start = prompt // size * size if self._aligned else prompt
        blocks = min(-(-(prompt + self._longest - start) // size), (self._context - start) // size)
        sequence = Sequence(request, start + blocks * size, np.random.Generator(np.random.Philox(request.seed)))
        if sequence.total <= prompt:
            return refusal(sequence, f"the prompt has {prompt} tokens; the model's context is {self._context}")
        twin = next(
            (row for row, other in enumerate(self._rows.sequences) if other.request.prompt_ids == request.prompt_ids), None
        )
        row = self._rows.add(sequence, start)
        sequence.prefill = int(start > 0 and not self._fuse)
        # A twin's last state has moved on with its blocks; where that predicts a token, each row reads its own prompt.
        if self._cached and twin is not None and not self._seeded and not self._denoiser.shift:
            self._denoiser.share(twin, row, start)
        elif self._cached:
            self._run_context(row)
        self._seed_block(row)
        return None

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

    def _pass(self) -> Iterator[Decoded]:
        """One forward pass over all rows: a denoising step for open blocks, the cache write for finished ones."""
        rows, n = self._rows, self._rows.count
        if not self._cached:
            for row in range(n):
                self._run_context(row)
        # Fused, a block is left as soon as it is finished, so that none is here; else a pass of its own writes its cache.
        done = rows.done[:n].clone()
        open_rows = (~done).nonzero().squeeze(-1)
        device = self._denoiser.device
        hidden = self._denoiser.run(rows.start[:n].to(device), rows.token[:n].to(device), done.to(device))
        if len(open_rows):
            self._sampler.step(open_rows, hidden, self._denoiser.logits)
        # From the last row down, so that filling a freed row with the last one never moves a row still to be looked at.
        for row in reversed(range(n)):
            finished = rows.done[row] if self._fuse else done[row]
            result = self._finish_block(row) if finished else self._leave_early(row)
            if result is not None:
                yield result

    def _finish_block(self, row: int) -> Decoded | None:
        start = int(self._rows.start[row])
        sequence = self._rows.close(row)
        sequence.cache += not self._fuse
        more = start + self._denoiser.block_size < sequence.total
        length = None if more and self._decode.full_length else self._tokens.length_of(sequence.tokens[: self._longest])
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
        length = self._tokens.length_of(self._rows.known(row)[: self._longest])
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
        longest = min(len(sequence.tokens), self._longest)
        return Decoded(sequence.request, sequence, length or longest, finish, passes, time.monotonic() - sequence.started)
