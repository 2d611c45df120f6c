r"""Answers in words: names, weekdays, "no solution", and letters of multiple-choice questions."""

import re

_WRAPPERS = re.compile(r"\\(?:text|textbf|mathbf|operatorname|mathrm|bm)\s*|[{}$\\]")
_TEXT = re.compile(r"\\(?:text|textbf|mathbf|mathrm)\s*\{([^{}\\]*)\}")
_WORDS = re.compile(r"[A-Za-z][A-Za-z\s.,'\-()]*(?:\s\d{1,4}[A-Za-z\s.,'\-()]*)?")
_ARTICLES = re.compile(r"\b(?:the|an?)\s+(?=\w)")
_CHOICE = re.compile(r"^\s*(?:\\text\{)?\s*(?i:option|choice|answer)?\s*\(?\s*([A-Ja-j])\s*\)?\s*[.:]?\s*\}?\s*$")
_GOLD_CHOICE = re.compile(r"^(?:\\text\{\s*\(?([A-J])\)?\s*\}|\(([A-J])\)|\(\\text\{([A-J])\}\)|([A-J]))$")
_CHOICE_THEN_VALUE = re.compile(r"^(?:\\text\{)?\s*(?:\(([A-J])\)|([A-J])[).:])\s*\}?\s*(\S.*)$")
_SAME = {
    "no solutions": "no solution",
    "no solution exists": "no solution",
    "there is no solution": "no solution",
    "there are no solutions": "no solution",
    "no real solutions": "no real solution",
    "does not exist": "dne",
    "doesn't exist": "dne",
    "all real number": "all real numbers",
    "all reals": "all real numbers",
}


def words(normal: str) -> str:
    """Return the words of an answer in lower case, without wrappers, articles and punctuation."""
    plain = _WRAPPERS.sub("", normal).replace("~", " ").lower()
    plain = _ARTICLES.sub("", re.sub(r"[.,;:!()\"']+(?=\s|$)|^[(\"']+", " ", plain))
    plain = re.sub(r"^(?:on|in|at)\s+(?=\w)", "", " ".join(plain.split()))
    return _SAME.get(plain, plain)


def is_wordy(normal: str) -> bool:
    """Tell whether the answer is words and nothing else (a number may follow a word: `October 30`)."""
    plain = _TEXT.sub(r"\1", normal)
    return bool(_WORDS.fullmatch(plain)) and (plain != normal or bool(re.search(r"[A-Za-z]{3}", plain)))


def gold_choice(normal: str) -> str:
    """Return the letter when the gold answer is a choice, else an empty string."""
    match = _GOLD_CHOICE.match(normal)
    return next(filter(None, match.groups()), "") if match else ""


def choice(normal: str, gold: str) -> str:
    """Return the letter that an answer chooses, or an empty string. A bare small letter is a variable unless `gold` is marked."""
    if match := _CHOICE.match(normal):
        letter = match.group(1)
        return letter.upper() if letter.isupper() or len(normal) > 1 or len(gold) > 1 else ""
    if match := _CHOICE_THEN_VALUE.match(normal):
        following = match.group(3)
        # "(A) or (B)" chooses nothing; "(A) 12" chooses A.
        guesses = re.search(r"\([A-J]\)|\b(?:or|and|not)\b|\?", following)
        return "" if guesses or re.match(r"[-+*/=^<>,]", following) else match.group(1) or match.group(2)
    return ""
