"""The one part of the sandbox that is dangerous to the machine: killing. Nothing here is really killed but a child of the test."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from unmask.sandbox.guest import wire, zygote


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Records kills instead of making them."""
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: made.append((pid, number)))
    monkeypatch.setattr(os, "seteuid", lambda uid: None)
    own = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: 4242)  # the tests themselves may be process 1 of a container
    monkeypatch.setattr(os, "getppid", lambda: own)
    return made


def test_a_zygote_outside_a_namespace_of_its_own_never_kills_by_broadcast(kills: list[tuple[int, int]]) -> None:
    for uids in ([], [65000, 65001]):
        with pytest.raises(zygote.Fault, match="refusing"):
            zygote.kill_everyone(uids)
    assert kills == []


@pytest.mark.parametrize("config", [{"uids": [65000, 65001], "only_threads": True}, {"only_threads": True}, {"seccomp": False}])
def test_where_process_ids_are_shared_only_the_guest_is_killed(kills: list[tuple[int, int]], config: dict[str, object]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    report, end = os.pipe()
    with ours, theirs:
        killer = zygote.Zygote(wire.Packets(theirs), {"shared_pids": True, **config})
        guest = zygote.Guest(child.pid, report)
        killer._kill_round([guest])
        assert child.wait(10) == -signal.SIGKILL
        assert all(pid > 1 for pid, _ in kills)
        if config.get("only_threads"):
            assert kills == []
        guest.close()
    os.close(end)
