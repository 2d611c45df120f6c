r"""One spelling for what is written in many: Unicode and LaTeX styles become plain LaTeX.

`normalise` keeps the meaning: it maps characters (minus signs, fractions, superscripts, Greek, full-width digits) and commands
(`\dfrac`, `\left`, `\,`, `\tfrac12`) to one form and joins digits grouped by thousands separators, but drops no unit, no sign
and no bracket. `string_key` is the form under which two answers are equal as strings. Look-alike letters of other alphabets are
left alone, so that they stay different from the letters they imitate.
"""

import re
from functools import lru_cache

from .characters import to_latex

# Order matters: `\left\{` must lose its `\left` before braces are read, `\!` before thousands are joined.
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\mathrm\s*\{\s*([ei])\s*\}", r"\1"),
        (r"\{\s*\\rm(?![a-zA-Z])\s*([^{}\\]*)\}|\\rm\s*\{([^{}\\]*)\}|\\operatorname\*?\s*\{([a-zA-Z]+)\}", r"\\text{\1\2\3}"),
        (r"\\math(?:open|close|bin|rel|ord|strut)(?![a-zA-Z])(?:\s*\{\s*\})?", " "),
        (r"\\(?:text|mathrm|mbox)\s*\{\s*(\\\$|\\%)\s*\}", r"\1"),
        (r"\\(?:text|mathrm|mbox)\s*\{[\s.,;]*\}", " "),
        (r"\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}", r"\\binom{\1}{\2}"),
        (r"^\s*(?:\\text\s*\{\s*)?(?:[Tt]he )?(?:[Ff]inal |correct )?[Aa]nswer(?: is:?|:)\s(?!\})", ""),
        (r"\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])\s*\.", ""),
        (r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![a-zA-Z])", ""),
        (r"\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|rm|bf|it|hfill|centering)(?![a-zA-Z])", " "),
        (r"(?<=\d)(?:,\s*\\!|\s*\{\s*,\s*\})\s*(?=\d{3}(?!\d))", ""),
        (r"(?<!\\)\\!|\\(?:hspace|vspace|label)\s*\{[^{}]*\}|\\h?phantom(?![a-zA-Z])(?:\s*\{[^{}]*\})?", ""),
        (r"(?<!\\)\\(?:[,:;> ]|q?quad(?![a-zA-Z])|enspace(?![a-zA-Z])|thinspace(?![a-zA-Z]))|~", " "),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\[dt]binom(?![a-zA-Z])", r"\\binom"),
        (
            r"\\(?:text|textnormal|textrm|textbf|textit|textsf|texttt|mbox|hbox|mathrm|mathit|mathsf|mathtt|emph)(?![a-zA-Z])\s*\{",
            r"\\text{",
        ),
        (
            r"\\(?:mathbf|boldsymbol|bold|bm|mathcal|mathfrak|mathscr|vec|hat|overrightarrow)(?![a-zA-Z])\s*\{([a-zA-Z\d\s.,+\-]*)\}",
            r"\1",
        ),
        (r"\\(?:leqslant|leqq|leq)(?![a-zA-Z])|<=|=<", r"\\le "),
        (r"\\(?:geqslant|geqq|geq)(?![a-zA-Z])|>=", r"\\ge "),
        (r"\\neq(?![a-zA-Z])|!=", r"\\ne "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\*\*", "^"),
        (r"\\(?:ast|star)(?![a-zA-Z])", "*"),
        (r"\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\circ(?![a-zA-Z]))|\\degrees?(?![a-zA-Z])", r"\\degree "),
        (r"\\(?:varnothing)(?![a-zA-Z])|\\\{\s*\\\}", r"\\emptyset "),
        (r"\\(?:lbrace)(?![a-zA-Z])", r"\\{"),
        (r"\\(?:rbrace)(?![a-zA-Z])", r"\\}"),
        (r"\\(?:lvert|rvert|vert|mid)(?![a-zA-Z])", "|"),
        (r"\\(?:dots|cdots|dotsc|dotsb|dotsm)(?![a-zA-Z])|\.\.\.+", r"\\ldots "),
        (r"(?<=[\d\s{}])[aA](?:m|M|\.\s?[mM]\.?)(?![a-zA-Z])", " am "),
        (r"(?<=[\d\s{}])[pP](?:m|M|\.\s?[mM]\.?)(?![a-zA-Z])", " pm "),
        (r"^\s*\\approx(?![a-zA-Z])", ""),
        (r"\\(?:wedge)(?![a-zA-Z])", r"\\land "),
        (r"\\(?:vee)(?![a-zA-Z])", r"\\lor "),
        (r"\\varphi(?![a-zA-Z])", r"\\phi "),
        (r"\\varepsilon(?![a-zA-Z])", r"\\epsilon "),
        (r"\\(?:boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\})*)\}", r"\1"),
    )
)
_MATH_DELIMITERS = re.compile(r"(?<!\\)\$+|\\[()\[\]]")
_SPACES = re.compile(r"(?<!\d) +| +(?!\d)")


@lru_cache(8192)
def normalise(answer: str) -> str:
    """Return `answer` in the one spelling that `tokens` reads."""
    if not answer.isascii():
        answer = to_latex(answer)
    if "\\" in answer or not answer.isalnum():
        answer = _MATH_DELIMITERS.sub(" ", answer)
        for pattern, replacement in _REWRITES:
            answer = pattern.sub(replacement, answer)
        answer = _join_thousands(answer)
    return " ".join(answer.split()).rstrip(" .,;")


def string_key(normal: str) -> str:
    r"""Return the form under which normalised answers are compared as strings: spaces only where they keep digits apart."""
    return _SPACES.sub("", normal)


def _join_thousands(answer: str) -> str:
    """Drop thousands separators, but not between brackets, where `(1,234)` is a pair."""
    if not re.search(r"\d[, ]\d{3}", answer):
        return answer
    depth, parts, last = 0, [], 0
    for match in re.finditer(r"\\[{}]|[()\[\]]|(?<![\d.,])\d{1,3}(?:(?:,\d{3})+|(?: \d{3})+)(?!\d|,\d)", answer):
        token = match.group()
        if token in ("(", "[", r"\{"):
            depth += 1
        elif token in (")", "]", r"\}"):
            depth -= 1
        elif depth <= 0:
            parts += [answer[last : match.start()], token.replace(",", "").replace(" ", "")]
            last = match.end()
    return "".join(parts) + answer[last:]
