"""What the `docker` backend and `unmask sandbox build` ask of the engine, through the Docker SDK."""

import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import SandboxUnavailable

if TYPE_CHECKING:
    from docker.models.containers import Container

LABEL = "unmask.sandbox.owner"
_FORGOTTEN_SECONDS = 3600


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


def shares_sockets(client: Any) -> bool:
    """Whether a unix socket in a folder of ours works in a container of this engine: only if both run on the same kernel.

    Not told apart from that: an engine elsewhere whose socket somebody forwards to a local one.
    """
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    if sys.platform != "linux" or not str(client.api.base_url).startswith("http+docker://localhost"):
        return False
    try:
        return "docker desktop" not in str(client.info().get("OperatingSystem", "")).lower()
    except (DockerException, RequestException) as error:
        raise SandboxUnavailable(f"docker: the engine does not describe itself: {_short(error)}") from None


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


def sweep(client: Any) -> None:
    """Remove containers that have ended but are still there: what an engine leaves that was stopped together with them.

    And those that were made long ago and never started, whose host process was killed in between. No others: a running container
    belongs to a living host process (it ends with the connection to it), which may be in another process namespace, where its
    number says nothing to us.
    """
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    with suppress(DockerException, RequestException):
        for status in ("exited", "dead", "created"):
            for container in client.containers.list(filters={"label": LABEL, "status": status}, ignore_removed=True):
                if status != "created" or _age(container) > _FORGOTTEN_SECONDS:
                    remove(container)


def _age(container: "Container") -> float:
    """Seconds since a container was made, by our clock: an engine elsewhere may have another, hence the generous limit."""
    made = datetime.fromisoformat(container.attrs["Created"][:19] + "+00:00")
    return (datetime.now(UTC) - made).total_seconds()


def start(container: "Container") -> None:
    """Start a container. Raises SandboxUnavailable."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        container.start()
    except (DockerException, RequestException) as error:
        raise SandboxUnavailable(f"docker: the engine did not start a container: {error}") from None


def attach(container: "Container") -> Any:
    """Return the socket of the container's standard streams. Raises SandboxUnavailable."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        return container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    except (DockerException, RequestException) as error:
        raise SandboxUnavailable(f"docker: the engine did not attach us to a container: {error}") from None


def remove(container: "Container") -> None:
    """Remove a container, running or not."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    # The container may already be removing itself, or the engine be gone (then it sweeps when it is back).
    with suppress(DockerException, RequestException):
        container.remove(force=True)


def last_words(container: "Container") -> str:
    """The end of what a container has written, for messages."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        lines = container.logs(tail=3).decode("utf-8", "replace").strip().splitlines()
    except (DockerException, RequestException):
        return ""
    return f": {lines[-1][:300]}" if lines else ""
