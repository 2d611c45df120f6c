"""Compositions of verifiers written in YAML: `--verifier reward.yaml`.

A node names a verifier (`verifier: math`, with `options`, `weight`, `reference`) or combines others (`combine: weighted`, `gate`
or `cascade`, see `compose`); nodes nest. `verifier` may also be another YAML file. Paths of files are relative to the file that
names them. Unknown keys are errors that name the nearest known one.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .compose import Cascade, Gate, Part, Until, Weighted
from .errors import InputError, nearest
from .plugins import load_verifier
from .serde import convert
from .verifier import Verifier

_LEAF = ("verifier", "options", "weight", "reference")
_IN_SUM = ("weight", "reference")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "weighted": ("combine", "parts", "main", "normalise"),
    "gate": ("combine", "gate", "then", "otherwise", "threshold"),
    "cascade": ("combine", "parts", "until"),
}


def load_yaml(path: Path, name: str | None = None) -> Verifier:
    """Return the composition that the file describes, called `name` (default: the path). Raises InputError in one line."""
    node = _read(path)
    try:
        return _node(node, path, "", name or str(path)).verifier
    except RecursionError:
        raise InputError(f"{path}: a verifier that contains itself") from None


def _read(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    return _mapping(data, str(path), "a verifier (`verifier: NAME`, or `combine: weighted` and its parts)")


def _node(node: Any, file: Path, place: str, name: str) -> Part:
    """Read one node. `place` says where in the file it stands."""
    where = f"{file}{f': {place}' if place else ''}"
    if isinstance(node, str):
        node = {"verifier": node}
    node = _mapping(node, where, "the name of a verifier or a mapping")
    if "combine" in node:
        return _combined(node, file, place, where, name)
    _check_keys(node, _LEAF, where)
    spec = _text(node, "verifier", where)
    options = _mapping(node.get("options", {}), f"{where}: options", "a mapping")
    verifier = load_verifier(_beside(spec, file), **options)
    return _part(verifier, node, where)


def _combined(node: Mapping[str, Any], file: Path, place: str, where: str, name: str) -> Part:
    kind = _text(node, "combine", where)
    if kind not in _KEYS:
        raise InputError(f"{where}: combine is {kind!r}; it must be one of {', '.join(_KEYS)}{nearest(kind, _KEYS)}")
    _check_keys(node, (*_KEYS[kind], *_IN_SUM), where)

    def inner(key: str, value: Any) -> Part:
        return _node(value, file, f"{place}.{key}" if place else key, key)

    make: Mapping[str, Callable[[], Verifier]] = {
        "weighted": lambda: Weighted(_parts(node, where, inner), **_values(node, where, name, main=str, normalise=bool)),
        "cascade": lambda: Cascade(_parts(node, where, inner), **_values(node, where, name, until=Until)),
        "gate": lambda: Gate(
            inner("gate", _required(node, "gate", where)),
            inner("then", _required(node, "then", where)),
            **_values(node, where, name, otherwise=float, threshold=float),
        ),
    }
    return _part(make[kind](), node, where)


def _parts(node: Mapping[str, Any], where: str, inner: Callable[[str, Any], Part]) -> dict[str, Part]:
    parts = _mapping(_required(node, "parts", where), f"{where}: parts", "parts by name")
    if not parts:
        raise InputError(f"{where}: parts: at least one is needed")
    return {key: inner(key, value) for key, value in parts.items()}


def _values(node: Mapping[str, Any], where: str, name: str, **hints: Any) -> dict[str, Any]:
    """The settings that the node gives, checked."""
    given = {key: convert(hint, node[key], where, key) for key, hint in hints.items() if key in node}
    return {"name": name, **given}


def _part(verifier: Verifier, node: Mapping[str, Any], where: str) -> Part:
    weight = convert(float, node.get("weight", 1.0), where, "weight")
    reference = convert(str | None, node.get("reference"), where, "reference")
    return Part(verifier, weight, reference)


def _beside(spec: str, file: Path) -> str:
    """A path is relative to the file that names it."""
    path, colon, attribute = spec.rpartition(":") if ":" in spec else (spec, "", "")
    if path.endswith(".py") or (not colon and path.endswith((".yaml", ".yml"))):
        return f"{file.parent / path}{colon}{attribute}"
    return spec


def _check_keys(node: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in node:
        if key not in known:
            raise InputError(f"{where}: no key {key!r}{nearest(str(key), known)}; known: {', '.join(known)}")


def _required(node: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in node:
        raise InputError(f"{where}: {key!r} is missing")
    return node[key]


def _text(node: Mapping[str, Any], key: str, where: str) -> str:
    value: str = convert(str, _required(node, key, where), where, key)
    return value


def _mapping(value: Any, where: str, wanted: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{where}: expected {wanted}, found {value!r:.60}")
    return value
