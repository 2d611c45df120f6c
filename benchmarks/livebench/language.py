"""LiveBench language: connections, typos, plot unscrambling. Both rules are the same here."""

import difflib

from .math import edit_distance
from .text import Question, Score, bare, between, boxed, solutions

# Since this release the groups stand in <solution> tags; before, in bold.
_TAGGED = "2024-11-25"


def connections(question: Question, answer: str) -> Score:
    """Score groups of four words: the share of groups that are right."""
    gold = _groups(question.gold.split(","))
    if question.release < _TAGGED:
        return _best_bold(gold, answer)
    tagged = solutions(answer) or solutions(answer.replace("\n", ""))
    if not tagged and (box := boxed(answer)):
        tagged = [bare(box)]
    if not tagged:
        return Score(0.0, None)
    size = sum(map(len, gold))
    words = [word for text in tagged for word in text.replace("\n", "").split(",")]
    groups = _groups(words[-size:] if len(tagged) > 1 else words)
    return Score(sum(group in gold for group in groups) / len(gold), ",".join(words))


def _best_bold(gold: list[set[str]], answer: str) -> Score:
    phrases = between(answer.replace("\n", ""), "**", "**")
    scores = [sum(any(want <= got for got in _groups(phrase.split(","))) for want in gold) / len(gold) for phrase in phrases]
    return Score(max(scores, default=0.0), phrases[scores.index(max(scores))] if scores else None)


def _groups(words: list[str]) -> list[set[str]]:
    """Return the words in sets of four, in order; a repeated word leaves its set open."""
    groups: list[set[str]] = [set()]
    for word in words:
        if len(groups[-1]) == 4:
            groups.append(set())
        groups[-1].add(word.strip().lower())
    return groups


def typos(question: Question, answer: str) -> Score:
    """Score a corrected text: it has to occur in the solution, lines joined."""
    tagged = solutions(answer, across_lines=True)
    text = " ".join(line for line in (tagged[-1] if tagged else answer).split("\n") if line).strip()
    return Score(float(question.gold in text), text or None)


def plot_unscrambling(question: Question, answer: str) -> Score:
    """Score an order of sentences: 1 - edit distance of the order / number of sentences."""
    summary = answer.partition("<PLOT_SUMMARY>")[2] or answer
    gold, found = _sentences(question.gold), _sentences(summary)
    order: list[int | str] = []
    for sentence in gold:
        closest = difflib.get_close_matches(sentence, found, n=1, cutoff=0.0)
        order += [found.index(closest[0])] if closest else []
    return Score(1 - edit_distance(order, list(range(len(gold)))) / len(gold), summary.strip() or None)


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in text.split(".") if sentence.strip()]
