"""Units of measurement, and the words that may stand behind a number.

A unit is a dimension and an exact factor to the dimension's base unit, so that 50 mm equals 5 cm and 5 cm does not equal 5 m.
Nouns that count things (`apples`, `right triangles`) are dimensions of their own. Temperatures are not converted.
"""

import re
from fractions import Fraction
from typing import NamedTuple

_F = Fraction


class Unit(NamedTuple):
    """A dimension (base unit to power, sorted) and the factor to it. A bare number has the dimension ()."""

    dimension: tuple[tuple[str, int], ...]
    factor: Fraction


def _table() -> dict[str, tuple[str, Fraction]]:
    lines: dict[str, dict[str, int | Fraction]] = {
        "m": {
            "m meter meters metre metres": 1,
            "km kilometer kilometers kilometre kilometres": 1000,
            "cm centimeter centimeters centimetre centimetres": _F(1, 100),
            "mm millimeter millimeters millimetre millimetres": _F(1, 1000),
            "in inch inches": _F(254, 10000), "ft foot feet": _F(3048, 10000), "yd yard yards yds": _F(9144, 10000),
            "mi mile miles": _F(1609344, 1000), "nm nanometer nanometers": _F(1, 10**9),
        },
        "s": {
            "s sec secs second seconds": 1, "min mins minute minutes": 60, "h hr hrs hour hours": 3600, "day days": 86400,
            "week weeks": 7 * 86400, "ms millisecond milliseconds": _F(1, 1000),
        },
        "month": {"month months": 1, "year years yr yrs": 12},
        "kg": {
            "kg kilogram kilograms": 1, "g gram grams": _F(1, 1000), "mg milligram milligrams": _F(1, 10**6),
            "lb lbs pound pounds": _F(45359237, 10**8), "oz ounce ounces": _F(45359237, 16 * 10**8),
            "ton tons": _F(90718474, 10**5),
            "tonne tonnes": 1000,
        },
        "litre": {
            "l L liter liters litre litres": 1, "ml mL milliliter milliliters millilitre millilitres": _F(1, 1000),
            "gallon gallons gal": _F(3785411784, 10**9), "quart quarts": _F(3785411784, 4 * 10**9),
            "pint pints": _F(3785411784, 8 * 10**9), "cup cups": _F(3785411784, 16 * 10**9),
        },
        "deg": {"deg degree degrees": 1},
        "usd": {"dollar dollars usd USD bucks": 1, "cent cents": _F(1, 100)},
        "eur": {"euro euros EUR": 1}, "gbp": {"GBP": 1}, "inr": {"rupee rupees Rs": 1}, "jpy": {"yen": 1},
        "unit": {"unit units": 1}, "N": {"N newton newtons": 1}, "J": {"J joule joules": 1}, "W": {"W watt watts": 1},
        "Hz": {"Hz hertz": 1}, "radian": {"rad radian radians": 1}, "percent": {"percent pct percentage": 1},
        "K": {"kelvin": 1}, "celsius": {"celsius": 1}, "fahrenheit": {"fahrenheit": 1},
    }  # fmt: skip
    return {name: (base, _F(factor)) for base, rows in lines.items() for names, factor in rows.items() for name in names.split()}


_UNITS = _table()
_SPEED = {"mph": "miles per hour", "kph": "km per hour", "kmh": "km per hour", "fps": "feet per second", "sqft": "square feet"}
_DERIVED = {"acre": _F(40468564224, 10**7), "acres": _F(40468564224, 10**7), "hectare": _F(10000), "hectares": _F(10000)}
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}

# Words that say something about the number instead of naming what it counts: behind them a number is not an answer.
_JUDGING_WORDS = """
    not no or and if but maybe perhaps possibly probably is are was be isn't wrong incorrect correct less more than
    fewer greater least most between except plus minus times divided over under about approximately roughly nearly
    almost around unless otherwise either neither both none any all guess think unknown undefined infinity to from
    through into mod modulo base answer
"""
_JUDGING = frozenset(_JUDGING_WORDS.split())
# Words that add nothing: "15 years old", "6 feet tall".
_EMPTY_WORDS = "old each away long high tall wide deep total altogether apart"
_EMPTY = frozenset(_EMPTY_WORDS.split(" "))
_TIME_OF_DAY = frozenset(("am", "pm", "a.m.", "p.m.", "AM", "PM", "a.m", "p.m", "A.M.", "P.M."))


def is_word(run: str, after_value: bool) -> bool:
    """Tell whether letters in a row are a word rather than a product of symbols."""
    if run in ("or", "and", "to") or run in _TIME_OF_DAY:
        return True
    if len(run) >= 4:
        return True
    known = run in _UNITS or run in _SPEED or run in SCALES or run in _POWERS or run in _DERIVED
    return known and (after_value or len(run) == 3)


def parse_unit(words: str) -> Unit | None:
    """Read the words behind a number. Returns None when they are no unit and no noun."""
    words = re.sub(r"[.,;]+$", "", words.strip("() "))
    words = _SPEED.get(words, words)
    if not words or len(words) > 60 or re.search(r"[^a-zA-Z\s/^{}().'\-0-9]", words):
        return None
    top, *bottoms = re.split(r"\s*(?:/|\bper\b|\bfor each\b)\s*", words)
    unit = _product(top)
    for bottom in bottoms:
        below = _product(bottom)
        if unit is None or below is None:
            return None
        unit = _combine(unit, below, -1)
    return unit


def _product(words: str) -> Unit | None:
    unit, power, nouns = Unit((), _F(1)), 1, []
    parts = re.findall(r"[a-zA-Z][a-zA-Z.'\-]*|\^\s*\{?\s*-?\d+\s*\}?|\S+", words)
    parts = [part.rstrip(".") for part in parts]
    for index, part in enumerate(parts):
        following = parts[index + 1] if index + 1 < len(parts) else ""
        if part in _POWERS:
            power = _POWERS[part] if part not in ("squared", "cubed") else power
        elif part.startswith("^") or part in _EMPTY:
            continue
        elif part in _UNITS:
            exponent = power
            if following.startswith("^"):
                exponent = int(re.sub(r"[^\d-]", "", following) or 0)
            elif following in ("squared", "cubed"):
                exponent = _POWERS[following]
            base, factor = _UNITS[part]
            if not 0 < abs(exponent) <= 4:
                return None
            unit, power = _combine(unit, Unit(((base, 1),), factor), exponent), 1
        elif part in _DERIVED:
            unit = _combine(unit, Unit((("m", 2),), _DERIVED[part]), 1)
        elif re.fullmatch(r"[a-zA-Z][a-zA-Z'\-]+", part) and part.lower() not in _JUDGING and part not in SCALES:
            nouns.append(_singular(part.lower()))
        else:
            return None
    if len(nouns) > 4:
        return None
    return _combine(unit, Unit(((" ".join(nouns), 1),), _F(1)), 1) if nouns else unit


def _combine(left: Unit, right: Unit, power: int) -> Unit:
    powers = dict(left.dimension)
    for base, exponent in right.dimension:
        powers[base] = powers.get(base, 0) + exponent * power
    return Unit(
        tuple(sorted((base, exponent) for base, exponent in powers.items() if exponent)), left.factor * right.factor**power
    )


def _singular(noun: str) -> str:
    if noun.endswith("ies"):
        return noun[:-3] + "y"
    if re.search(r"(?:s|x|z|ch|sh)es$", noun):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun
