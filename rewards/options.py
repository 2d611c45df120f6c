"""The base of the built-in verifiers whose dataclass fields are their options.

Options come from YAML and from `--set verifier.KEY=VALUE`, so their types are checked against the annotations here; names that
do not exist were refused before (`verifier.as_verifier`). The version names every option that differs from its default, so that
verdicts under other options are other verdicts.
"""

import dataclasses
import hashlib
from typing import Any, ClassVar, get_type_hints

from .errors import InputError
from .serde import convert, dumps, encode

_SHOWN = 60  # characters of options that a version spells out; beyond that it holds their hash


@dataclasses.dataclass(frozen=True)
class OptionVerifier:
    """A verifier named `kind`; `revision` goes up whenever the same options may give another verdict."""

    kind: ClassVar[str] = ""
    revision: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            hint = get_type_hints(type(self))[field.name]
            object.__setattr__(self, field.name, convert(hint, getattr(self, field.name), f"verifier {self.kind!r}", field.name))
        self.check()

    def check(self) -> None:
        """Refuse values that have the right type and make no sense. Raises InputError."""

    def require(self, holds: bool, option: str, wanted: str) -> None:
        """Raise InputError, naming the option, unless `holds`."""
        if not holds:
            raise InputError(f"verifier {self.kind!r}: option {option!r} is {getattr(self, option)!r}; it must be {wanted}")

    @property
    def name(self) -> str:
        return self.kind

    @property
    def version(self) -> str:
        """Names everything that a verdict depends on."""
        changed = {f.name: encode(getattr(self, f.name)) for f in dataclasses.fields(self) if not _is_default(self, f)}
        return "-".join((self.revision, *spelled(changed)))


def spelled(options: dict[str, Any]) -> tuple[str, ...]:
    """Options as they stand in a version: `key=value` while that is short, else one hash."""
    plain = tuple(f"{key}={dumps(value)}" for key, value in sorted(options.items()))
    if len("-".join(plain)) <= _SHOWN:
        return plain
    return (hashlib.sha256(dumps(sorted(options.items())).encode()).hexdigest()[:12],)


def _is_default(verifier: object, field: "dataclasses.Field[Any]") -> bool:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return bool(getattr(verifier, field.name) == default)
