"""An OpenAI-compatible endpoint (`unmask serve`, SGLang, vLLM, ...) as the model: `--model openai:http://host:8000/v1#name`.

For scoring only. The endpoint applies its own chat template and gives text, so a rollout from it says `trajectory: none`: no
token ids, no step map, no log-probabilities, `block_size` 0; `length` is the endpoint's count of response tokens. What is not a
default of `DecodeConfig` is sent along by its own name, which `unmask serve` understands and others may ignore. The key, if one
is needed, stands in OPENAI_API_KEY. Not covered: streams, tools, endpoints without /chat/completions.
"""

import json
import os
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ...rewards.errors import InputError
from ...rewards.records import Message
from ...rewards.serde import encode
from ..records import DecodeConfig, Finish, ForwardPasses, ModelInfo, Request, Rollout

PREFIX = "openai:"
RETRIES = 5
FIRST_PAUSE = 1.0
TIMEOUT = 600.0
_RENAMED = {"max_new_tokens": "max_tokens"}
_ALWAYS = ("temperature", "top_p")
_TRANSIENT = (408, 409, 425, 429, 500, 502, 503, 504)
NOTE = "an endpoint gave the text only: there is no trajectory to learn from"


def is_remote(model: str) -> bool:
    """Whether a model's name is that of an endpoint."""
    return model.startswith(PREFIX)


@dataclass(frozen=True, slots=True)
class Refused(Exception):  # noqa: N818  # an answer of the endpoint, not a failure of ours
    """The endpoint will not answer this request, now or later."""

    message: str


