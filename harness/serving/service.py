"""From a request's body to its answer: asks are checked and tokenised, go through the engine, and come back as JSON or events.

Knows OpenAI's forms and the engine, nothing of HTTP.
"""

import queue
import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from ...rewards.errors import InputError
from ..identity import request_seed
from ..models.model import Model
from ..records import DecodeConfig, Rollout
from .answer import Kind, answer, chunk, trajectory, usage
from .ask import Ask, read_chat, read_completion
from .engine import BusyError, Engine, Ticket
from .errors import ApiError
from .stream import TextStream, with_masks

_DONE = object()
_READERS = {"chat": read_chat, "completion": read_completion}


@dataclass(frozen=True)
class Service:
    """A model to be asked over an engine. `decode` holds the settings where a request gives none; `name` is what it is called."""

    model: Model
    engine: Engine
    decode: DecodeConfig
    name: str

    def models(self) -> dict[str, Any]:
        """The answer to /v1/models."""
        info = self.model.info
        entry = {"id": self.name, "object": "model", "created": 0, "owned_by": "unmask", "max_model_len": self.model.context}
        return {"object": "list", "data": [entry | {"family": info.family, "fingerprint": info.fingerprint}]}

    def health(self) -> dict[str, Any]:
        """The answer to /health."""
        running, waiting = self.engine.load()
        return {"status": "ok", "running": running, "waiting": waiting}

    def ask(self, kind: Kind, body: Any) -> dict[str, Any] | Iterator[dict[str, Any]]:
        """Answer a request: with a body, or with the events of a stream. Raises ApiError before anything was sent."""
        ask = _READERS[kind](body, self.decode, self.name)
        updates: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        tickets = self._tickets(ask, updates if ask.stream else None)
        try:
            self.engine.submit(tickets)
        except BusyError as error:
            raise ApiError(503, str(error), code="overloaded") from None
        head = {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time()), "model": self.name}
        if ask.stream:
            return self._events(kind, head, ask, tickets, updates)
        rollouts = _results(tickets)
        return answer(kind, head, rollouts, self.model.text if ask.logprobs else None)

    def _tickets(self, ask: Ask, updates: "queue.SimpleQueue[tuple[int, Any]] | None") -> list[Ticket]:
        try:
            decode = self.model.resolve(ask.decode)
        except InputError as error:
            raise ApiError(400, str(error)) from None
        seed = secrets.randbits(62) if ask.seed is None else ask.seed
        tickets: list[Ticket] = []
        for number, prompt in enumerate(self._prompt_ids(prompt) for prompt in ask.prompts):
            for sample in range(ask.n):
                index = len(tickets)
                watch = None if updates is None else (lambda shown, index=index: updates.put((index, shown)))
                tickets.append(Ticket(prompt, decode, request_seed(seed, "serve", str(number), sample), watch))
        return tickets

    def _prompt_ids(self, prompt: Any) -> tuple[int, ...]:
        """Token ids of a conversation, a text or token ids. Raises ApiError if they do not fit."""
        if isinstance(prompt, str):
            ids = tuple(self.model.tokenizer.encode(prompt))
        elif prompt and isinstance(prompt[0], int):
            ids = prompt
        else:
            ids = self.model.encode(prompt)
        if not ids:
            raise ApiError(400, "the prompt is empty", param="prompt")
        if len(ids) >= self.model.context:
            message = f"the prompt has {len(ids)} tokens; the model's context is {self.model.context}"
            raise ApiError(400, message, param="messages", code="context_length_exceeded")
        if max(ids) >= len(self.model.tokenizer):
            raise ApiError(400, f"there is no token {max(ids)}; the vocabulary has {len(self.model.tokenizer)}", param="prompt")
        return ids

    def _events(
        self, kind: Kind, head: dict[str, Any], ask: Ask, tickets: Sequence[Ticket], updates: "queue.SimpleQueue[tuple[int, Any]]"
    ) -> Iterator[dict[str, Any]]:
        """The events of a stream, in the order in which things happen; choices come interleaved."""
        for index, ticket in enumerate(tickets):
            ticket.result.add_done_callback(lambda _, index=index: updates.put((index, _DONE)))  # type: ignore[misc]
        stop_ids = frozenset(self.model.checkpoint.stop_ids)
        streams = [TextStream(ticket.decode, self.model.text, stop_ids) for ticket in tickets]
        left = len(tickets)
        try:
            while left:
                index, shown = updates.get()
                if shown is _DONE:
                    left -= 1
                    rollout = _results(tickets[index : index + 1])[0]
                    yield self._last(kind, head, index, streams[index].end(rollout.text), rollout)
                    continue
                if ask.denoising:
                    state = {"text": with_masks(shown, self.model.text), "token_ids": list(shown)}
                    yield chunk(kind, head, index, "", denoising=state)
                if text := streams[index].grow(shown):
                    yield chunk(kind, head, index, text)
        finally:  # a client that goes away does not wait for the rest, and what has not begun need not begin
            for ticket in tickets:
                ticket.result.cancel()
        if ask.usage_chunk:
            yield {**chunk(kind, head, 0, ""), "choices": [], "usage": usage(_results(tickets))}

    def _last(self, kind: Kind, head: dict[str, Any], index: int, text: str, rollout: Rollout) -> dict[str, Any]:
        return chunk(kind, head, index, text, rollout.finish, **trajectory(rollout))


def _results(tickets: Sequence[Ticket]) -> list[Rollout]:
    """Wait for the rollouts. Raises ApiError for what went wrong while decoding."""
    try:
        rollouts = [ticket.result.result() for ticket in tickets]
    except CancelledError:
        raise ApiError(503, "the server is shutting down", code="overloaded") from None
    except Exception as error:
        raise ApiError(500, f"decoding failed: {error}") from error
    for rollout in rollouts:
        if rollout.finish == "error":
            raise ApiError(400, rollout.detail, code="context_length_exceeded")
    return rollouts
