"""LiveBench data analysis: column types (cta), joins, table formats.

Difference of the default rule: a column type has to be the answer, its last line, its box or its bold phrase; upstream accepts
any answer that ends with the letters of the type ("grid" for "id").
"""

import ast
import re
from typing import Any

from .tables import TableError, read_table, same_table
from .text import Question, Score, bare, between, bold, boxed, last_line, solutions

_FORMATS = re.compile(r"Please convert the Input Table from \w+ format to (\w+) format")
_PREAMBLE = re.compile(r"^\s*(Here|Input)\b.*?\b(format|table)\s*[:)]\s*", re.I)


def cta(question: Question, answer: str) -> Score:
    """Score the name of a column type, without case and punctuation."""
    box = boxed(answer) if r"\boxed{" in answer else None
    gold, whole = _letters(question.gold), answer if box is None else bare(box)
    if question.official:
        return Score(float(_letters(whole).endswith(gold)), whole.strip() or None)
    candidates = [whole, last_line(answer), *bold(answer)[-1:]]
    return Score(float(gold in map(_letters, candidates)), last_line(whole) or None)


def _letters(text: str) -> str:
    return re.sub(r"[^\w]", "", text.lower())


def tablejoin(question: Question, answer: str) -> Score:
    """Score a mapping between columns: F1 over exact pairs, two decimals."""
    gold, found = ast.literal_eval(question.gold), _mapping(answer)
    if not found:
        return Score(0.0, None)
    right = sum(bool(gold.get(key)) and gold[key] == value for key, value in found.items())
    extra = len(found) - right
    missed = sum(key not in found or not found[key] or found[key] != value for key, value in gold.items())
    return Score(round(2 * right / (2 * right + extra + missed), 2) if right else 0.0, str(found))


def _mapping(answer: str) -> dict[Any, Any]:
    tagged = solutions(answer, across_lines=True)
    text = (tagged[-1] if tagged else answer).replace("\n", "")
    blocks = between(text, "```python", "```") or [block.removeprefix("json") for block in between(text, "```", "```")]
    if not blocks and (box := boxed(text)):
        blocks = [re.sub(r"\\text{['\"](.*?)['\"]}", r"'\1'", box).replace("\\", "")]
    try:
        found = ast.literal_eval((blocks or [text])[-1].strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def tablereformat(question: Question, answer: str) -> Score:
    """Score a converted table: 1 when every cell is equal (numbers to 1e-6)."""
    kind = _target(question.text)
    gold = read_table(kind, question.gold)
    text = _PREAMBLE.sub("", _table_text(answer)).strip()
    for candidate in (text, _from_header(text, kind, list(gold[0]))):
        try:
            if candidate and same_table(read_table(kind, candidate), gold):
                return Score(1.0, candidate)
        except TableError:
            continue
    return Score(0.0, text or None)


def _target(question: str) -> str:
    found = _FORMATS.search(question) or re.search(r"Target Format: (\w+)", question)
    if not found:
        raise ValueError("the question names no target format")
    return found[1].lower()


def _table_text(answer: str) -> str:
    tagged = solutions(answer, across_lines=True)
    if tagged:
        return _table_text(tagged[-1].strip())
    blocks = between(answer, "```json\n", "```", True) or between(answer, "```html\n", "```", True)
    if blocks:
        return blocks[-1].strip()
    return re.sub(r"^```.*\n", "", answer).replace("&amp;", "&").replace("```", "").strip()


def _from_header(text: str, kind: str, columns: list[str]) -> str:
    """Return the part of a chatty answer that is the table: from its header on, or the lines that are rows."""
    lines = text.split("\n")
    if kind in ("csv", "tsv"):
        separator = "," if kind == "csv" else "\t"
        header = separator.join(columns)
        start = next((index for index, line in enumerate(lines) if line.strip() == header), None)
        return "" if start is None else "\n".join(_rows_only(lines[start:], separator, len(columns)))
    if kind == "jsonl":
        return "\n".join(
            line for line in lines if line.startswith("{") and line.endswith("}") and all(c in line for c in columns)
        )
    return ""


def _rows_only(lines: list[str], separator: str, columns: int) -> list[str]:
    """Drop what follows the table."""
    while lines and (not lines[-1].strip() or lines[-1].count(separator) < columns - 1):
        lines = lines[:-1]
    return lines
