"""The first code of a worker: `python -s -S -P launch.py CONFIG FD`, FD being the control connection.

Also used inside a container, where the files of this folder arrive as text (see `backends/docker_boot.py`) over the control
connection: a socket in a directory that host and container share, or the streams to which the engine attaches the host.
"""

import importlib
import json
import os
import shutil
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .zygote import Control


def main(config: dict[str, Any], control: "Control") -> None:
    """Confine this process as `config` says and serve until the host is gone."""
    from . import jail, zygote

    # Process 1 of a namespace gets only those signals from inside for which it has a handler: have none.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if config.get("stack"):
        jail.raise_stack_limit(config["stack"])
    if config.get("jail"):
        jail.enter(config["jail"])
    else:
        zygote.become_subreaper()
    if config.get("python_path"):
        relocate(config)
    if config.get("site"):
        sys.path.append(config["site"])
    serve(config, control)
    if config.get("scratch"):
        shutil.rmtree(config["scratch"], ignore_errors=True)  # the host may be gone without having been able to


def relocate(config: dict[str, Any]) -> None:
    """Tell this interpreter where its files lie now. Packages that are loaded already keep looking in their old folder."""
    old, new = os.path.dirname(os.__file__), config["python_path"][0]
    sys.path[:] = config["python_path"]
    sys.prefix = sys.exec_prefix = sys.base_prefix = sys.base_exec_prefix = config["prefix"]
    sys.executable = config["executable"]
    for module in list(sys.modules.values()):
        places = getattr(module, "__path__", None)
        if isinstance(places, list):
            places[:] = [new + place[len(old) :] if place.startswith(old) else place for place in places]
    importlib.invalidate_caches()


def serve(config: dict[str, Any], control: "Control") -> None:
    """Warm up and answer requests."""
    from . import landlock, zygote

    zygote.warm_up(config["preload"])
    worker = zygote.Zygote(control, config)
    if config.get("landlock"):
        rights = {"read": landlock.READABLE, "write": landlock.WRITABLE, "device": landlock.DEVICE, "list": landlock.LISTABLE}
        worker.confinement().ruleset = landlock.Ruleset((path, rights[kind]) for path, kind in config["landlock"])
    worker.serve()


def start() -> None:
    """The entry point of a worker on this machine."""
    from . import wire

    config = json.loads(sys.argv[1])
    main(config, wire.Packets(socket.socket(fileno=int(sys.argv[2]))))
    os._exit(0)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    importlib.import_module("guest.launch").start()
