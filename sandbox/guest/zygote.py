"""The zygote: a warm Python that forks one guest (or a pair of them) per request, watches it, kills it, and cleans up.

It trusts the host and nobody else. It never reads what a guest wrote; it counts bytes, seconds and processes. A request that
cannot be carried out for reasons of our own is answered with a `fault`. The end of the control connection is the end of the
zygote and of everything below it, so nothing outlives the host.
"""

import gc
import importlib.util
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from . import calls, child, linux, program, tester, watch

_ROLES = {"program": program.run_program, "call": calls.run_calls, "serve": calls.serve, "test": tester.run_tests}
_FDS_PER_GUEST = 5
_SETUP_SECONDS = 10.0
_GRACE = 0.1
_FIRST_LOOK, _LONGEST_PAUSE = 0.01, 0.04  # a guest fills memory at 1 to 2 GB/s


class Fault(RuntimeError):  # noqa: N818 - the field's term
    """The sandbox, not the guest, went wrong."""


class HostGone(RuntimeError):  # noqa: N818 - an event, not an error
    """The control connection has closed."""


class Control(Protocol):
    """The connection to the host: `wire.Packets`, or `stream.Pipes` where the two share no socket."""

    def fileno(self) -> int: ...

    def receive(self) -> tuple[dict[str, Any], list[int]] | None: ...

    def reply(
        self, message: dict[str, Any], limits: dict[str, Any] | None = None, fds: list[int] | tuple[int, ...] = ()
    ) -> None: ...


class Outcome(NamedTuple):
    """How a process ended: wait status, CPU seconds, peak bytes of resident memory."""

    status: int
    cpu: float
    peak: int


class Guest:
    """One guest of the request at hand."""

    def __init__(self, pid: int, report: int) -> None:
        self.pid, self.report = pid, report
        self.pidfd = os.pidfd_open(pid)
        self.began: float | None = None
        self.setup_cpu = 0.0

    def read_report(self) -> None:
        """Take in what the guest said: that its program starts now, or nothing, when it ended before."""
        with suppress(BlockingIOError):
            data = os.read(self.report, child.STARTED.size)
            if len(data) == child.STARTED.size:
                self.setup_cpu = child.STARTED.unpack(data)[1]
                self.began = time.monotonic()

    def close(self) -> None:
        os.close(self.report)
        os.close(self.pidfd)


