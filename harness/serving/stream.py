"""What of a response is final while it is still being decoded, and how it is shown with its masks. Pure but for its memory.

Text is passed on up to the first mask, without a half-decoded character at the end and without what may become a stop string.
Where an algorithm may change what it has fixed, nothing is final before the end.
"""

from collections.abc import Callable, Collection, Sequence

from ..records import DecodeConfig

MASK = "\N{LIGHT SHADE}"


class TextStream:
    """The text of one response as it grows."""

    def __init__(self, decode: DecodeConfig, text: Callable[[Sequence[int]], str], stop_ids: Collection[int]) -> None:
        self._text, self._stop_ids, self._stops = text, stop_ids, decode.stop
        self._final = decode.algorithm == "block" and decode.overshoot == "clamp"
        self._longest = decode.max_new_tokens
        self._sent = 0

    def grow(self, shown: Sequence[int | None]) -> str:
        """The text that has become final since the last call; `shown` is the response with None for masks."""
        if not self._final:
            return ""
        known: list[int] = []
        for token in shown[: self._longest]:
            if token is None or token in self._stop_ids:
                break
            known.append(token)
        return self._pass_on(self._safe(self._text(known)))

    def end(self, text: str) -> str:
        """The rest of the response, which is `text` as a whole."""
        return self._pass_on(text)

    def _pass_on(self, text: str) -> str:
        fresh = text[self._sent :]
        self._sent = max(self._sent, len(text))
        return fresh

    def _safe(self, text: str) -> str:
        text = text.rstrip("\N{REPLACEMENT CHARACTER}")
        cut = min((text.index(stop) for stop in self._stops if stop in text), default=len(text))
        text = text[:cut]
        longest = max((len(stop) for stop in self._stops), default=0)
        for size in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stops):
                return text[:-size]
        return text


def with_masks(shown: Sequence[int | None], text: Callable[[Sequence[int]], str]) -> str:
    """A response with a shade for every mask."""
    out, known = [], list[int]()
    for token in (*shown, None):
        if token is not None:
            known.append(token)
            continue
        out.append(text(known) if known else "")
        known = []
        out.append(MASK)
    return "".join(out[:-1])
