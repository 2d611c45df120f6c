"""DiffusionGemma through transformers' own generate, with a streamer that records every step.

The model has no mask: a canvas of random tokens is refined as a whole, and what is emitted is the canvas of best guesses (argmax)
of the last step. The record says so in the form that edits have: the first step of a canvas fixes all of its tokens, and every
later change of a guess is an `edit` event. There is no log-probability of the tokens in closed form; `logprobs` are 0 and the
record's note says why. Requests run one by one, each with its own seed, so that a batch changes nothing.
"""

import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..records import DecodeConfig, Event, Finish, ForwardPasses, Request
from .ending import Decoded, TokenRules, refusal
from .rows import Sequence, Watch


class NativeDecoder:
    """Decodes requests one after the other with the network's own `generate`."""

    def __init__(self, network: Any, tokens: TokenRules, decode: DecodeConfig, *, canvas: int, context: int) -> None:
        self._network, self._tokens, self._decode = network, tokens, decode
        self._canvas, self._context = canvas, context
        self._longest = decode.max_new_tokens or canvas

    def run(self, requests: Iterable[Request | None], watch: Watch | None = None) -> Iterator[Decoded]:
        """Yield each request's result, one after the other; there is nothing to watch before it is there."""
        for request in requests:
            if request is not None:
                yield self._one(request)

    def _one(self, request: Request) -> Decoded:
        prompt, size = len(request.prompt_ids), self._canvas
        allowed = request.max_new_tokens or self._longest
        total = min(prompt + -(-allowed // size) * size, prompt + (self._context - prompt) // size * size)
        sequence = Sequence(request, total, np.random.Generator(np.random.Philox(request.seed)), allowed)
        if total <= prompt:
            return refusal(sequence, f"the prompt has {prompt} tokens; the model's context is {self._context}")
        streamer = DraftStreamer()
        output = self._generate(request, total - prompt, streamer)
        streamer.write(sequence, output)
        length = self._tokens.length_of(sequence.tokens[:allowed])
        finish: Finish = "length" if length is None else "stop"
        passes = ForwardPasses(1, sequence.denoise, len(streamer.canvases) - 1)
        longest = min(len(sequence.tokens), allowed)
        return Decoded(request, sequence, length or longest, finish, passes, time.monotonic() - sequence.started)

    def _generate(self, request: Request, new_tokens: int, streamer: "DraftStreamer") -> list[int]:
        from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig

        network, decode = self._network, self._decode
        stops = sorted(self._tokens.stop_ids)
        ends = {} if decode.full_length else {"eos_token_id": stops, "pad_token_id": stops[0]}
        devices = [network.device] if network.device.type == "cuda" else []
        ids = torch.tensor([request.prompt_ids], device=network.device)
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(request.seed)
            found = network.generate(
                ids,
                max_new_tokens=new_tokens,
                max_denoising_steps=decode.steps_per_block,
                sampler_config=EntropyBoundSamplerConfig(entropy_bound=decode.entropy_bound),
                stability_threshold=decode.stable_steps,
                confidence_threshold=decode.mean_entropy,
                streamer=streamer,
                **ends,
            )
        response: list[int] = found.sequences[0, len(request.prompt_ids) :].tolist()
        return response


class DraftStreamer:
    """What transformers calls with the best guesses of every denoising step (`put_draft`) and with every finished canvas."""

    def __init__(self) -> None:
        self.canvases: list[list[list[int]]] = []
        self._drafts: list[list[int]] = []
        self._prompt_seen = False

    def put(self, value: Tensor) -> None:
        """Take the prompt, then each finished canvas."""
        if self._prompt_seen:
            self.canvases.append(self._drafts)
            self._drafts = []
        self._prompt_seen = True

    def put_draft(self, value: Tensor) -> None:
        """Take the best guesses of a step, (1, canvas)."""
        self._drafts.append(value[0].tolist())

    def end(self) -> None:
        """The generation is over."""

    def write(self, sequence: Sequence, response: list[int]) -> None:
        """Write the drafts into a record: all tokens of a canvas fixed by its first step, every later change an edit."""
        for drafts in self.canvases:
            start, first = len(sequence.tokens), sequence.denoise
            for step, (before, after) in enumerate(pairwise(drafts), first + 1):
                changes = [(i, old, new) for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
                sequence.events += [Event(step, start + i, old, new, "edit") for i, old, new in changes]
            sequence.tokens += response[start : start + len(drafts[-1])]
            sequence.step_map += [first] * len(drafts[-1])
            sequence.denoise += len(drafts)
        sequence.steps = sequence.denoise
        sequence.logprobs = [0.0] * len(sequence.tokens)
        sequence.confidences = [0.0] * len(sequence.tokens)