class Zygote:
    """Serves requests on `control` until it closes."""

    def __init__(self, control: Control, config: dict[str, Any]) -> None:
        self._control = control
        self._guests: list[Guest] = []  # of the request at hand
        self._how = child.Confinement(config)
        self._shared_pids: bool = config.get("shared_pids", False)
        self._wipe: list[str] = config.get("wipe", [])
        self._kills = watch.out_of_memory_kills()
        for path in self._wipe:
            os.chmod(path, 0o1777)  # an engine may keep the narrower mode that the image gives it
        self._parent = os.pidfd_open(os.getppid()) if self._shared_pids else -1

    def confinement(self) -> child.Confinement:
        """What is done to each guest; a backend may add a Landlock ruleset."""
        return self._how

    def serve(self) -> None:
        """Answer requests one after another."""
        self._control.reply({"ready": True, "python": sys.version.split()[0], "pid": os.getpid()})
        while (message := self._control.receive()) is not None:
            request, fds = message
            try:
                reply = self._answer(request, fds)
                if reply is None:
                    return
                self._control.reply(reply, None if "fault" in reply else request["limits"], fds)
            finally:
                for fd in fds:
                    with suppress(OSError):
                        os.close(fd)

    def _answer(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any] | None:
        """Run a request and leave nothing of it. None when the host has gone meanwhile."""
        try:
            return self._run(request, fds)
        except (Fault, OSError) as error:
            self._kill_all(self._guests)
            return {"fault": str(error), "retire": True}
        except HostGone:
            self._kill_all(self._guests)
            return None
        finally:
            for guest in self._guests:
                guest.close()
            self._guests = []

    def _run(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        roles, limits = request["roles"], request["limits"]
        if len(fds) != _FDS_PER_GUEST * len(roles):
            raise Fault(f"{len(fds)} descriptors arrived for {len(roles)} guests")
        peers = _pipes() if len(roles) == 2 else [(), ()]
        for slot, role in enumerate(roles):
            own = fds[slot * _FDS_PER_GUEST : (slot + 1) * _FDS_PER_GUEST]
            self._guests.append(self._fork(slot, role, limits, own, peers[slot]))
        for fd in {fd for pair in peers for fd in pair}:
            os.close(fd)
        killed = self._watch(self._guests, limits)
        if killed == "setup":
            raise Fault("a guest did not start: " + _last_words(fds[(len(roles) - 1) * _FDS_PER_GUEST + 3]))
        return self._conclude(self._guests, killed)

    def _fork(self, slot: int, role: str, limits: dict[str, Any], fds: list[int], peers: tuple[int, ...]) -> Guest:
        report, report_end = os.pipe()

        def guest() -> None:
            header, source = child.confine(self._how, slot, limits, [*fds, report_end, *peers], hidden=role == "test")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            program.fresh_streams()
            program.seed_random()
            gc.enable()
            _ROLES[role](header, source)

        pid = os.fork()
        if pid == 0:
            _run_only(guest, fds[3])
        os.close(report_end)
        os.set_blocking(report, False)
        return Guest(pid, report)

    def _watch(self, guests: list[Guest], limits: dict[str, Any]) -> str | None:
        """Wait for the last guest to end, or kill it for what it uses. Returns why it was killed."""
        poller = select.poll()
        poller.register(self._control, select.POLLHUP | getattr(select, "POLLRDHUP", 0))
        if self._parent >= 0:
            poller.register(self._parent, select.POLLIN)
        reports = {guest.report: guest for guest in guests}
        for guest in guests:
            poller.register(guest.report, select.POLLIN)
        poller.register(guests[-1].pidfd, select.POLLIN)
        last, forked, pause = guests[-1], time.monotonic(), _FIRST_LOOK
        while True:
            for fd, _ in poller.poll(pause * 1000):
                if fd in (self._control.fileno(), self._parent):
                    raise HostGone
                if fd in reports:
                    reports[fd].read_report()
                    poller.unregister(fd)
            if _has_ended(last):
                last.read_report()
                return None if last.began is not None else "setup"
            why = self._excess(guests, limits, forked)
            if why is not None:
                return why
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _excess(self, guests: list[Guest], limits: dict[str, Any], forked: float) -> str | None:
        now = time.monotonic()
        if any(guest.began is None for guest in guests):
            return "setup" if now - forked > _SETUP_SECONDS else None
        if now - max(guest.began or now for guest in guests) > limits["wall_seconds"]:
            return "wall"
        pids = self._pids(guests)
        usage = watch.of_processes(pids)
        if usage.cpu - sum(guest.setup_cpu for guest in guests) > limits["cpu_seconds"]:
            return "cpu"
        if usage.tasks > limits["processes"] + 8:
            return "processes"
        if usage.memory > limits["memory"] and self._true_memory(pids, usage.memory) > limits["memory"]:
            return "memory"
        return "disk" if self._shared_pids and self._disk_exceeded(limits) else None

    def _pids(self, guests: list[Guest]) -> list[int]:
        """Every process of this request that can be found."""
        if not self._shared_pids:
            return watch.namespace_pids()
        if self._how.only_threads:
            return [guest.pid for guest in guests]
        return watch.descendants(os.getpid())[1:]

    def _true_memory(self, pids: list[int], resident: int) -> int:
        """Resident memory counts pages shared between forks more than once."""
        fair = watch.shared_fairly(pids) if len(pids) > 1 else resident
        if fair is None:
            fair = watch.group_memory()
        return resident if fair is None else min(fair, resident)

    def _disk_exceeded(self, limits: dict[str, Any]) -> bool:
        size, count = watch.directory_size(self._how.work)
        return bool(size > limits["disk"] or count > limits["files"])

    def _conclude(self, guests: list[Guest], killed: str | None) -> dict[str, Any]:
        """Kill what is left, reap it, wipe, and say what each guest did."""
        ended = time.monotonic()
        grace = 0 if killed else _GRACE  # a server whose pipe has closed is on its way out, and how it ended matters
        alive = [not _has_ended(guest, grace) for guest in guests]
        outcomes = self._kill_all(guests)
        strays = sum(outcome.cpu for pid, outcome in outcomes.items() if pid not in {guest.pid for guest in guests})
        kills, self._kills = self._kills, watch.out_of_memory_kills()
        reply: list[dict[str, Any]] = []
        for guest, was_alive in zip(guests, alive, strict=True):
            status, cpu, peak = outcomes[guest.pid]
            code = os.waitstatus_to_exitcode(status)
            reply.append({
                "exit": code if code >= 0 else None,
                "signal": -code if code < 0 else None,
                "alive": was_alive,
                "cpu": max(cpu - guest.setup_cpu, 0.0) + strays,
                "wall": ended - (guest.began or ended),
                "peak": peak,
            })  # fmt: skip
        clean = self._clean()
        return {"killed": killed, "oom": self._kills > kills, "guests": reply, "retire": not clean}

    def _kill_all(self, guests: list[Guest]) -> dict[int, Outcome]:
        """Leave no process of this request: all of them end up as our children, so "no child" means none is left."""
        outcomes: dict[int, Outcome] = {}
        deadline = time.monotonic() + 5
        while True:
            self._kill_round([guest for guest in guests if guest.pid not in outcomes])
            while True:
                try:
                    pid, status, usage = os.wait4(-1, os.WNOHANG)
                except ChildProcessError:
                    return outcomes
                if pid == 0:
                    break
                outcomes[pid] = Outcome(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)
            if time.monotonic() > deadline:
                raise Fault("processes of the guest could not be killed")
            time.sleep(0.0005)

    def _kill_round(self, guests: list[Guest]) -> None:
        """Kill everything of this request. Broadcasts are for namespaces of our own; elsewhere each process is named."""
        if not self._shared_pids:
            kill_everyone(self._how.uids)
            return
        for guest in guests:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(guest.pidfd, signal.SIGKILL)
        if not self._how.only_threads:
            for pid in watch.descendants(os.getpid())[1:]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _clean(self) -> bool:
        """Empty the writable directories; False when something stays, and the worker must go."""
        for path in self._wipe:
            for name in os.listdir(path):
                _remove(os.path.join(path, name), self._how.uids)
            if os.listdir(path):
                return False
        return True


def _pipes() -> list[tuple[int, ...]]:
    """Two pipes: (read, write) ends for the first guest and for the second."""
    first_in, second_out = os.pipe()
    second_in, first_out = os.pipe()
    return [(first_in, first_out), (second_in, second_out)]


def _run_only(guest: Callable[[], None], stderr: int) -> None:
    """Be the guest in a fresh fork, with errors on its `stderr`, and never return to the code of the zygote."""
    try:
        os.dup2(stderr, 2)
        guest()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(70)


def _has_ended(guest: Guest, patience: float = 0) -> bool:
    return bool(select.select([guest.pidfd], [], [], patience)[0])


def _last_words(stderr: int) -> str:
    data = os.pread(stderr, 65536, 0).decode("utf-8", "replace").strip().splitlines()
    return data[-1][:300] if data else "it ended without a word"


def kill_everyone(uids: list[int]) -> None:
    """Kill every other process of the namespace whose first process we are: all at once, or all of `uids`, one by one.

    kill(-1) reaches whatever the caller may signal, and with a real user of root that is everything, whoever the effective
    user is. Outside a process namespace of our own that would be the machine, so this refuses to run there.
    """
    if os.getpid() != 1:
        raise Fault("refusing to kill by broadcast: this zygote is not the first process of a namespace of its own")
    for uid in uids or [os.geteuid()]:
        os.seteuid(uid)
        try:
            os.kill(-1, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # there is none
        finally:
            if uids:
                os.seteuid(0)


def _remove(path: str, uids: list[int]) -> None:
    """Remove a file or a tree that a guest left, with no more rights than the guest had."""
    owner = os.lstat(path).st_uid
    if owner in uids:
        os.seteuid(owner)
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, onerror=_open_up)
        else:
            os.unlink(path)
    except (OSError, RecursionError):
        pass  # `_clean` sees that it is still there
    finally:
        if owner in uids:
            os.seteuid(0)


def _open_up(function: Any, path: str, info: Any) -> None:
    """A directory without permissions is opened; what still resists stays, and retires the worker."""
    with suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def warm_up(modules: list[str]) -> None:
    """Import what guests will want, once. A package that is not installed here is left out: then no guest can import it."""
    threading.stack_size(8 << 20)  # not the 256 MiB that the main thread may use
    sys.setrecursionlimit(1000)
    for name in ("codecs", "traceback", "encodings.utf_8", "encodings.latin_1", *modules):
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    if "numpy" in sys.modules:
        importlib.import_module("numpy.random")
    program.add_site_builtins()
    linux.drop_bounding_set()
    linux.prctl(linux.PR_SET_DUMPABLE, 0)  # nothing that shares our user may look into us
    gc.collect()
    gc.freeze()
    gc.disable()


def become_subreaper() -> None:
    """Orphans of a guest become children of this process, so that "no child left" means none left."""
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
