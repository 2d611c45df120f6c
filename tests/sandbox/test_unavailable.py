"""Where something is missing: one clear line, the next weaker backend that is proved, and never `process` unasked."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from unmask.sandbox import SandboxUnavailable, choose, open_sandbox
from unmask.sandbox.backends import docker as docker_backend
from unmask.sandbox.backends import docker_boot
from unmask.sandbox.guest import landlock, seccomp
from unmask.sandbox.probes import Probe, run_probes

from .conftest import open_or_skip


@pytest.fixture(autouse=True)
def fresh_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "_proofs", {})


def unavailable(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    make = choose.make_backend

    def refuse(name: str, *rest: object) -> object:
        if name in names:
            raise SandboxUnavailable(f"{name}: not on this machine")
        return make(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(choose, "make_backend", refuse)


def test_without_an_engine_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(SandboxUnavailable, match=r"docker: no engine answers .* start it, or set DOCKER_HOST"):
        open_sandbox("docker")


def test_without_the_image_the_message_names_the_command() -> None:
    open_or_skip("docker", workers=1).close()
    with pytest.raises(SandboxUnavailable, match=r"no image 'unmask-none:1'; pull it"):
        open_sandbox("docker", image="unmask-none:1")


def test_without_our_image_the_message_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    open_or_skip("docker", workers=1).close()
    monkeypatch.setattr(docker_backend, "DEFAULT_IMAGE", "unmask-none:1")
    with pytest.raises(SandboxUnavailable, match="make it with `unmask sandbox build`"):
        open_sandbox("docker")


def test_an_image_without_python_is_refused_with_the_engines_words(monkeypatch: pytest.MonkeyPatch) -> None:
    open_or_skip("docker", workers=1).close()
    monkeypatch.setattr(choose, "_proofs", {})
    for name in ("_BOOT_SOCKET", "_BOOT_STREAM"):
        monkeypatch.setattr(docker_boot, name, "raise SystemExit('no')")
    monkeypatch.setattr(docker_boot, "START_SECONDS", 2.0)
    with pytest.raises(SandboxUnavailable, match="did not start"):
        open_sandbox("docker", transport="socket")
    with pytest.raises(SandboxUnavailable, match=r"the worker (ended|is gone .*): no"):
        open_sandbox("docker", transport="stream")


def test_auto_says_why_it_did_not_take_a_stronger_backend(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    open_or_skip("namespace", workers=1).close()
    unavailable(monkeypatch, "docker")
    with caplog.at_level(logging.INFO, "unmask.sandbox.choose"), open_sandbox(workers=1) as sandbox:
        assert sandbox.backend == "namespace"
        assert "docker: not on this machine" in sandbox.choice
    assert "docker: not on this machine" in caplog.text


def test_auto_never_falls_to_the_process_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    unavailable(monkeypatch, "docker", "namespace", "restricted")
    with pytest.raises(SandboxUnavailable, match=r"no sandbox works .*docker: .*namespace: .*restricted: .*--backend process"):
        open_sandbox()


def test_the_process_backend_warns_when_it_is_opened(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "unmask.sandbox.choose"), open_or_skip("process", workers=1) as sandbox:
        assert not sandbox.isolated
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_backend_whose_self_check_fails_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    open_or_skip("namespace", workers=1).close()
    monkeypatch.setattr(choose, "_proofs", {})
    monkeypatch.setattr(
        "unmask.sandbox.choose.run_probes", lambda sandbox: [Probe("network", held=False, seen="opened sockets: 2")]
    )
    with pytest.raises(SandboxUnavailable, match=r"namespace: self-check failed: network: opened sockets: 2"):
        open_sandbox("namespace")


def test_the_self_check_finds_what_does_not_isolate() -> None:
    with open_or_skip("process", workers=1) as sandbox:
        held = {probe.name: probe.held for probe in run_probes(sandbox)}
    assert held["runs a program"]
    assert held["memory"]
    assert not held["network"]
    assert not held["host files"]
    assert not held["other processes"]


def test_without_seccomp_nothing_is_called_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "available", lambda: False)
    for backend in ("namespace", "restricted"):
        with pytest.raises(SandboxUnavailable, match="no system call filter"):
            open_sandbox(backend)


def test_without_landlock_restricted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    with pytest.raises(SandboxUnavailable, match="Landlock"):
        open_sandbox("restricted")


NO_NAMESPACES = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
from unmask.sandbox.guest import linux, seccomp
# A filter that refuses unshare(2), as a container's does.
code = seccomp._when(seccomp._EQUAL, {unshare}, seccomp._EPERM, offset=seccomp._NUMBER) + seccomp._step(seccomp._RETURN, seccomp._ALLOW)
linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
seccomp.install(code)
from unmask.sandbox import SandboxUnavailable, open_sandbox
try:
    open_sandbox("namespace", workers=1)
except SandboxUnavailable as error:
    print(error)
"""


def test_where_namespaces_are_off_the_message_says_how_to_allow_them() -> None:
    open_or_skip("namespace", workers=1).close()
    number = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
    import unmask

    root = str(Path(unmask.__file__).parent.parent)
    result = subprocess.run(
        [sys.executable, "-c", NO_NAMESPACES.format(unshare=number), root], capture_output=True, text=True, check=True, timeout=60
    )
    assert "does not let us make namespaces" in result.stdout
    assert "use docker" in result.stdout
    assert result.stdout.count("\n") == 1
