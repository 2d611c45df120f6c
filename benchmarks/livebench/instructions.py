r"""LiveBench instruction following: which of the verifiable instructions of a question an answer follows.

The sixteen kinds that the public questions use, checked strictly as IFEval (Zhou et al. 2023) defines them. Counting sentences
needs a splitter: upstream uses NLTK's trained one, this a rule (a stop, then space and a capital, digit or quote; no stop after
a title or an initial), so counts at the limit may differ by one.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from .text import Question, Score

Check = Callable[[str, Mapping[str, Any]], bool]

_ABBREVIATIONS = r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bProf)(?<!\bvs)(?<!\be\.g)(?<!\bi\.e)(?<!\b[A-Z])"
_SENTENCE_END = re.compile(rf"(?:{_ABBREVIATIONS}\.|[!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9*#-])|\n\s*\n")
_CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def instruction_following(question: Question, answer: str) -> Score:
    """Return (all followed + share followed) / 2."""
    followed = [
        bool(answer.strip()) and CHECKS[instruction["id"]](answer, instruction["kwargs"]) for instruction in question.instructions
    ]
    share = sum(followed) / len(followed)
    missed = [i["id"] for i, ok in zip(question.instructions, followed, strict=True) if not ok]
    return Score((all(followed) + share) / 2, f"not followed: {', '.join(missed)}" if missed else "all followed")


def count_sentences(text: str) -> int:
    return len([part for part in _SENTENCE_END.split(text) if part.strip()])


def _relation(count: int, relation: str, limit: int) -> bool:
    return count < limit if relation == "less than" else count >= limit


def _keywords(text: str, kwargs: Mapping[str, Any]) -> bool:
    return all(re.search(word, text, re.I) for word in kwargs["keywords"])


def _forbidden(text: str, kwargs: Mapping[str, Any]) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.I) for word in kwargs["forbidden_words"])


def _ends_with(text: str, kwargs: Mapping[str, Any]) -> bool:
    return bool(text.strip().strip('"').lower().endswith(kwargs["end_phrase"].strip().lower()))


def _postscript(text: str, kwargs: Mapping[str, Any]) -> bool:
    marker = kwargs["postscript_marker"].strip()
    patterns = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}
    return re.search(patterns.get(marker, rf"\s*{marker.lower()}.*$"), text.lower(), re.M) is not None


def _title(text: str, _: Mapping[str, Any]) -> bool:
    return any(title.strip("<>").strip() for title in re.findall(r"<<[^\n]+>>", text))


def _sentences(text: str, kwargs: Mapping[str, Any]) -> bool:
    return _relation(count_sentences(text), kwargs["relation"], kwargs["num_sentences"])


def _words(text: str, kwargs: Mapping[str, Any]) -> bool:
    return _relation(len(re.findall(r"\w+", text)), kwargs["relation"], kwargs["num_words"])


def _quotation(text: str, _: Mapping[str, Any]) -> bool:
    stripped = text.strip()
    return len(stripped) > 1 and stripped[0] == '"' and stripped[-1] == '"'


def _sections(text: str, kwargs: Mapping[str, Any]) -> bool:
    splitter = kwargs["section_spliter"].strip()
    return bool(len(re.split(rf"\s?{splitter}\s?\d+\s?", text)) - 1 >= kwargs["num_sections"])


def _first_word(text: str, kwargs: Mapping[str, Any]) -> bool:
    paragraphs = text.split("\n\n")
    count = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    if kwargs["nth_paragraph"] > count or not (paragraph := paragraphs[kwargs["nth_paragraph"] - 1].strip()):
        return False
    word = re.split(r"[.,?!'\"]", paragraph.split()[0].lstrip("'").lstrip('"'))[0].lower()
    return bool(count == kwargs["num_paragraphs"] and word == kwargs["first_word"].lower())


def _paragraphs(text: str, kwargs: Mapping[str, Any]) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", text)
    if any(not part.strip() for part in parts[1:-1]):
        return False
    return bool(sum(bool(part.strip()) for part in parts) == kwargs["num_paragraphs"])


def _bullets(text: str, kwargs: Mapping[str, Any]) -> bool:
    starred, dashed = re.findall(r"^\s*\*[^*].*$", text, re.M), re.findall(r"^\s*-.*$", text, re.M)
    return bool(len(starred) + len(dashed) == kwargs["num_bullets"])


def _json_format(text: str, _: Mapping[str, Any]) -> bool:
    inner = re.sub(r"^```(?:json|Json|JSON)?", "", text.strip()).removesuffix("```").strip()
    try:
        json.loads(inner)
    except (ValueError, RecursionError):
        return False
    return True


def _two_responses(text: str, _: Mapping[str, Any]) -> bool:
    parts = text.split("******")
    if any(not part.strip() for part in parts[1:-1]):
        return False
    answers = [part.strip() for part in parts if part.strip()]
    return len(answers) == 2 and answers[0] != answers[1]


def _repeats(text: str, kwargs: Mapping[str, Any]) -> bool:
    return text.strip().lower().startswith(str(kwargs["prompt_to_repeat"]).strip().lower())


def _constrained(text: str, _: Mapping[str, Any]) -> bool:
    return any(choice in text for choice in _CHOICES)


CHECKS: Mapping[str, Check] = {
    "combination:repeat_prompt": _repeats,
    "combination:two_responses": _two_responses,
    "detectable_content:postscript": _postscript,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:json_format": _json_format,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:title": _title,
    "keywords:existence": _keywords,
    "keywords:forbidden_words": _forbidden,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_words": _words,
    "startend:end_checker": _ends_with,
    "startend:quotation": _quotation,
}
