"""Which problems of a test set are in a training set: exactly, or nearly (shared n-grams of words).

`unmask validate --overlap TRAIN TEST` lists them, because MATH training sets in circulation hold MATH test problems. Questions
are compared, not answers: case, spacing, LaTeX marks and the prompt around the question do not count. A near match is one where
a training problem holds at least half of the 8-word runs of a test problem; runs that many test problems share (boilerplate of
prompts and statements) are left out. Not covered: translations and paraphrases.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from ..rewards.errors import InputError
from ..rewards.records import Problem
from .base import Benchmark

NGRAM = 8  # words; as in the decontamination of the Tulu 3 training mixes
THRESHOLD = 0.5

_TOKEN = re.compile(r"[a-z]+|\d+|[^\sa-z0-9$\\{}~`,.;:!?\"'()\[\]]")
_LAYOUT = re.compile(r"\\(?:left|right|displaystyle|[dt]?frac|text|mathrm|textbf|,|;|!|quad|qquad)\b")
# A run of words in more than this share of the test problems (and in more than three of them) is boilerplate.
_COMMON = 0.02

Tokens = tuple[str, ...]


class Overlap(NamedTuple):
    """A test problem that a training problem repeats. `share`: how much of the test problem's word runs the other holds."""

    train: str
    test: str
    kind: Literal["exact", "near"]
    share: float


def find_overlap(train: Benchmark, test: Benchmark, ngram: int = NGRAM, threshold: float = THRESHOLD) -> list[Overlap]:
    """Return the overlapping pairs, in the order of the test set; for near matches only the closest training problem."""
    if ngram < 1 or not 0 < threshold <= 1:
        raise InputError(f"overlap: the run length must be at least 1 and the threshold in (0, 1], not {ngram} and {threshold}")
    tests = [(problem.id, tokens(question(test, problem))) for problem in test.load()]
    trains = [(problem.id, tokens(question(train, problem))) for problem in train.load()]
    exact = _exact(trains, tests)
    found = {overlap.test for overlap in exact}
    near = _near(trains, [entry for entry in tests if entry[0] not in found], _common(tests, ngram), ngram, threshold)
    place = {test_id: index for index, (test_id, _) in enumerate(tests)}
    return sorted([*exact, *near], key=lambda overlap: (place[overlap.test], overlap.train))


def question(benchmark: Benchmark, problem: Problem) -> str:
    """Return what the problem asks, without the prompt template around it."""
    text = "\n".join(message.content for message in problem.prompt if message.role != "system")
    before, found, after = benchmark.prompt_template.partition("{problem}")
    if found and text.startswith(before) and text.endswith(after):
        return text[len(before) : len(text) - len(after)]
    return text


def tokens(text: str) -> Tokens:
    """Return the words, numbers and operators of a question, in one spelling."""
    return tuple(_TOKEN.findall(_LAYOUT.sub(" ", text).lower()))


def _exact(trains: Iterable[tuple[str, Tokens]], tests: Iterable[tuple[str, Tokens]]) -> list[Overlap]:
    known = defaultdict(list)
    for train_id, words in trains:
        known[words].append(train_id)
    return [Overlap(train_id, test_id, "exact", 1.0) for test_id, words in tests for train_id in known.get(words, ())]


def _near(
    trains: Sequence[tuple[str, Tokens]],
    tests: Sequence[tuple[str, Tokens]],
    common: set[Tokens],
    ngram: int,
    threshold: float,
) -> Iterator[Overlap]:
    sizes: dict[str, int] = {}
    holders = defaultdict(list)
    for test_id, words in tests:
        runs = set(_runs(words, ngram)) - common
        sizes[test_id] = len(runs)
        for run in runs:
            holders[run].append(test_id)
    best: dict[str, Overlap] = {}
    for train_id, words in trains:
        shared = Counter(test_id for run in set(_runs(words, ngram)) for test_id in holders.get(run, ()))
        for test_id, count in shared.items():
            share = count / sizes[test_id]
            if share >= threshold and (test_id not in best or share > best[test_id].share):
                best[test_id] = Overlap(train_id, test_id, "near", round(share, 3))
    yield from best.values()


def _common(tests: Sequence[tuple[str, Tokens]], ngram: int) -> set[Tokens]:
    """Return the runs that are boilerplate of the test set."""
    counts = Counter(run for _, words in tests for run in set(_runs(words, ngram)))
    most = max(3, _COMMON * len(tests))
    return {run for run, count in counts.items() if count > most}


def _runs(words: Tokens, ngram: int) -> Iterator[Tokens]:
    """Yield all runs of `ngram` words; a shorter text is one run."""
    for start in range(max(1, len(words) - ngram + 1)):
        yield words[start : start + ngram]
