r"""Wrong answers made from right ones, for checking that a verifier tells them apart.

Each differs from the gold answer in one place: a number is one larger, the first two members of a tuple change places, a choice
letter is the next one. Deterministic. Not every gold answer has one (words do not), and what cannot be told to be wrong without
mathematics (a sign in front of zero) is not made.
"""

import re

_NUMBER = re.compile(r"(?<![\d.])(?<!\d,)(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)")
_PAIR = re.compile(r"\(([^(),\[\]]+),([^(),\[\]]+?)(\\right)?([,)])")
_CHOICE = re.compile(r"^(\\text\{)?\(?([A-D])\)?\}?$")


def perturbed(gold: str) -> list[str]:
    """Return up to four wrong answers near `gold`."""
    numbers = list(_NUMBER.finditer(gold))
    chosen = {match.start(): match for match in (numbers[:1] + numbers[-1:])}
    wrong = [
        _replaced(gold, match, str(int(match.group().replace(",", "")) + 1))
        for match in chosen.values()
        if len(match.group()) < 300
    ]
    if pair := _PAIR.search(gold):
        first, second = pair.group(1), pair.group(2)
        if first.strip() != second.strip():
            wrong.append(_replaced(gold, pair, f"({second},{first}{pair.group(3) or ''}{pair.group(4)}"))
    if choice := _CHOICE.match(gold):
        wrong.append(gold.replace(choice.group(2), chr(ord(choice.group(2)) + 1)))
    return wrong


def _replaced(text: str, match: re.Match[str], by: str) -> str:
    return text[: match.start()] + by + text[match.end() :]
