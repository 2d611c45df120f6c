"""The `docker` backend: each worker is a warm, hardened container, made through the Docker SDK.

No network, read-only root, all capabilities dropped but the three with which the zygote gives each guest a user of its own
and kills it (SETUID, SETGID, KILL; no guest has them), no new privileges, bounded memory, processes and temporary files, an
empty environment, no mount of the host but an (afterwards empty) directory with the control socket. Programs and results
travel as memory files over that socket, past the daemon. A container removes itself when its host process is gone.

Covered: an engine on this Linux machine (Docker, or Podman's Docker socket with runc). Not covered: remote engines and
Docker Desktop, whose virtual machine cannot share a socket directory.
"""

import json
import os
import secrets
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import runtime
from ..errors import SandboxUnavailable
from ..guest import wire
from ..records import Limits, MiB
from ..worker import Worker, WorkerBroken
from . import base
from .scratch import Directory

if TYPE_CHECKING:
    from docker.models.containers import Container

# The packages are in the name: an image made when there were fewer would turn right programs into crashes.
DEFAULT_IMAGE = f"unmask-sandbox:py{sys.version_info.major}.{sys.version_info.minor}-{'-'.join(runtime.PACKAGES)}"
LABEL = "unmask.sandbox.owner"
_SOCKET_DIRECTORY = "/run/unmask"
_ROOM = 192 * MiB  # the zygote, memory files and temporary files of a guest, on top of the guest's own memory
_LEAST_CEILING = 1024 * MiB
_FIRST_UID, _UIDS = 62_000, 2_000
_START_SECONDS = 60.0
# Receives the files of `guest/` and the configuration as one memory file, and imports them from memory.
_BOOT = """
import array, importlib.abc, importlib.util, json, os, socket, sys
control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
control.connect("/run/unmask/control")
_, ancillary, _, _ = control.recvmsg(64, socket.CMSG_SPACE(4))
fd = array.array("i", ancillary[0][2])[0]
bundle = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
os.close(fd)
class Guest(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name in bundle["modules"]:
            return importlib.util.spec_from_loader(name, self, is_package=name == "guest")
    def exec_module(self, module):
        name = module.__name__
        exec(compile(bundle["modules"][name], name + ".py", "exec", dont_inherit=True), module.__dict__)
sys.meta_path.insert(0, Guest())
from guest import launch
launch.main(bundle["config"], control)
"""


