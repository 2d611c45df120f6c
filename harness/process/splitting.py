"""Cutting a response into the steps that a model judges one by one. Pure functions; spans cover no white space at their ends."""

import re
from typing import Literal

Split = Literal["auto", "paragraph", "line", "chunk"]
"""By blank lines, by lines, or after so many characters; `auto` is paragraphs where there are any, else lines."""

_BREAKS = {"paragraph": re.compile(r"\n[ \t]*\n"), "line": re.compile(r"\n")}


def step_spans(text: str, how: Split, chunk: int) -> list[tuple[int, int]]:
    """The steps of `text` as character spans (start, end), in order. `chunk` is the size of a `chunk` in characters."""
    if how == "chunk":
        pieces = [(start, min(start + chunk, len(text))) for start in range(0, len(text), chunk)]
    else:
        if how == "auto":
            how = "paragraph" if _BREAKS["paragraph"].search(text.strip()) else "line"
        pieces, start = [], 0
        for match in _BREAKS[how].finditer(text):
            pieces.append((start, match.start()))
            start = match.end()
        pieces.append((start, len(text)))
    trimmed = (_trimmed(text, start, end) for start, end in pieces)
    return [(start, end) for start, end in trimmed if start < end]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, max(start, end - (len(piece) - len(piece.rstrip())))
