r"""Finding the final answer in what a model wrote.

An extractor looks for one sign of a final answer; `extract` tries them in an order that the benchmark chooses:
- `boxed`: the last balanced `\boxed{...}` or `\fbox{...}`;
- `hash`: the rest of the line after the last `####` (GSM8K);
- `phrase`: what follows the last "the answer is", "final answer:" and the like, up to the end of the sentence;
- `whole`: the completion itself, when it is nothing but an answer;
- `bold`: the last `**...**`; `dollar`: the last `$...$`, `\(...\)` or `\[...\]`;
- `line`: the final line, or what its last "=" or "is" points to;
- `number`: the last number anywhere (GSM8K's flexible rule; in no default order, because it also finds answers by accident).

`<think>` blocks are removed first; a block that never closes leaves nothing. When several places match, the last one counts.
Not covered: judging whether the answer is any good (`answers`), and choice letters (`choice`).
"""

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from .errors import InputError, nearest

Extractor = Literal["boxed", "hash", "phrase", "whole", "bold", "dollar", "line", "number"]

MATH_ORDER: tuple[Extractor, ...] = ("boxed", "hash", "phrase", "whole", "bold", "dollar", "line")
GSM8K_ORDER: tuple[Extractor, ...] = ("boxed", "hash", "phrase", "whole", "bold", "dollar", "line", "number")


class Extraction(NamedTuple):
    """The answer found, and by which extractor."""

    answer: str
    how: Extractor


def extract(text: str, order: tuple[Extractor, ...] = MATH_ORDER) -> Extraction | None:
    """Return the final answer of `text` by the first extractor of `order` that finds one, or None."""
    text = _TURN_END.split(after_thinking(text).lstrip(), maxsplit=1)[0]
    for how in order:
        if (found := EXTRACTORS[how](text)) is not None:
            answer = trim(found)
            return Extraction(answer, how) if answer else None
    return None


# Marks that end a turn, where a decoder left them in the text: what follows is another turn.
_TURN_END = re.compile(r"(?:<\|(?:im_end|im_start|endoftext|eot_id|end)\|>|</s>|<eos>)")


def check_order(order: tuple[str, ...]) -> None:
    """Raise InputError when `order` names an extractor that does not exist."""
    for how in order:
        if how not in EXTRACTORS:
            raise InputError(f"no extractor is called {how!r}{nearest(how, EXTRACTORS)}; known: {', '.join(EXTRACTORS)}")


def after_thinking(text: str) -> str:
    """Return `text` without its reasoning: closed blocks, an open block, and all before a lone closing tag."""
    if "think" not in text:
        return text
    head, tag, tail = text.rpartition("</think>")
    if tag and "<think>" not in tail:
        return tail if "<think>" not in head or head.lstrip().startswith("<think>") else _without_blocks(text)
    return _without_blocks(text)


def _without_blocks(text: str) -> str:
    return re.sub(r"<think>.*?(?:</think>|\Z)", "", text, flags=re.S)


_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![a-zA-Z])\s*")
_BRACE = re.compile(r"\\.|[{}]", re.S)
_BARE = re.compile(r"[^\s${}]+")


def boxes(text: str) -> list[str]:
    r"""Return the contents of every balanced box, in the order in which the boxes open.

    Without a brace after the command (`\boxed 5`) the content is what goes up to the next white space or dollar sign.
    """
    found = []
    starts = [match.end() for match in _BOX.finditer(text)]
    partners = brace_partners(text) if starts else {}
    for start in starts:
        if text[start : start + 1] != "{":
            if bare := _BARE.match(text, start):
                found.append(bare.group())
        elif start in partners:
            found.append(text[start + 1 : partners[start]])
    return found


def brace_partners(text: str) -> dict[int, int]:
    """Return the position of the closing brace of every opening one that has one. Escaped braces do not count."""
    partners, open_braces = {}, []
    for match in _BRACE.finditer(text):
        if match.group() == "{":
            open_braces.append(match.start())
        elif match.group() == "}" and open_braces:
            partners[open_braces.pop()] = match.start()
    return partners


def _boxed(text: str) -> str | None:
    found = boxes(text)
    return found[-1] if found else None


def _hash(text: str) -> str | None:
    _, mark, tail = text.rpartition("####")
    return tail.strip().split("\n")[0] if mark and tail.strip() else None


_PHRASE = re.compile(
    r"(?:\b(?:final|correct|right)\s+(?:answer|result|value)|\b(?:the\s+)?answer)\b"
    r"(?:[ ](?:to|of|for)\b[^.:\n]{0,80}?)?[ ]{0,2}\**[ ]{0,2}"
    r"(?:(?:is|are|equals|would\s+be|should\s+be|must\s+be)\b\s*(?::|\bthat\b)?|[:=])[\s*]*",
    re.I,
)
_SENTENCE_END = re.compile(r"(?<!\.)[.。](?!\.)(?=\s|\**\s*$|\**\n)|!(?=\s+[A-Z])|\n\s*\n|\n(?![\s\\&$}])")


