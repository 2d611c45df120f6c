"""`arith`: short word problems, generated; a task small enough for the embedded model, hard enough that training shows.

Problem `index` of a split is a pure function of (split, level, index), so no file holds the task. Train and test are
disjoint: a problem belongs to the split that the hash of its text picks, and a generator rejects what is not its own. Levels 1
to 4 have as many operations; the numbers grow with the level. `solve` writes the worked answer that the model `demo` learnt from.
"""

import hashlib
import random
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from ..rewards.errors import InputError, nearest
from ..rewards.records import Message, Problem
from .base import BOXED_PROMPT, BOXED_PROMPT_SOURCE

Split = Literal["train", "test"]

LEVELS = (1, 2, 3, 4)
TEST_SHARE = 10
"""One text in ten belongs to the test split."""

_NAMES = ("Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hugo", "Iris", "Jon", "Kim", "Leo", "Mia", "Noah", "Olga", "Paul")
_THINGS = ("apples", "books", "cards", "coins", "eggs", "marbles", "pens", "shells", "stamps", "stickers")
_MORE = (
    "{name} buys {n} more.",
    "{name} finds {n} more.",
    "{other} gives {name} {n} {things}.",
    "Then {n} {things} are added.",
)
_LESS = (
    "{name} gives {n} to {other}.",
    "{name} loses {n} of them.",
    "{name} sells {n} {things}.",
    "Then {n} {things} are taken away.",
)
_TIMES = ("Then the number of {things} grows to {n} times as many.", "{other} makes it {n} times as many.")
_SHARE = (
    "{name} shares them equally among {n} friends and looks at one share.",
    "{name} packs them equally into {n} bags and keeps one bag.",
)
_ASK = ("How many {things} are there now?", "How many {things} does {name} have in the end?")
_PHRASES = {"+": _MORE, "-": _LESS, "*": _TIMES, "/": _SHARE}
_LARGEST = {1: 30, 2: 50, 3: 75, 4: 99}


@dataclass(frozen=True, slots=True)
class Word:
    """A word problem: its text, the steps (left, operator, right, result), and the answer."""

    text: str
    level: int
    steps: tuple[tuple[int, str, int, int], ...]

    @property
    def answer(self) -> int:
        return self.steps[-1][3]


def generate(split: Split, level: int, index: int) -> Word:
    """Return problem `index` of a split at a level: the same arguments give the same problem on every machine."""
    rng = random.Random(f"arith/1/{split}/{level}/{index}")
    while True:
        word = _draw(rng, level)
        if split_of(word.text) == split:
            return word


def split_of(text: str) -> Split:
    """The split a problem text belongs to, by its hash."""
    digest = hashlib.sha256(text.encode()).digest()
    return "test" if int.from_bytes(digest[:4], "big") % TEST_SHARE == 0 else "train"


def solve(word: Word) -> str:
    """The worked answer: one equation a line, then the boxed result."""
    lines = [f"{left}{operator}{right}={result}" for left, operator, right, result in word.steps]
    return "\n".join([*lines, f"The answer is \\boxed{{{word.answer}}}"])


def _draw(rng: random.Random, level: int) -> Word:
    largest = _LARGEST[level]
    name, other = rng.sample(_NAMES, 2)
    things = rng.choice(_THINGS)
    value = rng.randint(2, largest)
    sentences = [f"{name} has {value} {things}."]
    steps = []
    for _ in range(level):
        operator, n = _operation(rng, value, largest)
        result = {"+": value + n, "-": value - n, "*": value * n, "/": value // max(n, 1)}[operator]
        steps.append((value, operator, n, result))
        sentences.append(rng.choice(_PHRASES[operator]).format(name=name, other=other, things=things, n=n))
        value = result
    sentences.append(rng.choice(_ASK).format(name=name, things=things))
    return Word(" ".join(sentences), level, tuple(steps))


def _operation(rng: random.Random, value: int, largest: int) -> tuple[str, int]:
    """A step that keeps the running value between 1 and `largest`."""
    options = []
    if value + 2 <= largest:
        options += [("+", rng.randint(2, largest - value))] * 2
    if value > 2:
        options += [("-", rng.randint(2, value - 1))] * 2
    options += [("*", n) for n in (2, 3, 4) if value * n <= largest][:2]
    options += [("/", n) for n in (2, 3, 4, 5) if value % n == 0 and value > n][:1]
    return rng.choice(options)


@dataclass(frozen=True)
class Arith:
    """The benchmark: problems of the chosen levels in turn, `size` in all."""

    options: ClassVar[tuple[str, ...]] = ("split", "levels", "size", "max_new_tokens")
    variant_option: ClassVar[str] = "split"
    groups: ClassVar[tuple[str, ...]] = ("level",)

    split: Split = "test"
    levels: tuple[int, ...] = LEVELS
    size: int = 1000
    max_new_tokens: int = 128
    description: str = "Generated arithmetic word problems, four levels (embedded; what the model demo was made for)"
    verifier: str = "math"
    verifier_options: ClassVar[dict[str, Any]] = {}
    metric: str = "mean"
    samples: int = 1
    prompt_template: str = BOXED_PROMPT
    prompt_source: str = BOXED_PROMPT_SOURCE
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.split not in get_args(Split):
            raise InputError(
                f"task 'arith' has no split {self.split!r}{nearest(self.split, get_args(Split))}; splits: train, test"
            )
        if not self.levels or any(level not in LEVELS for level in self.levels):
            raise InputError(f"task 'arith': levels {list(self.levels)} are not among {list(LEVELS)}")
        if self.size < 1:
            raise InputError(f"task 'arith': size {self.size} must be at least 1")

    @property
    def name(self) -> str:
        return "arith" if self.split == "test" else f"arith@{self.split}"

    @property
    def revision(self) -> str:
        return f"generated:1 levels {','.join(map(str, self.levels))}"

    def load(self) -> tuple[Problem, ...]:
        """Return the problems, level by level in turn."""
        return tuple(self._problem(*divmod(number, len(self.levels))) for number in range(self.size))

    def _problem(self, index: int, place: int) -> Problem:
        word = generate(self.split, self.levels[place], index)
        return Problem(
            id=f"{self.name}/{word.level}-{index}",
            task=self.name,
            prompt=(Message("user", self.prompt_template.replace("{problem}", word.text)),),
            reference=str(word.answer),
            metadata={"level": word.level},
        )


ARITH = Arith()