class RemoteModel:
    """The model behind an endpoint. Opening it asks the endpoint for its models; raises InputError if that fails."""

    def __init__(self, spec: str) -> None:
        address, _, name = spec.removeprefix(PREFIX).partition("#")
        if not address.startswith(("http://", "https://")):
            raise InputError(f"--model {spec}: expected openai:http://HOST:PORT/v1#NAME")
        self._url, self._spec = address.rstrip("/"), spec
        served = self._served()
        self.name = self._choose(name, served)
        known = served.get(self.name, {})
        self.info = ModelInfo(f"{self._url}#{self.name}", "", "remote", str(known.get("fingerprint", "unknown")), "unknown")

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Nothing: the endpoint makes tokens of the conversation."""
        return ()

    def resolve(self, decode: DecodeConfig) -> DecodeConfig:
        """The settings as they are: what they do not say, the endpoint decides."""
        return decode

    def generate(self, requests: Iterable[Request], decode: DecodeConfig, *, max_batch: int = 32) -> Iterator[Rollout]:
        """Yield one rollout per request, in completion order, `max_batch` at a time.

        A request that the endpoint refuses becomes a rollout with finish "error". Raises ConnectionError when the endpoint
        stays away through all retries.
        """
        asked: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        answered: queue.SimpleQueue[Rollout | Exception] = queue.SimpleQueue()
        for _ in range(max_batch):
            threading.Thread(target=self._work, args=(asked, answered, decode), daemon=True).start()
        try:
            yield from self._pump(iter(requests), asked, answered, max_batch)
        finally:
            for _ in range(max_batch):
                asked.put(None)

    def _pump(
        self,
        pending: Iterator[Request],
        asked: "queue.SimpleQueue[Request | None]",
        answered: "queue.SimpleQueue[Rollout | Exception]",
        places: int,
    ) -> Iterator[Rollout]:
        running = 0
        while True:
            while running < places and (request := next(pending, None)) is not None:
                asked.put(request)
                running += 1
            if running == 0:
                return
            found = answered.get()
            running -= 1
            if isinstance(found, Exception):
                raise found
            yield found

    def _work(
        self,
        asked: "queue.SimpleQueue[Request | None]",
        answered: "queue.SimpleQueue[Rollout | Exception]",
        decode: DecodeConfig,
    ) -> None:
        while (request := asked.get()) is not None:
            try:
                answered.put(self._rollout(request, decode))
            except Exception as error:  # handed to the thread that waits for it
                answered.put(error)

    def _rollout(self, request: Request, decode: DecodeConfig) -> Rollout:
        body = {"model": self.name, "messages": encode(request.messages), "seed": request.seed, **_sent(decode)}
        started = time.monotonic()
        try:
            text, finish, length, detail = self._ask(body)
        except Refused as refused:
            text, finish, length, detail = "", "error", 0, refused.message
        return Rollout(
            problem_id=request.problem_id,
            sample=request.sample,
            seed=request.seed,
            prompt_ids=(),
            token_ids=(),
            length=length,
            step_map=(),
            logprobs=(),
            confidences=(),
            block_size=0,
            block_offset=0,
            forward_passes=ForwardPasses(),
            cache="unknown",
            finish=finish,
            text=text,
            decode=decode,
            model=self.info,
            seconds=round(time.monotonic() - started, 6),
            detail=detail,
            note=NOTE,
            trajectory="none",
        )

    def _served(self) -> dict[str, dict[str, Any]]:
        """The models of the endpoint by name; none if it does not tell."""
        try:
            listed = self._once("/models", None)
            return {str(entry["id"]): entry for entry in listed["data"]}
        except Refused:
            return {}
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"--model {self._spec}: {self._url}/models is no list of models; is this an OpenAI endpoint?"
            ) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise InputError(f"--model {self._spec}: {self._url} cannot be reached ({reason}); is the server running?") from None

    def _choose(self, name: str, served: dict[str, Any]) -> str:
        if name and served and name not in served:
            raise InputError(f"--model {self._spec}: {self._url} serves {', '.join(served)}, not {name!r}")
        if not name and len(served) != 1:
            raise InputError(
                f"--model {self._spec}: name one of its models, openai:{self._url}#NAME ({', '.join(served) or 'none'})"
            )
        return name or next(iter(served))

    def _ask(self, body: dict[str, Any]) -> tuple[str, Finish, int, str]:
        """Ask, with retries (`_read` says what comes). Raises Refused, or ConnectionError when all retries failed."""
        problem: object = ""
        for attempt in range(RETRIES + 1):
            try:
                return _read(self._once("/chat/completions", body))
            except InputError:
                raise
            except (OSError, ValueError) as error:  # not there, not there yet, or torn off in the middle of its JSON
                problem = getattr(error, "reason", error)
            if attempt < RETRIES:
                time.sleep(FIRST_PAUSE * 2**attempt)
        raise ConnectionError(f"{self._url}: no answer after {RETRIES + 1} attempts ({problem})")

    def _once(self, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        if key := os.environ.get("OPENAI_API_KEY"):
            request.add_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            message = _message(error)
            if error.code in _TRANSIENT:
                raise ConnectionError(message) from None
            if error.code in (401, 403):
                raise InputError(f"--model {self._spec}: {message}; set OPENAI_API_KEY") from None
            raise Refused(message) from None


def _sent(decode: DecodeConfig) -> dict[str, Any]:
    """The settings a request carries: the usual ones, and those that are not our defaults."""
    usual = DecodeConfig()
    data = encode(decode)
    changed = {f.name for f in fields(decode) if getattr(decode, f.name) != getattr(usual, f.name)}
    return {_RENAMED.get(name, name): data[name] for name in data if name in changed or name in _ALWAYS}


def _read(answer: Any) -> tuple[str, Finish, int, str]:
    """Text, finish, number of tokens, detail of an answer. Raises ValueError when it has no choice."""
    try:
        choice = answer["choices"][0]
        text, reason = choice["message"]["content"] or "", choice["finish_reason"]
        length = int((answer.get("usage") or {}).get("completion_tokens") or 0)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"the answer is no chat completion: {error}") from None
    if reason in ("stop", "length"):
        return text, reason, length, ""
    return text, "error", length, f"the endpoint ended with {reason!r}"


def _message(error: urllib.error.HTTPError) -> str:
    """The endpoint's own words for an error."""
    try:
        said = json.load(error)
        words = said["error"]["message"] if isinstance(said.get("error"), dict) else said.get("message") or said
    except (ValueError, KeyError, AttributeError, OSError):
        words = error.reason
    return f"HTTP {error.code}: {' '.join(str(words).split())[:300]}"
