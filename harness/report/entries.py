"""One sample as the page shows it: a small dict of plain data.

Keys are short because there is one entry per sample: `p` pieces (or `i` ids and `t` text where pieces are not known), `sp` places
of special tokens, `n` response length, `s` steps (each less the one before), `c` confidence in percent, `b` block size, `o` block
offset, `e` events, `r` step rewards in UTF-16 units of the text, `x` extracted, `w` expected, `d` detail, `df` what was expected
and what came, `ft` the failed test, `pt` parts, `f` finish, `fp` forward passes, `sec` seconds, `id` the completion's key.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..records import Rollout
from ..runs import Row
from .evidence import difference, failed_test
from .pieces import Pieces


def entry(row: Row, pieces: Pieces | None, test: Mapping[str, str] | None) -> dict[str, Any]:
    """Reduce a sample to its entry. Fields that say nothing are left out."""
    rollout, verdict = row.sample.rollout, row.sample.verdict
    passes = rollout.forward_passes
    found = {
        "id": row.key,
        **_tokens(rollout, pieces),
        "n": rollout.length,
        "s": [step - before for step, before in zip(rollout.step_map, (0, *rollout.step_map), strict=False)],
        "c": [round(100 * confidence) for confidence in rollout.confidences],
        "b": rollout.block_size,
        "o": rollout.block_offset,
        "e": [_event(event, pieces) for event in rollout.events],
        "r": [(*_utf16(rollout.text, (step.start, step.end)), step.value) for step in verdict.step_rewards or ()],
        "x": verdict.extracted,
        "w": verdict.expected,
        "d": verdict.detail or rollout.detail,
        "df": difference(verdict.detail),
        "ft": {"number": failed_test(verdict.detail), **test} if test else None,
        "pt": verdict.parts,
        "f": rollout.finish,
        "fp": [passes.prefill, passes.denoise, passes.cache],
        "sec": [round(rollout.seconds, 3), round(verdict.seconds, 3)],
    }
    return {name: value for name, value in found.items() if value not in (None, "", [], {}, ())}


def _tokens(rollout: Rollout, pieces: Pieces | None) -> dict[str, Any]:
    """The tokens as text if they add up to the response's text, else as ids."""
    if pieces is not None:
        split = pieces.split(rollout.token_ids)
        special = [place for place, i in enumerate(rollout.token_ids) if i in pieces.special]
        hidden = set(special)
        joined = "".join(piece for place, piece in enumerate(split[: rollout.length]) if place not in hidden)
        if joined.startswith(rollout.text):
            return {"p": split, "sp": special, "t": None if joined == rollout.text else rollout.text}
    return {"i": list(rollout.token_ids), "t": rollout.text}


def _event(event: Any, pieces: Pieces | None) -> tuple[int, int, str, str, str]:
    def name(i: int) -> str:
        return f"#{i}" if pieces is None else pieces.name(i)

    return event.step, event.position, name(event.old), name(event.new), event.kind


def _utf16(text: str, places: Sequence[int]) -> tuple[int, ...]:
    """Character offsets as JavaScript counts them."""
    return tuple(len(text[:place].encode("utf-16-le", "surrogatepass")) // 2 for place in places)
