"""LiveBench reasoning: web of lies, zebra puzzles, spatial questions.

Differences of the default rule: an element of a zebra answer has to hold the gold words as words ("1" is not in "10"), where
upstream accepts any substring; an answer of two words ("fantasy movies", before 2024-11-25) may be given in full.
"""

import itertools
import re

from .text import NUMBER_WORDS, Question, Score, bare, between, bold, boxed, last_line, solutions

_TRUTHS = ("yes", "no", "unknown")
_SHAPES = ("tetrahedra", "tetrahedron", "triangle", "square")
# Since this release a zebra question has several answers in <solution> tags; before, one in ***bold italics***.
_ZEBRA_LISTS = "2024-11-25"


def web_of_lies_v2(question: Question, answer: str) -> Score:
    """Score three of yes, no and unknown; all have to be right."""
    found = _three_truths(answer)
    if not found:
        return Score(0.0, None)
    three = sum(found.count(word) for word in _TRUTHS) == 3
    gold = question.gold.lower()
    return Score(float(found == gold or (three and gold in found)), found)


def _three_truths(answer: str) -> str | None:
    tagged = solutions(answer)
    if tagged:
        found: str | None = tagged[-1]
    else:
        found = _bold_truths(answer)
    if found is None or not found.strip():
        box = boxed(answer.replace("\\textbf{", "\\boxed{"))
        found = box if box else found
    return found if found is not None else _plain_truths(answer)


def _bold_truths(answer: str) -> str | None:
    phrases = between(answer, "**", "**")
    words = [word.lower().strip().replace(",", "").replace(".", "") for phrase in phrases for word in phrase.split()]
    return ", ".join([word for word in words if word in _TRUTHS][-3:]) or None


def _plain_truths(answer: str) -> str | None:
    """Return the triple that begins last in the text, by its first occurrence as upstream has it."""
    triples = (", ".join(words) for words in itertools.product(_TRUTHS, repeat=3))
    places = {triple: answer.lower().find(triple) for triple in triples}
    best = max(places, key=lambda triple: places[triple])
    return best if places[best] >= 0 else None


def zebra_puzzle(question: Question, answer: str) -> Score:
    """Score the answers about a line of people: (all right + share right) / 2; one answer only before 2024-11-25."""
    if question.release < _ZEBRA_LISTS:
        return _zebra_single(question, answer)
    gold = question.gold.split(",")
    found = _zebra_list(answer, len(gold))
    if found is None:
        return Score(0.0, None)
    right = sum(_same(one, other, question.official) for one, other in zip(gold, found, strict=False))
    return Score(((right == len(gold)) + right / len(gold)) / 2, ",".join(found))


def _zebra_list(answer: str, size: int) -> list[str] | None:
    tagged = solutions(answer)
    if not tagged and (box := boxed(answer)):
        tagged = [bare(box)]
    if not tagged and last_line(answer).count(",") == size - 1:
        tagged = [last_line(answer)]
    if not tagged:
        return None
    if len(tagged) == 1:
        return tagged[0].split(",")
    return [part for text in tagged for part in text.split(",")][-size:]


def _same(gold: str, found: str, official: bool) -> bool:
    want = gold.strip().lower().replace("-", " ")
    got = found.strip().lower().replace("-", " ").replace("position", "")
    return want in got if official else re.search(rf"(?<!\w){re.escape(want)}(?!\w)", got) is not None


def _zebra_single(question: Question, answer: str) -> Score:
    phrases = re.findall(r"\*\*\*(\w+)\*\*\*" if question.official else r"\*\*\*([^*]+)\*\*\*", answer)
    words = phrases or re.findall(r"\b\w+\b", answer)
    if not words:
        return Score(0.0, None)
    found, gold = words[-1].strip().lower(), question.gold.lower()
    spelled = NUMBER_WORDS[int(found)] if re.fullmatch(r"[1-9]", found) else found
    return Score(float(gold in (found, spelled, f"{found} movies")), words[-1])


def spatial(question: Question, answer: str) -> Score:
    """Score a number or a shape: one of the last three bold phrases, or the box."""
    gold = question.gold.strip().lower()
    phrases = [phrase.strip().lower() for phrase in bold(answer)[-3:]]
    if any(_is_shape(phrase, gold) for phrase in phrases):
        return Score(1.0, gold)
    box = boxed(answer)
    if box is not None and bare(box).strip().lower() == gold:
        return Score(1.0, box)
    return Score(0.0, phrases[-1] if phrases else box)


def _is_shape(phrase: str, gold: str) -> bool:
    if phrase == gold or (phrase in NUMBER_WORDS and str(NUMBER_WORDS.index(phrase)) == gold):
        return True
    # "two tetrahedra" for "tetrahedra" and "equilateral triangle" for "triangle", but no list of shapes
    return gold in _SHAPES and gold in phrase and len(phrase) < 2 * len(gold) + 5
