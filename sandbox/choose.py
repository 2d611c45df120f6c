"""`open_sandbox`: which backend, and the proof that it holds.

`auto` takes the strongest backend whose self-check holds, remembers why, and logs it. It never takes `process`: that one has
to be asked for by name. A proof is made once per configuration, and holds
in forks of the process as well.
"""

import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import runtime
from .backends.base import Backend
from .core import Sandbox
from .errors import SandboxError, SandboxFault, SandboxUnavailable
from .probes import Probe, run_probes
from .records import Limits

if TYPE_CHECKING:
    from .backends.docker import Transport

log = logging.getLogger(__name__)

STRENGTH = ("docker", "namespace", "restricted")
NAMES = (*STRENGTH, "process")
_DEFAULT_PACKAGES = runtime.PACKAGES
_proofs: dict[tuple[object, ...], list[Probe]] = {}
_proving = threading.Lock()


def open_sandbox(
    backend: str = "auto",
    *,
    limits: Limits | None = None,
    workers: int | None = None,
    packages: tuple[str, ...] = _DEFAULT_PACKAGES,
    image: str | None = None,
    transport: "Transport" = "auto",
) -> Sandbox:
    """Open a sandbox that has been proved to hold.

    Args:
        backend: "auto", or one of "docker", "namespace", "restricted", "process". "process" does not isolate.
        limits: for every program that brings none of its own.
        workers: programs at a time; by default one per core of this machine that we may use.
        packages: what programs may import besides the standard library.
        image: for docker, instead of the image that `unmask sandbox build` makes.
        transport: for docker, how programs reach its containers: "socket", "stream", or "auto", which knows where the first
            works.

    Raises SandboxUnavailable with one line that says what is missing and how to mend it.
    """
    limits = limits or Limits()
    workers = workers or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else workers or os.cpu_count() or 1
    if backend != "auto" and backend not in NAMES:
        raise SandboxUnavailable(f"no sandbox backend is called {backend!r}; choose auto, {', '.join(NAMES)}")
    wanted = STRENGTH if backend == "auto" else (backend,)
    refusals: list[str] = []
    for name in wanted:
        try:
            return _open(
                make_backend(name, packages, image, transport), (name, packages, image, transport), limits, workers, refusals
            )
        except SandboxUnavailable as error:
            refusals.append(str(error))
    if backend != "auto":
        raise SandboxUnavailable(refusals[0])
    raise SandboxUnavailable(
        "no sandbox works on this machine: " + "; ".join(refusals) + "; see `unmask doctor`. Programs you trust can be run "
        "without isolation with --backend process"
    )


def _open(backend: Backend, key: tuple[object, ...], limits: Limits, workers: int, refusals: list[str]) -> Sandbox:
    backend.prepare()
    name = backend.name
    choice = f"{name}" + (f" (stronger ones are not available: {'; '.join(refusals)})" if refusals else "")
    sandbox = Sandbox(backend, limits, workers, choice)
    try:
        _prove(sandbox, key)
    except BaseException:
        sandbox.close()
        raise
    log.log(logging.WARNING if name == "process" else logging.INFO, "sandbox backend: %s", choice)
    return sandbox


def make_backend(
    name: str, packages: tuple[str, ...] = _DEFAULT_PACKAGES, image: str | None = None, transport: "Transport" = "auto"
) -> Backend:
    """Return the backend `name`, not yet prepared."""
    makers: dict[str, Callable[[], Backend]] = {
        "docker": lambda: _docker(packages, image, transport),
        "namespace": lambda: _namespace(packages),
        "restricted": lambda: _restricted(packages),
        "process": lambda: _process(packages),
    }
    return makers[name]()


def _prove(sandbox: Sandbox, key: tuple[object, ...]) -> None:
    """Run the self-check once. The process backend only has to run a program: that it holds nothing is what it says."""
    with _proving:
        if key not in _proofs:
            try:
                _proofs[key] = run_probes(sandbox)
            except SandboxFault as fault:
                raise SandboxUnavailable(str(fault)) from None
    failed = [probe for probe in _proofs[key] if not probe.held and (sandbox.isolated or probe.name == "runs a program")]
    if failed:
        raise SandboxUnavailable(f"{sandbox.backend}: self-check failed: " + "; ".join(f"{p.name}: {p.seen}" for p in failed))


def prove(name: str, image: str | None = None) -> tuple[list[Probe], str]:
    """Run the self-check of one backend for `unmask doctor`. Returns its rows, or why the backend cannot be tried."""
    try:
        backend = make_backend(name, image=image)
        backend.prepare()
        with Sandbox(backend, Limits(), 1) as sandbox:
            return run_probes(sandbox), ""
    except SandboxError as error:
        return [], str(error)


def _docker(packages: tuple[str, ...], image: str | None, transport: "Transport") -> Backend:
    from .backends.docker import DockerBackend

    return DockerBackend(packages, image, transport)


def _namespace(packages: tuple[str, ...]) -> Backend:
    from .backends.namespace import NamespaceBackend

    return NamespaceBackend(packages)


def _restricted(packages: tuple[str, ...]) -> Backend:
    from .backends.restricted import RestrictedBackend

    return RestrictedBackend(packages)


def _process(packages: tuple[str, ...]) -> Backend:
    from .backends.process import ProcessBackend

    return ProcessBackend(packages)
