r"""Unicode to LaTeX: minus signs, fractions, superscripts, Greek, full-width digits, relation signs.

Letters of other alphabets that look like Latin ones, and digits of other scripts, are left alone: they stay different from what
they imitate.
"""

import re
import unicodedata

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₍₎", "0123456789+-()")
_SMALL = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega"
_OTHER = "pi Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega phi"
_GREEK = {
    **dict(zip("αβγδεζηθικλμνξρστυφχψω", _SMALL.split(" "), strict=True)),
    **dict(zip("πΓΔΘΛΞΠΣΦΨΩϕ", _OTHER.split(" "), strict=True)),
}
_CHARACTERS = {
    **dict.fromkeys("−–—‒﹣－", "-"),
    **dict.fromkeys("×✕⨯", r" \times "),
    **dict.fromkeys("·⋅∙•", r" \cdot "),
    **dict.fromkeys("≤⩽≦", r" \le "),
    **dict.fromkeys("≥⩾≧", r" \ge "),
    **dict.fromkeys("  \u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u3000", " "),
    **dict.fromkeys("‘’′", "'"),
    "\u2061": "",
    "\u2062": " ",
    "\u2063": ",",
    "\u2064": "+",
    "÷": "/",
    "⁄": "/",
    "∕": "/",
    "≠": r" \ne ",
    "≈": r" \approx ",
    "±": r" \pm ",
    "∓": r" \mp ",
    "∞": r" \infty ",
    "√": r" \sqrt ",
    "∛": r" \sqrt[3] ",
    "°": r"^\circ ",
    "º": r"^\circ ",
    "∪": r" \cup ",
    "∩": r" \cap ",
    "∈": r" \in ",
    "∅": r" \emptyset ",
    "Ø": r" \emptyset ",
    "ℝ": r" \mathbb{R} ",
    "ℤ": r" \mathbb{Z} ",
    "ℕ": r" \mathbb{N} ",
    "∖": r" \setminus ",
    "⟨": r" \langle ",
    "⟩": r" \rangle ",
    "〈": r" \langle ",
    "〉": r" \rangle ",
    "€": r" \euro ",
    "£": r" \pounds ",
    "¥": r" \yen ",
    "¢": r" \cents ",
    "，": ",",
    "（": "(",
    "）": ")",
    "％": r"\%",
    "…": r"\ldots ",
    "⌊": r" \lfloor ",
    "⌋": r" \rfloor ",
    "⌈": r" \lceil ",
    "⌉": r" \rceil ",
    "∣": "|",
    "∨": r" \lor ",
    "∧": r" \land ",
    "→": r" \to ",
    "⇒": r" \implies ",
    "∠": r"\angle ",
    "△": r"\triangle ",
    "∆": r"\Delta ",
    **{letter: rf"\{name} " for letter, name in _GREEK.items()},
}
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ]+")
_SUBSCRIPT_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋₍₎]+")
_VULGAR = re.compile(r"(\d?)\s*([¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])")


def to_latex(answer: str) -> str:
    """Replace every character that LaTeX spells with a command."""
    answer = _VULGAR.sub(_vulgar, answer)
    answer = _SUPERSCRIPT_RUN.sub(lambda match: f"^{{{match.group().translate(_SUPERSCRIPTS)}}}", answer)
    answer = _SUBSCRIPT_RUN.sub(lambda match: f"_{{{match.group().translate(_SUBSCRIPTS)}}}", answer)
    return "".join(_character(character) for character in answer)


def _vulgar(match: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", match.group(2)).partition("⁄")
    return rf"{match.group(1)}\frac{{{top}}}{{{bottom}}}"


def _character(character: str) -> str:
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    if not character.isascii():
        plain = unicodedata.normalize("NFKC", character)
        # Full-width and mathematical alphabets (𝑥, ５) are ASCII in other dress; letters of other alphabets are not.
        return plain if len(plain) == 1 and plain.isascii() else character
    return character
