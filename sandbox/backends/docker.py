"""The `docker` backend: each worker is a warm, hardened container, made through the Docker SDK.

No network, read-only root, all capabilities dropped but the three with which the zygote gives each guest a user of its own
and kills it (SETUID, SETGID, KILL; no guest has them), no new privileges, bounded memory, processes and temporary files, an
empty environment. A container removes itself when its host process is gone.

Two transports. `socket`: programs and results travel as memory files over a unix socket, past the engine; the only mount of the
host is an (afterwards empty) directory with that socket. `stream`: everything travels over the standard streams of the container,
through the engine; no mount at all. `auto` takes the first where host and containers share a kernel, the second for Docker
Desktop, outside Linux, and for an engine on another machine (DOCKER_HOST=tcp://, ssh://).
"""

import os
import secrets
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from .. import runtime
from ..channel import WorkerBroken
from ..errors import SandboxUnavailable
from ..records import Limits, MiB
from ..worker import Worker
from . import base, docker_boot, engine

if TYPE_CHECKING:
    from docker.models.containers import Container

Transport = Literal["auto", "socket", "stream"]
# The packages are in the name: an image made when there were fewer would turn right programs into crashes.
DEFAULT_IMAGE = f"unmask-sandbox:py{sys.version_info.major}.{sys.version_info.minor}-{'-'.join(runtime.PACKAGES)}"
_ROOM = 192 * MiB  # the zygote, memory files and temporary files of a guest, on top of the guest's own memory
_LEAST_CEILING = 1024 * MiB
_FIRST_UID, _UIDS = 62_000, 2_000


@dataclass
class DockerBackend:
    """Starts containers of one image."""

    packages: tuple[str, ...]
    image: str | None = None
    transport: Transport = "auto"
    name: str = "docker"
    isolated: bool = True
    _client: Any = None
    _containers: dict[int, "tuple[Container, int]"] = field(default_factory=dict)

    def prepare(self) -> None:
        if self.transport not in get_args(Transport):
            raise SandboxUnavailable(f"docker: no transport is called {self.transport!r}; choose auto, socket, stream")
        if self.transport == "socket":
            base.require_linux(self.name)
        self._client = engine.connect()
        if self.transport == "auto":
            self.transport = "socket" if engine.shares_sockets(self._client) else "stream"
        self._require_image()
        engine.sweep(self._client)

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
        ceiling = max(limits.memory, _LEAST_CEILING)
        begin = docker_boot.start_with_socket if self.transport == "socket" else docker_boot.start_with_stream

        def create(boot: str, **options: Any) -> "Container":
            return self._create(boot, ceiling, limits, options)

        container, channel, words = begin(create, self._config(heavy))
        worker = Worker(channel, lambda: self._end(worker, container), heavy=heavy, words=words)
        try:
            worker.wait_ready(docker_boot.START_SECONDS)
        except WorkerBroken as error:
            problem = engine.last_words(container) if self.transport == "socket" else ""
            worker.close()
            raise SandboxUnavailable(f"docker: {error}{problem}") from None
        self._containers[id(worker)] = (container, ceiling)
        return worker

    def _config(self, heavy: bool) -> dict[str, Any]:
        uid = _FIRST_UID + secrets.randbelow(_UIDS // 2) * 2
        return {"uids": [uid, uid + 1], "preload": base.modules(self.packages, heavy), "wipe": ["/tmp", "/dev/shm"]}

    def _create(self, boot: str, ceiling: int, limits: Limits, options: dict[str, Any]) -> "Container":
        from docker.errors import DockerException
        from docker.types import Ulimit
        from requests.exceptions import RequestException

        space = f"size={limits.disk},nr_inodes={limits.files},noexec,nosuid,nodev,mode=1777"
        try:
            container: Container = self._client.containers.create(
                self.image or DEFAULT_IMAGE,
                ["-s", "-X", "utf8", "-c", boot],
                entrypoint=["python3"],
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
                labels={engine.LABEL: f"{socket.gethostname()}:{os.getpid()}"},
                **options,
            )
        except (DockerException, RequestException) as error:
            raise SandboxUnavailable(f"docker: the engine did not make a container: {error}") from None
        return container

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

    def _end(self, worker: Worker, container: "Container") -> None:
        self._containers.pop(id(worker), None)
        engine.remove(container)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
