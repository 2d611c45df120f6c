"""LiveBench mathematics: competitions (AMC, SMC, AIME), olympiad proofs with gaps, and AMPS_Hard.

Differences of the default rule: an AIME answer is a whole number and no substring ("125" is not "25"); of several letters
repeated in an AMC answer the last counts, and the value of an option has to stand alone. AMPS_Hard: upstream may ask a language
model whether expressions are equal up to sign, and scores 0 without a key; here the `math` verifier compares under both rules.
"""

import re

from ...rewards.math import MathVerifier
from ...rewards.records import Completion, Problem
from .text import Question, Score, bare, boxed, last_line, solutions

_OPTION = re.compile(r"\\textbf{\(([A-E])\)\s?}(.*?)(?:\\qquad|\$)")
COMPARE = MathVerifier(order=("boxed",))
_WINDOW = 50  # upstream looks for an AIME answer in the last 50 characters


def math_comp(question: Question, answer: str) -> Score:
    """Score a competition answer: a letter for AMC and SMC, three digits for AIME."""
    if question.subtask.startswith("aime"):
        return _aime(question, answer)
    return _amc_official(question, answer) if question.official else _amc(question, answer)


def _aime(question: Question, answer: str) -> Score:
    ending = answer[-_WINDOW:]
    if question.official:
        return Score(float(question.gold in ending), ending.strip() or None)
    candidates = re.findall(r"\d+", boxed(answer) or "") or re.findall(r"\d+", ending)
    if not candidates:
        return Score(0.0, None)
    return Score(float(len(candidates[-1]) < 9 and int(candidates[-1]) == int(question.gold)), candidates[-1])


def _amc_official(question: Question, answer: str) -> Score:
    gold, letter = question.gold, question.gold.lower()
    tagged = solutions(answer)
    box = boxed(answer)
    line = last_line(answer).lower()
    value = option_value(question.text, gold)
    right = (
        bool(tagged and tagged[-1] and set(tagged[-1].lower()) == {letter})
        or gold * 4 in answer
        or (box is not None and bare(box).lower() == letter)
        or value in answer[-(20 + len(value)) :]
        or line == letter
        or f"({letter})" in line
    )
    found = next((text for text in (tagged[-1] if tagged else None, box) if text), line)
    return Score(float(right), found or None)


def _amc(question: Question, answer: str) -> Score:
    """The letter that the model commits to: in tags, else its last run of four, else boxed, else the last line."""
    tagged, box = solutions(answer), boxed(answer)
    runs = re.findall(r"([A-F])\1{3,}", answer)
    if tagged and re.fullmatch(r"\s*([A-Fa-f])\1*\s*", tagged[-1]):
        return _letter(question, tagged[-1].strip()[0])
    if runs:
        return _letter(question, runs[-1])
    if box is not None:
        found = bare(box).strip().strip("()").strip()
        value = option_value(question.text, question.gold)
        return Score(float(found.upper() == question.gold or box.strip() == value), box)
    lettered = re.fullmatch(r"\W*([A-Fa-f])\W*", last_line(answer)) or re.search(r"\(([A-F])\)\W*$", last_line(answer))
    if lettered:
        return _letter(question, lettered[1])
    value = option_value(question.text, question.gold)
    named = re.search(rf"(?<![\w.]){re.escape(value)}(?!\w)", answer[-(20 + len(value)) :])
    return Score(float(named is not None), last_line(answer) or None)


def _letter(question: Question, letter: str) -> Score:
    return Score(float(letter.upper() == question.gold), letter.upper())


def option_value(statement: str, letter: str) -> str:
    """Return the text of an option, or a word that no answer holds when the statement does not spell it out."""
    options = {found: value.strip() for found, value in _OPTION.findall(statement)}
    return (options.get(letter) or "FAILURE").strip("$").strip("~")


def olympiad(question: Question, answer: str) -> Score:
    """Score an order of expressions: 1 - edit distance / length of the longer list."""
    gold = [int(number) for number in question.gold.split(",")]
    found = expression_list(answer)
    share = 1 - edit_distance(found, gold) / max(len(found), len(gold))
    return Score(share, ",".join(map(str, found)) or None)


def expression_list(answer: str) -> list[int | str]:
    """Return the numbers after "answer:", else in the box, else on the last line, else at the end; gaps are "NO ANSWER"."""
    for numbers in (_after_answer(answer), _in_box(answer), _on_last_line(answer)):
        if any(isinstance(number, int) for number in numbers):
            return numbers
    return _tail(answer)


def _after_answer(answer: str) -> list[int | str]:
    lines = answer.lower().strip().split("\n")
    marked = [index for index, line in enumerate(lines) if "answer:" in line]
    if not marked:
        return []
    text = _unmarked(lines[marked[-1]].split("answer:")[1])
    if not text and marked[-1] + 1 < len(lines):
        text = _unmarked(lines[marked[-1] + 1].replace("answer:", ""))
    words = (part.strip().split(" ")[-1] for part in text.split(","))
    return [_number(re.sub(r"[${}\\<>]|boxed", "", word)) for word in words]


def _unmarked(text: str) -> str:
    return text.replace("**", "").replace(".", "").strip()


def _in_box(answer: str) -> list[int | str]:
    if r"\boxed" not in answer:
        return []
    box = boxed(answer)
    return [_number(part.strip()) for part in bare(answer if box is None else box).strip().split(",")]


def _on_last_line(answer: str) -> list[int | str]:
    found = (re.search(r"\d+", part) for part in answer.strip().lower().rpartition("\n")[2].split(","))
    return [_number(match[0]) for match in found if match]


def _tail(answer: str) -> list[int | str]:
    numbers: list[int | str] = []
    for index, part in enumerate(answer.lower().rpartition("answer:")[2].split(",")):
        match = re.search(r"\d+", part)
        if match:
            numbers.append(_number(match[0]))
        if index and (match is None or match[0] != part.strip()):
            break  # the list ends where text begins
    return numbers


def _number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[+-]?\d{1,9}", text) else "NO ANSWER"


def edit_distance(left: list[int | str], right: list[int | str] | list[int]) -> int:
    """Return the Levenshtein distance between two lists."""
    previous = list(range(len(right) + 1))
    for row, item in enumerate(left, 1):
        current = [row]
        for column, other in enumerate(right, 1):
            change = previous[column - 1] + (item != other)
            current.append(min(change, previous[column] + 1, current[-1] + 1))
        previous = current
    return previous[-1]


def amps_hard(question: Question, answer: str) -> Score:
    """Score an exact expression: the last box, else the last dollars, constants of integration dropped."""
    found = _expression(re.sub(r"\+ ?[Cc]\b", "", answer))
    if found is None:
        return Score(0.0, None)
    problem = Problem(id="", task="", prompt=(), reference=question.gold)
    verdict = COMPARE(problem, Completion(rf"\boxed{{{found}}}"))
    return Score(verdict.reward or 0.0, found)


def _expression(answer: str) -> str | None:
    box = boxed(answer)
    if box is None:
        dollars = re.findall(r"\$+([^$]+)\$+", last_line(answer))
        box = dollars[-1] if dollars else None
    if box is None:
        return None
    final = box.rpartition("=")[2].strip()
    return re.sub(r"\\[tdc]frac", r"\\frac", final) or None