def _phrase(text: str) -> str | None:
    text = text[-_PHRASE_REACH:]
    for match in reversed(list(_PHRASE.finditer(text))):
        rest = text[match.end() :]
        if rest.strip():
            found = _first_answer(rest)
            # "Final Answer: The largest n is 34."
            return _line(found) or found if _words(found) > 3 or _VERB.search(found) else found
    return None


def _first_answer(rest: str) -> str:
    """Return what a sentence that announces an answer goes on to name: delimited mathematics, or the words up to its end."""
    for pattern in (*_MATH, _BOLD):
        if match := pattern.match(rest):
            return match.group(1)
    end = _SENTENCE_END.search(rest)
    return rest[: end.start()] if end else rest


_PHRASE_REACH = 20_000  # characters before the end in which a final answer is announced
_VERB = re.compile(r"\b(?:is|are|equals)\b")
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_MATH = (
    re.compile(r"\$\$(.+?)\$\$", re.S),
    re.compile(r"(?<![\\$])\$([^$]+?)(?<!\\)\$"),
    re.compile(r"\\\((.+?)\\\)", re.S),
    re.compile(r"\\\[(.+?)\\\]", re.S),
)
_DELIMITER = re.compile(r"\$\$|\$|\\[()\[\]]|\\.", re.S)
_CLOSES = {"$$": "$$", "$": "$", r"\(": r"\)", r"\[": r"\]"}


def _bold(text: str) -> str | None:
    found = list(_BOLD.finditer(text))
    if not found or _is_followed_by_another(text, found[-1].end()) or found[-1].group(1).rstrip().endswith(":"):
        return None
    return found[-1].group(1)


def _dollar(text: str) -> str | None:
    """One pass over the delimiters; each opens a formula, closes the open one, or is ignored inside it."""
    last: tuple[int, int] | None = None
    opening, start = "", 0
    for match in _DELIMITER.finditer(text):
        token = match.group()
        if opening and token == _CLOSES[opening]:
            last, opening = (start, match.start()), ""
        elif not opening and token in _CLOSES:
            opening, start = token, match.end()
    if last is None or _is_followed_by_another(text, last[1]):
        return None
    formula = text[last[0] : last[1]]
    return formula if _words(formula) <= 3 else None  # dollar signs around prose are money


def _is_followed_by_another(text: str, end: int) -> bool:
    """Tell whether a number stands after `end`: then what stands before it is not the final answer."""
    return bool(re.search(r"\d", text[end:]))


_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|textbf|mbox|begin|end)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_CHOICE = re.compile(r"\(?[A-J][).:]\s")
_WORD = re.compile(r"[^\W\d_]{2,}")


def _whole(text: str) -> str | None:
    """Nothing but an answer: one line or one formula, and hardly a word outside the mathematics."""
    text = text.strip()
    if not text or ("\n" in text and "\\begin" not in text):
        return None
    return text if _words(text) <= 3 or _CHOICE.match(text) else None


def _words(text: str) -> int:
    return len(_WORD.findall(_TEXT_COMMAND.sub(" ", text)))


_CLOSING_PHRASE = re.compile(r"I hope (?:it|this) is correct\.?\s*$")


def _line(text: str) -> str | None:
    """The final line if it is an answer, else what it comes to: `2 * 12 = 24`, `so the total is 24`."""
    last = trim(_CLOSING_PHRASE.sub("", text).strip().rpartition("\n")[2])
    if _words(last) > 3:
        last = trim(re.split(r"(?<=[.!?])\s+(?=[A-Z\\$(])", last)[-1])
    left, equals, right = last.rpartition("=")
    if equals and _words(left) == 0 and not re.search("[a-zA-Z]", left) and right.strip():
        return right
    if _whole(last) is not None and not _VERB.search(last):
        return last
    pointed = trim(re.split(r"\bis\b|\bare\b|=|:", last)[-1])
    if pointed and pointed != last and _words(pointed) <= (3 if re.search(r"\d", pointed) else 1):
        return pointed
    numbers = _numbers(last)
    return numbers[0] if len(numbers) == 1 else None


_NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?|(?<![\w.])-?\.\d+")


def _numbers(text: str) -> list[str]:
    return _NUMBER.findall(text)


def _number(text: str) -> str | None:
    numbers = _numbers(text)
    return numbers[-1] if numbers else None


EXTRACTORS: dict[str, Callable[[str], str | None]] = {
    "boxed": _boxed,
    "hash": _hash,
    "phrase": _phrase,
    "whole": _whole,
    "bold": _bold,
    "dollar": _dollar,
    "line": _line,
    "number": _number,
}

_PAIRS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))


def trim(answer: str) -> str:
    """Strip what surrounds an answer and is no part of it: white space, delimiters, markdown, a final full stop."""
    previous = None
    while previous != answer:
        previous = answer
        answer = answer.strip()
        if not answer.endswith("..."):  # 0.333... is a number
            answer = answer.rstrip(" \t\r\n.,;:。\\")
        for stripped in _undelimited(answer):
            answer = stripped
    return answer


def _undelimited(answer: str) -> Iterator[str]:
    for opening, closing in _PAIRS:
        inner = answer[len(opening) : -len(closing)]
        if (
            answer.startswith(opening)
            and answer.endswith(closing)
            and len(answer) > len(opening + closing)
            and opening not in inner
        ):
            yield inner
            return
