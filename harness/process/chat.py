"""Asking an OpenAI-compatible endpoint: one completion of a conversation, with retries. Standard library only.

`Callers` asks several at a time in daemon threads: an executor's threads would keep an interrupted program waiting for an
endpoint that hangs.
"""

import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ...rewards.errors import InputError

_LARGEST = 8 << 20
_BUSY = (408, 409, 429, 500, 502, 503, 504)


class ChatError(RuntimeError):
    """The endpoint gave no answer to this request; the message says why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask. `url` is the base ("http://host:8000/v1"), `timeout` in seconds, `retries` after the first attempt."""

    url: str
    model: str
    key: str = ""
    timeout: float = 120.0
    retries: int = 3
    pause: float = 1.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"url {self.url!r}: expected the base of an endpoint, for example http://localhost:8000/v1")

    def ask(self, messages: list[dict[str, str]], **settings: Any) -> str:
        """Return the text of the answer. Raises ChatError when there is none, after retries where waiting may help."""
        body = json.dumps({"model": self.model, "messages": messages, **settings}).encode()
        for attempt in range(self.retries + 1):
            try:
                return self._text(self._post(body))
            except urllib.error.HTTPError as error:
                said = error.read(2000).decode("utf-8", "replace")
                why = f"HTTP {error.code}: {' '.join(said.split())[:200]}"
                if error.code not in _BUSY:
                    raise ChatError(why) from None
            except (OSError, ValueError) as error:  # refused, reset, timed out, or not JSON
                why = f"{type(error).__name__}: {error}"[:200]
            if attempt < self.retries:
                time.sleep(self.pause * 2**attempt)
        raise ChatError(f"{why} ({self.retries + 1} attempts)")

    def _post(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=self.timeout) as answer:
            return json.loads(answer.read(_LARGEST))

    def _text(self, data: Any) -> str:
        try:
            text = data["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise ChatError(f"the answer holds no choices[0].message.content: {str(data)[:120]}") from None
        if not isinstance(text, str):
            raise ChatError(f"the answer's content is {text!r:.60}, not text")
        return text


class Callers:
    """Makes calls, `count` at a time. A context manager; what has not begun when it ends is dropped."""

    def __init__(self, count: int) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], str], Future[str]] | None] = queue.SimpleQueue()
        self._count = count
        for number in range(count):
            threading.Thread(target=self._work, name=f"unmask-caller-{number}", daemon=True).start()

    def submit(self, call: Callable[[], str]) -> "Future[str]":
        """Queue a call and return its future."""
        future: Future[str] = Future()
        self._calls.put((call, future))
        return future

    def __enter__(self) -> "Callers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        while not self._calls.empty():
            if (entry := self._calls.get()) is not None:
                entry[1].cancel()
        for _ in range(self._count):
            self._calls.put(None)

    def _work(self) -> None:
        while (entry := self._calls.get()) is not None:
            call, future = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except Exception as error:  # kept for whoever waits on the future: this thread has no caller
                future.set_exception(error)
