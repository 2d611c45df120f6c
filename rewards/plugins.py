"""Finding a plug-in (verifier, benchmark, model family, trainer) by the name a person typed.

Three spellings, the same everywhere: a short name (built in, or an entry point of the group), `package.module:attribute`,
or `file.py:attribute`. Nothing is registered by importing something: a built-in table is plain data handed in by the package
that owns it, and an entry point is metadata of an installed distribution. Objects from files can be pickled; `loaded_files`
tells another process which files to load first. Not covered: reloading a file that changed since it was loaded.
"""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType

from .errors import InputError, nearest
from .verifier import Verifier, as_verifier

VERIFIERS: Mapping[str, str] = MappingProxyType(
    {
        "arithmetic": "unmask.rewards.arithmetic:ArithmeticVerifier",
        "brevity": "unmask.rewards.groups:BrevityVerifier",
        "choice": "unmask.rewards.matching:ChoiceVerifier",
        "code": "unmask.rewards.code:CodeVerifier",
        "exact": "unmask.rewards.matching:ExactVerifier",
        "format": "unmask.rewards.shape:FormatVerifier",
        "json": "unmask.rewards.structured:JsonVerifier",
        "length": "unmask.rewards.shape:LengthVerifier",
        "math": "unmask.rewards.math:MathVerifier",
        "numeric": "unmask.rewards.matching:NumericVerifier",
        "regex": "unmask.rewards.patterns:RegexVerifier",
        "repetition": "unmask.rewards.shape:RepetitionVerifier",
        "tests": "unmask.rewards.program_steps:TestsVerifier",
    }
)

_NOTHING: Mapping[str, str] = MappingProxyType({})
_FILES: dict[str, Path] = {}


def load_verifier(spec: str, **options: object) -> Verifier:
    """Return the verifier called `spec`, made with `options`.

    A class is called with the options; a ready object is returned as it is; a plain function
    `def reward(problem, completion) -> float` is wrapped, named after `spec`, its version a hash of its source. A YAML file is a
    composition of verifiers (`compose_yaml`).
    """
    if spec.endswith((".yaml", ".yml")):
        from .compose_yaml import load_yaml

        if options:
            raise InputError(f"{spec!r} is a composition and takes no options ({', '.join(options)}); write them into the file")
        return load_yaml(Path(spec), spec)
    return as_verifier(load_object(spec, "unmask.verifiers", VERIFIERS), spec, options)


def load_object(spec: str, group: str, builtin: Mapping[str, str] = _NOTHING) -> object:
    """Return the object that `spec` names: a short name of `builtin` or of the entry point group, or a path to an attribute.

    Raises InputError in one line when it cannot be found, and lets errors inside the plug-in's own code through.
    """
    if ":" not in spec:
        return _by_short_name(spec, group, builtin)
    place, _, attribute = spec.rpartition(":")
    if not place or not attribute:
        raise InputError(f"{spec!r}: expected a name, package.module:attribute or file.py:attribute")
    module = _load_file(Path(place), spec) if place.endswith(".py") else _import(place, spec)
    return _attribute(module, attribute, spec)


def known_names(group: str, builtin: Mapping[str, str] = _NOTHING) -> list[str]:
    """Return the short names that `load_object` accepts for `group`, sorted."""
    return sorted({*builtin, *(point.name for point in entry_points(group=group))})


def loaded_files() -> dict[str, Path]:
    """Return the files loaded so far: module name to absolute path."""
    return dict(_FILES)


def load_file(path: Path) -> ModuleType:
    """Import the file at `path` under a name made from its path, once per process."""
    path = path.resolve()
    name = f"unmask_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look modules up here, also while this one is being executed
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _FILES[name] = path
    return module


def _by_short_name(name: str, group: str, builtin: Mapping[str, str]) -> object:
    if name in builtin:
        return load_object(builtin[name], group)
    points = list(entry_points(group=group, name=name))
    if points:
        return _load_entry_point(points[0], group)
    known = known_names(group, builtin)
    kind = group.rpartition(".")[2].rstrip("s")
    raise InputError(
        f"no {kind} is called {name!r}{nearest(name, known)}; known: {', '.join(known) or 'none'}; "
        f"or give package.module:attribute or file.py:attribute"
    )


def _load_entry_point(point: EntryPoint, group: str) -> object:
    return load_object(point.value, group) if ":" in point.value else _import(point.value, point.name)


def _load_file(path: Path, spec: str) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{spec!r}: there is no file {path}")
    return load_file(path)


def _import(name: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only a missing piece of the path itself is the user's spelling; a missing dependency of the plug-in is not.
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(f"{spec!r}: there is no module {error.name!r} (is it installed, or on PYTHONPATH?)") from None
        raise


def _attribute(module: ModuleType, attribute: str, spec: str) -> object:
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [name for name in vars(found) if not name.startswith("_")]
            raise InputError(f"{spec!r}: {attribute!r} is not in {module.__name__}{nearest(part, public)}")
        found = getattr(found, part)
    return found
