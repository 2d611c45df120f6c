"""Options of a process reward that is a dataclass: types and ranges checked, and a version made of them."""

import dataclasses
from typing import Any, get_type_hints

from ...rewards.errors import InputError
from ...rewards.options import spelled
from ...rewards.serde import convert, encode


def check_types(reward: Any) -> None:
    """Check every option against its annotation and store it in its own type. Raises InputError naming the option."""
    hints = get_type_hints(type(reward))
    for field in dataclasses.fields(reward):
        value = convert(hints[field.name], getattr(reward, field.name), f"process reward {reward.name!r}", field.name)
        object.__setattr__(reward, field.name, value)


def require(reward: Any, holds: bool, option: str, wanted: str) -> None:
    """Raise InputError, naming the option, unless `holds`."""
    if not holds:
        value = getattr(reward, option)
        raise InputError(f"process reward {reward.name!r}: option {option!r} is {value!r}; it must be {wanted}")


def version(reward: Any, revision: str, *, without: tuple[str, ...] = ()) -> str:
    """A version that names every option but those on which no reward depends."""
    options = {f.name: encode(getattr(reward, f.name)) for f in dataclasses.fields(reward) if f.name not in without}
    return "-".join((revision, *spelled(options)))
