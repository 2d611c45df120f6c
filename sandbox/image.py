"""Makes the image for the `docker` backend: from the Dockerfile beside this file, or from this machine's own Python.

The second way needs no registry: it packs the standard library, the packages, and exactly the shared libraries that these
load, into an archive and imports it.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import runtime
from .backends.docker import DEFAULT_IMAGE
from .backends.engine import connect
from .errors import SandboxUnavailable

_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages", "dist-packages"}
_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)
_SITE = f"{runtime.HOME}/lib/{runtime.version_name()}/site-packages"


def build(image: str = DEFAULT_IMAGE, source: str = "auto", say: Callable[[str], None] = lambda text: None) -> str:
    """Make `image` and return its id.

    Args:
        source: "dockerfile", "host", or "auto": the Dockerfile, and the host where its base cannot be pulled.
        say: called with a line for each step.
    """
    client = connect()
    try:
        if source == "host":
            return _from_host(client, image, say)
        try:
            return _from_dockerfile(client, image, say)
        except SandboxUnavailable as error:
            if source == "dockerfile":
                raise
            say(f"{error}; building from this machine's Python instead")
            return _from_host(client, image, say)
    finally:
        client.close()


def _from_dockerfile(client: Any, image: str, say: Callable[[str], None]) -> str:
    from docker.errors import BuildError, DockerException

    packages = " ".join(runtime.PACKAGES)
    say(f"building {image} from the Dockerfile")
    arguments = {"PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}", "PACKAGES": packages}
    with tempfile.TemporaryDirectory() as context:
        shutil.copy(Path(__file__).with_name("Dockerfile"), context)
        try:
            built, _ = client.images.build(path=context, tag=image, buildargs=arguments, rm=True, forcerm=True)
        except (BuildError, DockerException) as error:
            raise SandboxUnavailable(f"docker: the image could not be built: {str(error)[:300]}") from None
    return str(built.id)


def _from_host(client: Any, image: str, say: Callable[[str], None]) -> str:
    from docker.errors import DockerException

    if sys.platform != "linux":
        raise SandboxUnavailable("docker: only the Python of a Linux machine can be packed into an image; use --from dockerfile")
    say(f"building {image} from {sys.version.split()[0]} of this machine")
    repository, _, tag = image.partition(":")
    changes = [
        f"ENV PATH={runtime.HOME}/bin:/usr/bin:/bin",
        f"ENV LD_LIBRARY_PATH={runtime.HOME}/lib",
    ]
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            pack(tar)
        say(f"packed {archive.tell() >> 20} MiB")
        archive.flush()
        try:
            client.api.import_image_from_file(archive.name, repository=repository, tag=tag or "latest", changes=changes)
            return str(client.images.get(image).id)
        except DockerException as error:
            raise SandboxUnavailable(f"docker: the image could not be imported: {error}") from None


def pack(tar: tarfile.TarFile) -> None:
    """Write a root file system with Python, the packages, and the libraries that they load."""
    for name, mode in (("tmp", 0o1777), ("dev", 0o755), ("proc", 0o755), ("sys", 0o755), ("etc", 0o755), ("run", 0o755)):
        _add_directory(tar, name, mode)
    _add_text(tar, "etc/passwd", "root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/tmp:/bin/false\n")
    library = Path(sysconfig.get_path("stdlib"))
    home = f"{runtime.HOME}/lib/{runtime.version_name()}"
    binaries = [Path(runtime.interpreter())]
    for path, target in [*_tree(library, home), *_packages()]:
        tar.add(os.path.realpath(path), target.lstrip("/"), recursive=False)
        if ".so" in path.suffixes or path.suffix == ".so":
            binaries.append(path)
    tar.add(runtime.interpreter(), f"{runtime.HOME}/bin/{runtime.version_name()}".lstrip("/"))
    for name in ("python3", "python"):
        _add_link(tar, f"{runtime.HOME}/bin/{name}", runtime.version_name())
    for library_path in _shared_libraries(binaries):
        inside = library_path.startswith(("/lib", "/usr/lib"))
        tar.add(os.path.realpath(library_path), (library_path if inside else f"{runtime.HOME}/lib/{Path(library_path).name}")[1:])


def _packages() -> Iterator[tuple[Path, str]]:
    for name, place in runtime.package_directories(runtime.PACKAGES).items():
        path = Path(place)
        yield from _tree(path, f"{_SITE}/{name}") if path.is_dir() else [(path, f"{_SITE}/{name}")]


def _tree(root: Path, target: str) -> Iterator[tuple[Path, str]]:
    """Every file below `root` that a program may want, with its place in the image."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT and not name.startswith("config-"))
        for name in sorted(files):
            path = Path(folder, name)
            if path.is_file():
                yield path, f"{target}/{path.relative_to(root)}"


def _shared_libraries(binaries: list[Path]) -> list[str]:
    """What the loader would load for `binaries`, under the names by which it looks for them."""
    found: set[str] = set()
    environment = {"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR") or "", "PATH": os.environ.get("PATH", "")}
    for start in range(0, len(binaries), 50):
        names = [str(path) for path in binaries[start : start + 50]]
        with suppress(FileNotFoundError):
            listing = subprocess.run(["ldd", *names], capture_output=True, text=True, check=False, env=environment).stdout
            found.update(_LIBRARY.findall(listing))
    bundled = {str(path) for path in binaries}
    return sorted(path for path in found if path not in bundled and ".libs/" not in path)


def _add_directory(tar: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    tar.addfile(entry)


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text.encode()))


def _add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)
