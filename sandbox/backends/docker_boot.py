"""How the code of a worker gets into a container and how the two then talk: over a shared socket, or over attached streams.

Either way the image knows nothing of unmask and nothing of the host is mounted but, in the first, a folder with a socket.
"""

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..channel import Channel, SocketChannel, WorkerBroken
from ..errors import SandboxUnavailable
from ..guest import wire
from ..stream import StreamChannel
from . import engine
from .scratch import Directory

if TYPE_CHECKING:
    from docker.models.containers import Container

START_SECONDS = 60.0
_SOCKET_DIRECTORY = "/run/unmask"
# Imports the files of `guest/` from memory. `bundle` holds them and the configuration, `control` is the connection.
_IMPORT = """
class Guest(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name in bundle["modules"]:
            return importlib.util.spec_from_loader(name, self, is_package=name == "guest")
    def exec_module(self, module):
        name = module.__name__
        exec(compile(bundle["modules"][name], name + ".py", "exec", dont_inherit=True), module.__dict__)
sys.meta_path.insert(0, Guest())
from guest import launch, stream, wire
"""
# The bundle arrives as a memory file.
_BOOT_SOCKET = f"""
import array, importlib.abc, importlib.util, json, os, socket, sys
control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
control.connect("{_SOCKET_DIRECTORY}/control")
_, ancillary, _, _ = control.recvmsg(64, socket.CMSG_SPACE(4))
fd = array.array("i", ancillary[0][2])[0]
bundle = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
os.close(fd)
{_IMPORT}
launch.main(bundle["config"], wire.Packets(control))
"""
# The bundle arrives on standard input. The two streams are taken off descriptors 0 and 1 before anything else is imported, so
# that nothing which prints can write into the control connection.
_BOOT_STREAM = f"""
import os
arriving, leaving = os.dup(0), os.dup(1)
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, 0)
os.dup2(null, 1)
os.close(null)
import importlib.abc, importlib.util, json, sys
def take(size):
    data = b""
    while len(data) < size:
        part = os.read(arriving, size - len(data))
        if not part:
            os._exit(0)
        data += part
    return data
bundle = json.loads(take(int.from_bytes(take(4), "big")))
{_IMPORT}
launch.main(bundle["config"], stream.Pipes(arriving, leaving))
"""


def start_with_socket(
    create: Callable[..., "Container"], config: dict[str, Any]
) -> tuple["Container", Channel, Callable[[], str]]:
    """Start a container and connect to it. `create` makes one from a command and options.

    Returns it, the channel, and a function for its last words. Raises SandboxUnavailable.
    """
    directory = Directory()
    try:
        return _start_with_socket(create, config, directory.path)
    finally:
        # The container keeps its view of the (now empty) directory; the host keeps nothing, even if it is killed later.
        directory.remove()


def _start_with_socket(
    create: Callable[..., "Container"], config: dict[str, Any], directory: str
) -> tuple["Container", Channel, Callable[[], str]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(os.path.join(directory, "control"))
        os.chmod(directory, 0o711)  # the container's root has no right to pass over our permissions
        os.chmod(os.path.join(directory, "control"), 0o666)
        listener.listen(1)
        listener.settimeout(START_SECONDS)
        container = create(
            _BOOT_SOCKET,
            volumes={directory: {"bind": _SOCKET_DIRECTORY, "mode": "ro"}},
            log_config={"type": "json-file", "config": {"max-size": "1m"}},
        )
        try:
            engine.start(container)
            connection, _ = listener.accept()
        except (TimeoutError, SandboxUnavailable) as error:
            problem = engine.last_words(container)
            engine.remove(container)
            if isinstance(error, SandboxUnavailable):
                raise
            hint = "; if the engine runs on another machine, use transport='stream'"
            raise SandboxUnavailable(f"docker: the worker did not start in {START_SECONDS:g} s{problem}{hint}") from None
    connection.setblocking(True)
    with suppress(OSError):  # then it is gone, as the wait for its first message will find
        _send_bundle(connection, config)
    return container, SocketChannel(connection), lambda: ""


def _send_bundle(connection: socket.socket, config: dict[str, Any]) -> None:
    fd = os.memfd_create("bundle", os.MFD_CLOEXEC)
    try:
        os.write(fd, _bundle(config))
        wire.send(connection, {}, (fd,))
    finally:
        os.close(fd)


def start_with_stream(
    create: Callable[..., "Container"], config: dict[str, Any]
) -> tuple["Container", Channel, Callable[[], str]]:
    """As `start_with_socket`, for an engine with which no socket and no folder can be shared.

    The engine closes the container's standard input when we are gone, which ends it. Nothing is logged: what passes through
    standard output is our own traffic.
    """
    container = create(_BOOT_STREAM, stdin_open=True, log_config={"type": "none"})
    try:
        channel = StreamChannel(engine.attach(container))  # before the start, so that no byte of it is missed
    except SandboxUnavailable:
        engine.remove(container)
        raise
    try:
        engine.start(container)
        channel.send_first(_bundle(config), START_SECONDS)
    except (SandboxUnavailable, WorkerBroken) as error:
        channel.close()
        engine.remove(container)
        raise SandboxUnavailable(f"docker: {str(error).removeprefix('docker: ')}{channel.words()}") from None
    return container, channel, channel.words


def _bundle(config: dict[str, Any]) -> bytes:
    """The files of `guest/` as text, and the configuration."""
    folder = Path(wire.__file__).parent
    names = {path: "guest" if path.stem == "__init__" else f"guest.{path.stem}" for path in folder.glob("*.py")}
    return json.dumps({"config": config, "modules": {name: path.read_text("utf-8") for path, name in names.items()}}).encode()
