"""When a response ends, and what a finished sequence hands over. Shared by the loops."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from ..records import Finish, ForwardPasses, Request
from .choose import Endings
from .rows import Sequence


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Special tokens: the mask, those that end a response, and those that are never drawn (`banned`, (V,) bool).

    `text` decodes response tokens, for stop strings. `endings` are the ids that LLaDA's options against early ends name.
    """

    mask_id: int
    stop_ids: frozenset[int]
    banned: Tensor
    text: Callable[[list[int]], str]
    stops: tuple[str, ...] = ()
    endings: Endings = field(default_factory=Endings)

    def length_of(self, tokens: list[int], since: int = 0) -> int | None:
        """How many tokens a response has up to its stop token or the end of its stop string; None while there is no stop.

        The first `since` tokens are known to hold no stop token.
        """
        by_token = next((i + 1 for i in range(since, len(tokens)) if tokens[i] in self.stop_ids), None)
        seen = tokens[:by_token]
        if self.stops and self._ends(seen):
            return next(n for n in range(1, len(seen) + 1) if self._ends(seen[:n]))
        return by_token

    def _ends(self, tokens: list[int]) -> bool:
        text = self.text(tokens)
        return any(stop in text for stop in self.stops)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A finished sequence in token ids; the model turns it into a `Rollout`."""

    request: Request
    sequence: Sequence
    length: int
    finish: Finish
    passes: ForwardPasses
    seconds: float
    detail: str = ""
    canvas: int = 0


def refusal(sequence: Sequence, detail: str) -> Decoded:
    """The result of a request that cannot be decoded."""
    return Decoded(sequence.request, sequence, 0, "error", ForwardPasses(), 0.0, detail)
