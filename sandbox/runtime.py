"""Which files of this machine make up the Python that guests see: the standard library, shared libraries, named packages.

Nothing else of the machine is shown: no other package, no home directory, no configuration. Packages are shown one by one,
so that the site-packages of the host (with this project and its data in it) stay out.
"""

import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import NamedTuple

LIGHT = ("numpy", "sortedcontainers")
HEAVY = ("sympy", "mpmath")
PACKAGES = (*LIGHT, *HEAVY)
HOME = "/opt/unmask/python"
SITE = "/opt/unmask/site"
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")
ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LD_LIBRARY_PATH": f"{HOME}/lib",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Runtime(NamedTuple):
    """Pairs of (path on this machine, path for the guest), and what the guest's interpreter has to know."""

    binds: tuple[tuple[str, str], ...]
    masked: tuple[str, ...]
    python_path: tuple[str, ...]


def interpreter() -> str:
    """The interpreter without its virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def version_name() -> str:
    """Such as `python3.11`."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


@cache
def package_directories(packages: tuple[str, ...]) -> dict[str, str]:
    """Return where each importable name of `packages` lies on this machine: folders, single modules and bundled libraries."""
    found: dict[str, str] = {}
    for name in packages:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        place = Path(spec.origin)
        place = place.parent if spec.submodule_search_locations else place
        found[place.name] = str(place)
        libraries = place.parent / f"{name}.libs"
        if libraries.is_dir():
            found[libraries.name] = str(libraries)
    return found


def missing_packages(packages: tuple[str, ...]) -> list[str]:
    """The names of `packages` that this Python cannot import."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


@cache
def describe(packages: tuple[str, ...]) -> Runtime:
    """Return the runtime with `packages`."""
    library = sysconfig.get_path("stdlib")
    home = f"{HOME}/lib/{version_name()}"
    binds = [(path, path) for path in _SYSTEM_LIBRARIES if os.path.lexists(path)]
    binds.append((library, home))
    binds.append((interpreter(), f"{HOME}/bin/{version_name()}"))
    shared = sysconfig.get_config_var("LIBDIR")
    if shared and not shared.startswith(("/usr/lib", "/lib")):
        binds += [(str(path), f"{HOME}/lib/{path.name}") for path in sorted(Path(shared).glob("lib*.so*")) if path.is_file()]
    binds += [(place, f"{SITE}/{name}") for name, place in package_directories(packages).items()]
    masked = [f"{home}/{name}" for name in ("site-packages", "dist-packages") if Path(library, name).is_dir()]
    return Runtime(tuple(binds), tuple(masked), (home, f"{home}/lib-dynload", SITE))