@dataclass
class DockerBackend:
    """Starts containers of one image."""

    packages: tuple[str, ...]
    image: str | None = None
    name: str = "docker"
    isolated: bool = True
    _client: Any = None
    _containers: dict[int, "tuple[Container, int]"] = field(default_factory=dict)

    def prepare(self) -> None:
        base.require_linux(self.name)
        self._client = connect()
        self._require_image()
        _sweep(self._client)

    def _require_image(self) -> None:
        from docker.errors import DockerException, ImageNotFound

        name = self.image or DEFAULT_IMAGE
        try:
            self._client.images.get(name)
        except ImageNotFound:
            hint = "pull it" if self.image else "make it with `unmask sandbox build`"
            raise SandboxUnavailable(f"docker: there is no image {name!r}; {hint}") from None
        except DockerException as error:
            raise SandboxUnavailable(f"docker: {error}") from None

    def start(self, *, heavy: bool, limits: Limits) -> Worker:
        directory = Directory()
        try:
            return self._start(directory.path, heavy, limits)
        finally:
            # The container keeps its view of the (now empty) directory; the host keeps nothing, even if it is killed later.
            directory.remove()

    def _start(self, directory: str, heavy: bool, limits: Limits) -> Worker:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(os.path.join(directory, "control"))
            os.chmod(directory, 0o711)  # the container's root has no right to pass over our permissions
            os.chmod(os.path.join(directory, "control"), 0o666)
            listener.listen(1)
            listener.settimeout(_START_SECONDS)
            ceiling = max(limits.memory, _LEAST_CEILING)
            container = self._run_container(directory, ceiling, limits)
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                problem = _last_words(container)
                _remove(container)
                raise SandboxUnavailable(f"docker: the worker did not start in {_START_SECONDS:g} s{problem}") from None
        connection.setblocking(True)
        worker = Worker(connection, lambda: self._end(connection.fileno(), worker, container), heavy=heavy, words=lambda: "")
        try:
            self._boot(connection, heavy)
            worker.wait_ready(_START_SECONDS)
        except (WorkerBroken, OSError) as error:
            problem = _last_words(container)
            worker.close()
            raise SandboxUnavailable(f"docker: {error}{problem}") from None
        self._containers[id(worker)] = (container, ceiling)
        return worker

    def _run_container(self, directory: str, ceiling: int, limits: Limits) -> "Container":
        from docker.errors import DockerException
        from docker.types import Ulimit
        from requests.exceptions import RequestException

        space = f"size={limits.disk},nr_inodes={limits.files},noexec,nosuid,nodev,mode=1777"
        try:
            container: Container = self._client.containers.run(
                self.image or DEFAULT_IMAGE,
                ["-s", "-X", "utf8", "-c", _BOOT],
                entrypoint=["python3"],
                detach=True,
                auto_remove=True,
                init=False,  # the zygote has to be process 1
                network_mode="none",
                read_only=True,
                cap_drop=["ALL"],
                cap_add=["SETUID", "SETGID", "KILL"],
                security_opt=["no-new-privileges=true"],
                user="0:0",
                working_dir="/",
                environment={k: v for k, v in runtime.ENVIRONMENT.items() if k not in ("PATH", "LD_LIBRARY_PATH")},
                mem_limit=ceiling + _ROOM,
                memswap_limit=ceiling + _ROOM,
                pids_limit=max(256, limits.processes + 16),
                tmpfs={"/tmp": space, "/dev/shm": space},
                ulimits=[Ulimit(name="core", soft=0, hard=0), Ulimit(name="stack", soft=limits.stack, hard=limits.stack)],
                volumes={directory: {"bind": _SOCKET_DIRECTORY, "mode": "ro"}},
                labels={LABEL: f"{socket.gethostname()}:{os.getpid()}"},
                log_config={"type": "json-file", "config": {"max-size": "1m"}},
            )
        except (DockerException, RequestException) as error:
            raise SandboxUnavailable(f"docker: the engine did not start a container: {error}") from None
        return container

    def _boot(self, connection: socket.socket, heavy: bool) -> None:
        uid = _FIRST_UID + secrets.randbelow(_UIDS // 2) * 2
        config = {
            "uids": [uid, uid + 1],
            "preload": base.modules(self.packages, heavy),
            "wipe": ["/tmp", "/dev/shm"],
        }
        folder = Path(wire.__file__).parent
        names = {path: "guest" if path.stem == "__init__" else f"guest.{path.stem}" for path in folder.glob("*.py")}
        bundle = {"config": config, "modules": {name: path.read_text("utf-8") for path, name in names.items()}}
        fd = os.memfd_create("bundle", os.MFD_CLOEXEC)
        try:
            os.write(fd, json.dumps(bundle).encode())
            wire.send(connection, {}, (fd,))
        finally:
            os.close(fd)

    def fit(self, worker: Worker, limits: Limits) -> None:
        """Raise the container's ceiling for a program that may use more memory than those before it."""
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        if id(worker) not in self._containers:
            raise WorkerBroken("the worker's container is gone")
        container, ceiling = self._containers[id(worker)]
        if limits.memory <= ceiling:
            return
        try:
            container.update(mem_limit=limits.memory + _ROOM, memswap_limit=limits.memory + _ROOM)
        except (DockerException, RequestException) as error:
            raise WorkerBroken(f"the engine did not give the container more memory: {error}") from None
        self._containers[id(worker)] = (container, limits.memory)

    def _end(self, connection: int, worker: Worker, container: "Container") -> None:
        self._containers.pop(id(worker), None)
        _remove(container)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def connect() -> Any:
    """Return a client of the engine that the environment names. Raises SandboxUnavailable."""
    try:
        import docker
        from docker.errors import DockerException
        from requests.exceptions import RequestException
    except ImportError as error:
        raise SandboxUnavailable(f"docker: the Python package is missing ({error}); pip install 'docker>=7'") from None
    try:
        client = docker.from_env(timeout=60, max_pool_size=32)
        client.ping()
    except (DockerException, RequestException) as error:
        raise SandboxUnavailable(f"docker: no engine answers ({_short(error)}); start it, or set DOCKER_HOST") from None
    return client


def _short(error: Exception) -> str:
    text = str(error)
    for known in ("FileNotFoundError", "ConnectionRefusedError", "PermissionError"):
        if known in text:
            return {
                "FileNotFoundError": "its socket does not exist",
                "ConnectionRefusedError": "connection refused",
                "PermissionError": "you may not use its socket: join the group docker",
            }[known]
    return text[:200]


def _sweep(client: Any) -> None:
    """Remove containers that have ended but are still there: what an engine leaves that was stopped together with them.

    Only ended ones: a running container belongs to a living host process (it ends with the connection to it), which may be in
    another process namespace, where its number says nothing to us.
    """
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    with suppress(DockerException, RequestException):
        for status in ("exited", "dead"):
            for container in client.containers.list(filters={"label": LABEL, "status": status}, ignore_removed=True):
                _remove(container)


def _remove(container: "Container") -> None:
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    # The container may already be removing itself, or the engine be gone (then it sweeps when it is back).
    with suppress(DockerException, RequestException):
        container.remove(force=True)


def _last_words(container: "Container") -> str:
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        lines = container.logs(tail=3).decode("utf-8", "replace").strip().splitlines()
    except (DockerException, RequestException):
        return ""
    return f": {lines[-1][:300]}" if lines else ""
