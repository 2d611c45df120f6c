r"""Conventions of published graders, so that a published number can be compared with like.

Each decides one extracted answer the way its code does, as far as that is known and safe: `math_verify` (its defaults), `minerva`
(Lewkowycz et al. 2022, appendix; lm-evaluation-harness), `prm800k` (Lightman et al. 2023, with the normalisation of Hendrycks et
al. 2021), `dllm_rl` (the TraceRL code). Their faults are kept (commas dropped inside tuples, unit words dropped whatever they
measure). Three things differ: hostile answers are refused first, LaTeX is parsed by latex2sympy2 where the originals use sympy's
`parse_latex` or plain text, and there is no clock inside (the pool has one, and does not count queueing).
"""

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

from .cascade import Outcome
from .guard import refusal
from .symbolic import math_verify


def decide(rule: str, gold: str, answer: str) -> Outcome:
    """Return what `rule` says about an extracted answer. To be run where it can be killed."""
    if why := refusal(answer, gold):
        return Outcome(False, why, refused=True)
    return Outcome(_RULES[rule](gold, answer), f"by the {rule} rule")


def by_math_verify(gold: str, answer: str) -> bool:
    """math-verify with its defaults, on one boxed answer per side."""
    module = math_verify()
    mine, yours = (module.parse(rf"\boxed{{{side}}}", parsing_timeout=None) for side in (gold, answer))
    return bool(module.verify(mine, yours, timeout_seconds=None))


# Hendrycks et al.: strings only.


def hendrycks(answer: str) -> str:
    """Normalise as the MATH paper's `is_equiv` does."""
    text = answer.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = re.sub(r"\\[td]frac", r"\\frac", text)
    text = re.sub(r"\\left|\\right|\^\{\\circ\}|\^\\circ|\\\$|\\?%", "", text)
    text = text.split("\\text{ ")[0]
    text = re.sub(r"(?<![\d])\.(?=\d)", "0.", text)
    left, equals, right = text.partition("=")
    text = right if equals and len(left) <= 2 else text
    text = re.sub(r"\\sqrt\s*(\w)", r"\\sqrt{\1}", text).replace(" ", "")
    text = _bare_fractions(text)
    text = r"\frac{1}{2}" if text == "0.5" else text
    slash = re.fullmatch(r"(-?\d+)/(-?\d+)", text)
    return rf"\frac{{{slash.group(1)}}}{{{slash.group(2)}}}" if slash else text


def _bare_fractions(text: str) -> str:
    text = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", text)
    return re.sub(r"\\frac(\d)\{", r"\\frac{\1}{", text)


# Minerva.

_MINERVA_WORDS = r"""
    square ways integers dollars mph inches ft hours km units \ldots sue points feet minutes digits cents degrees cm gm pounds
    meters meals edges students childrentickets multiples \text{s} \text{.} \text{}^2 \text{}^3 \text{} \mathrm{th} ^\circ
    ^{\circ} \; ,\! {,} " \dots
"""
_MINERVA_REMOVED = tuple(_MINERVA_WORDS.split())


def minerva_normal(answer: str) -> str:
    """Normalise as the Minerva paper's appendix does."""
    text = answer.split("=")[-1]
    for before, after in (("an ", ""), ("a ", ""), (".$", "$"), ("\\$", ""), ("\\ ", ""), (" ", ""), ("mbox", "text")):
        text = text.replace(before, after)
    text = text.replace(",\\text{and}", ",").replace("\\text{and}", ",").replace("\\text{m}", "\\text{}")
    for removed in _MINERVA_REMOVED:
        text = text.replace(removed, "")
    if inner := re.search(r"\$(.*?)\$", text):
        text = inner.group(1)
    text = re.sub(r"\\(?:text|textbf|overline|boxed)\{(.*?)\}", r"\1", text)
    text = re.sub(r"(frac)([^{])(.)", r"\1{\2}{\3}", text)
    text = re.sub(r"(sqrt)([^{])", r"\1{\2}", text).replace("$", "")
    return text.replace(",", "") if text.replace(",", "").isdigit() else text


def by_minerva(gold: str, answer: str) -> bool:
    """Equal after normalisation, or the difference of the parsed expressions simplifies to zero."""
    mine, yours = minerva_normal(gold), minerva_normal(answer)
    return mine == yours or _simplifies_to_zero(mine, yours)


# prm800k.

_UNITS_WORDS = """
    degree cm centimeter meter mile second minute hour day week month year foot feet inch yard
"""
_UNITS = tuple(_UNITS_WORDS.split())


