"""What several LiveBench scorers look for in an answer: solution tags, boxes, bold phrases."""

import re
from typing import Any, NamedTuple

NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)


class Question(NamedTuple):
    """What a scorer knows of a question. `official`: reproduce upstream's rule, faults included."""

    task: str
    gold: str
    text: str
    subtask: str
    release: str
    instructions: tuple[dict[str, Any], ...]
    official: bool


class Score(NamedTuple):
    """A score from 0 to 1, and the answer that was found (None: none)."""

    value: float
    extracted: str | None


def solutions(text: str, across_lines: bool = False) -> list[str]:
    """Return what stands in `<solution>` tags; a model that opens with a closing tag is understood too."""
    opened = between(text, "<solution>", "</solution>", across_lines)
    return opened or between(text, "</solution>", "</solution>", across_lines)


def between(text: str, opening: str, closing: str, across_lines: bool = False) -> list[str]:
    """Return what stands between pairs of marks, as a lazy regular expression would, in linear time on hostile text."""
    found, end = [], -1
    start = text.find(opening)
    while start >= 0:
        inner = start + len(opening)
        end = text.find(closing, inner) if end < inner else end
        if end < 0:
            break
        line_end = -1 if across_lines else text.find("\n", inner, end)
        if line_end < 0:
            found.append(text[inner:end])
        start = text.find(opening, end + len(closing) if line_end < 0 else line_end)
    return found


def boxed(text: str) -> str | None:
    r"""Return what the last `\boxed{...}` holds (else `\fbox`), dollars dropped; `\boxed x` counts up to the next dollar."""
    if r"\boxed " in text:
        return text.rpartition(r"\boxed ")[2].partition("$")[0]
    start = max(text.rfind(r"\boxed"), -1)
    start = start if start >= 0 else text.rfind(r"\fbox")
    opening = text.find("{", start) if start >= 0 else -1
    if opening < 0:
        return None
    depth = 0
    for position in range(opening, len(text)):
        depth += (text[position] == "{") - (text[position] == "}")
        if depth == 0:
            return text[opening + 1 : position].replace("$", "")
    return None


def bare(latex: str) -> str:
    r"""Return `latex` without `\text{`, closing braces and backslashes."""
    return latex.replace("\\text{", "").replace("}", "").replace("\\", "")


def bold(text: str) -> list[str]:
    """Return the phrases in `**bold**`."""
    return re.findall(r"\*\*([^*]+)\*\*", text)


def last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].strip()
