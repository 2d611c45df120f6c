"""Asking an OpenAI-compatible endpoint: one completion of a conversation, with retries. Standard library only."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
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