def prm800k_normal(answer: str) -> str:
    """Normalise as prm800k's grader does before it turns to sympy."""
    text = re.sub(r"^\\text\{(.+?)\}$", r"\1", answer.strip())
    text = text.replace("\\%", "%").replace("\\$", "$").replace("$", "").replace("%", "")
    text = text.replace(" or ", " , ").replace(" and ", " , ").replace(",\\!", "")
    for word, power in (("million", 6), ("billion", 9), ("trillion", 12)):
        text = text.replace(word, f"*10^{power}")
    for unit in _UNITS:
        text = re.sub(rf"{unit}(?:es)?(?:s)? *(?:\^[0-9]+)?", "", text)
    text = re.sub(r"\^ *\\circ", "", text).strip()
    text = text[1:-1] if len(text) > 1 and text[0] == "{" and text[-1] == "}" else text
    text = re.sub(r"\\(?:text|mathrm)\{\s*\}", "", text).strip()
    text = re.sub(r"(\d) +(?=\d)", r"\1+", text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?:\D|$))", "", text)
    number = re.fullmatch(r"-?\d+\.0*", text)
    return str(int(float(text))) if number else text.replace(" ", "").lower()


def by_prm800k(gold: str, answer: str) -> bool:
    """Hendrycks equality, else elementwise: fractions and integers as they are written, the rest by sympy."""
    if hendrycks(gold) == hendrycks(answer):
        return True
    mine, yours = prm800k_normal(gold), prm800k_normal(answer)
    if not yours:
        return False
    if mine == yours:
        return True
    my_parts, your_parts = _elements(mine), _elements(yours)
    if len(my_parts) != len(your_parts) or (len(my_parts) > 1 and (mine[0], mine[-1]) != (yours[0], yours[-1])):
        return False
    return all(_prm800k_element(one, other) for one, other in zip(my_parts, your_parts, strict=True))


def _elements(text: str) -> list[str]:
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]" and not re.search(r"[()\[\]]", text[1:-1]):
        return [part.strip() for part in text[1:-1].split(",")]
    return [text]


def _prm800k_element(gold: str, answer: str) -> bool:
    fraction = re.compile(r"-?(?:[0-9]+/0*[1-9][0-9]*|\\[dt]?frac\{\d+\}\{\d+\})")
    if fraction.fullmatch(gold) and fraction.fullmatch(answer):
        return hendrycks(gold) == hendrycks(answer)
    if bool(re.fullmatch(r"-?\d+", gold)) != bool(re.fullmatch(r"-?\d+", answer)):
        return False
    letters = re.sub(r"\\[a-z]+|sqrt|frac", "", gold + answer)
    if len(set(re.findall("[a-z]", letters))) > 2 or re.search(r"\^[{(]|\^\d+\^|\^\d\d+", gold + answer):
        return False
    return _simplifies_to_zero(gold, answer)


# dLLM-RL.

_DLLM_WORDS_WORDS = """
    square ways integers dollars mph inches hours km units points feet minutes digits cents degrees cm gm pounds meters
    meals edges students multiples ft
"""
_DLLM_WORDS = tuple(_DLLM_WORDS_WORDS.split())


def dllm_rl_normal(answer: str, second: bool = False) -> str:
    """Normalise as the TraceRL code does; its second pass also drops words of units and `\\text{}`."""
    text = hendrycks(answer.replace(",", "").replace("$", ""))
    if second:
        text = re.sub(r"\\(?:text|mbox|mathrm)\{([^{}]*)\}", r"\1", text)
        for word in _DLLM_WORDS:
            text = text.replace(word, "")
    return text


def by_dllm_rl(gold: str, answer: str) -> bool:
    """Equal as floats or strings, else symbolically; then all again after the second normalisation."""
    for second in (False, True):
        mine, yours = dllm_rl_normal(gold, second), dllm_rl_normal(answer, second)
        if mine == yours or _same_float(mine, yours) or _simplifies_to_zero(mine, yours):
            return True
    return False


def _same_float(left: str, right: str) -> bool:
    try:
        return float(left) == float(right)
    except ValueError:
        return False


def _simplifies_to_zero(left: str, right: str) -> bool:
    sympy = import_module("sympy")
    try:
        difference = _sympy(left) - _sympy(right)
        return bool(sympy.simplify(difference) == 0)
    except Exception:  # what the parser and sympy raise on odd input has no common class; the originals call all of it unequal
        return False


def _sympy(text: str) -> Any:
    return import_module("latex2sympy2_extended").latex2sympy(text)


_RULES: dict[str, Callable[[str, str], bool]] = {
    "math_verify": by_math_verify,
    "minerva": by_minerva,
    "prm800k": by_prm800k,
    "dllm_rl": by_dllm_rl,
}
