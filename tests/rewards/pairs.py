"""The labelled table of answer pairs (tests/data/math_pairs.txt) and answers made to attack a grader."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).parents[1] / "data" / "math_pairs.txt"
SHARED = Path(__file__).parents[2] / ".." / "shared"


class Pair(NamedTuple):
    """A gold answer, an answer, whether they are equal, and what kind of pair it is."""

    kind: str
    gold: str
    answer: str
    equal: bool


def labelled_pairs() -> list[Pair]:
    """Read the table."""
    pairs, kind = [], ""
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]") and "  " not in line:
            kind = line[1:-1]
            continue
        for sign, equal in (("  ==  ", True), ("  <>  ", False)):
            if sign in line and not line.startswith("#"):
                gold, answer = line.split(sign)
                pairs.append(Pair(kind, gold, answer, equal))
    return pairs


_BOMBS = [
    r"9^{9^{9^{9}}}",
    r"9^{9^{9^{9^{9^{9}}}}}",
    r"2^{2^{2^{2^{2^{2}}}}}",
    "9**9**9**9",
    "(10^9)!",
    "10^9!",
    "((((5!)!)!)!)!",
    "99999999!",
    r"\binom{10^{12}}{10^{11}}",
    "10^{10^{10}}",
    "7^{7^{7}}-7^{7^{7}}+5",
    r"x^{x^{x^{x^{x}}}}",
    r"(x+1)^{10000000}",
    r"\exp(\exp(\exp(\exp(10))))",
    r"e^{e^{e^{e^{e}}}}",
    r"\sqrt[10^{9}]{10^{10^{9}}}",
    r"\sum_{k=1}^{\infty} \frac{1}{k^2}",
    r"\sum_{k=1}^{10^{12}} k",
    r"\prod_{k=1}^{10^{9}} k",
    r"\int_0^{\infty} e^{-x^2} dx",
    r"\lim_{n\to\infty} (1+1/n)^n",
    r"\sin(10^{10^{10}})",
    r"\tan(\tan(\tan(\tan(10^{200}))))",
    r"\Gamma(10^{10})",
    r"1e999999999",
    r"1.5e-99999999",
    "0.000000001e400",
    r"\frac{1}{0}",
    r"0^0",
    r"0^{-1}",
    r"\frac{0}{0}",
    r"\log_1 5",
    r"\sqrt[0]{5}",
    "5" + "!" * 40,
    "5" + r"\%" * 200,
    "-" * 500 + "5",
    "+" * 1000 + "5",
    "(" * 100 + "5" + ")" * 100,
    "{" * 400 + "5" + "}" * 400,
    "(" * 5000,
    r"\frac{1}{" * 200 + "5" + "}" * 200,
    r"\sqrt{" * 60 + "5" + "}" * 60,
    r"\left(" * 80 + "5" + r"\right)" * 80,
    "5" * 100_000,
    "5 " * 50_000,
    "1+" * 900 + "1",
    "x" * 1_900,
    "1," * 900 + "1",
    r"\pm 1" * 60,
    r"\{" + ",".join(str(n) for n in range(400)) + r"\}",
    "__import__('os').system('true')",
    "__import__('os').getcwd()",
    "eval('2+3')",
    "exec('x=5')",
    "lambda: 5",
    "().__class__.__bases__[0].__subclasses__()",
    "os.system('id')",
    "open('/etc/passwd').read()",
    "5 if True else 0",
    "print(5)",
    "sympify('5')",
    "exit()",
    r"\input{/etc/passwd}",
    r"\write18{id}",
    r"\def\x{5}\x",
    r"\newcommand{\x}{5}\x",
    r"\loop\iftrue\repeat",
    "5\x00",
    "\x005",
    "5\x1b[31m",
    "\u202e5",
    "5\u200b",
    "\u2066 5",
    "\ufeff5",
    "",
    " ",
    "{}",
    r"\text{}",
    r"\,",
    "5?",
    "5 or 6",
    r"5 \text{ or } 6",
    r"5, 6, 7",
    r"\{4, 5, 6\}",
    r"4 \text{ or } 5",
    r"5/6/7/5",
    r"\text{maybe } 5",
    r"\text{not } 5",
    r"5 \text{ is wrong}",
    r"5 \ne 6",
    r"x \ne 5",
    "5 = 6",
    "6 = 5",
    "5 < 6",
    "x = 5 = 6",
    "[5, 6)",
    "1, 2, 3, 4, 5",
    "0 to 10",
    "5 \\approx 6",
    "6 \\approx 5",
    r"\boxed{5} \boxed{4}",
    "What is 2+3? Put your final answer within \\boxed{}.",
    "the gold answer",
    "the correct answer",
    "anything",
    r"\infty",
    "NaN",
    "nan",
    "inf",
    "None",
    "True",
    "ⅴ",
    "۵",
    "５６",
    "５.１",
    "b",
    "5̶",
    "五",
    r"\mathbf{6}",
    "&" * 500,
    r"\\" * 500,
    r"\begin{pmatrix}" * 30,
    r"\begin{pmatrix}" + "&".join("1" * 300) + r"\end{pmatrix}",
    "|" * 301,
    "_" * 300,
    "^" * 300,
    "$" * 999,
    r"\(" * 300,
    "'" * 300,
    "a'" * 200,
    ":" * 200,
    "1:" * 200 + "1",
    "5 " + "cm " * 200,
    r"\text{" * 100,
    r"\sin" * 200,
    r"\log_" * 100,
    "1/" * 300 + "1",
    "2^" * 300 + "2",
    r"\overline{" * 50 + "5" + "}" * 50,
    "0." + r"\overline{" + "3" * 1500 + "}",
]


def hostile_answers() -> list[str]:
    """Return answers that no grader should accept for the gold answer 5, or hang on."""
    return list(_BOMBS)


def hostile_stream(count: int, seed: int = 0) -> Iterator[str]:
    """Yield `count` hostile answers: the list above, then pieces of it glued together at random."""
    rng = random.Random(seed)
    for index in range(count):
        if index < len(_BOMBS):
            yield _BOMBS[index]
            continue
        glue = rng.choice(["+", "^", r" \cdot ", "!", ",", "/", "", " = 6 = ", r"\text{ or }"])
        yield glue.join(["6", *rng.choices(_BOMBS, k=rng.randint(1, 3))])
