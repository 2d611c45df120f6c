"""`unmask doctor`: what works on this machine, shown by trying it."""

import importlib.util
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .environment import package_version
from .tables import print_rows


class Check(NamedTuple):
    """One line of the report. `essential` ones decide the exit code."""

    name: str
    works: bool
    detail: str
    essential: bool = True


def print_report() -> int:
    """Print the report; returns 0 if everything essential works, else 1."""
    checks = [check for name, probe in _PROBES.items() for check in _guarded(name, probe)]
    print_rows(("check", "", "detail"), [(c.name, "ok" if c.works else "no", c.detail) for c in checks])
    return 0 if all(check.works for check in checks if check.essential) else 1


def print_model(name: str, options: Mapping[str, Any]) -> int:
    """Print what a checkpoint is recognised as. Raises InputError if it cannot be loaded."""
    from .models.checkpoint import open_checkpoint
    from .models.describe import describe

    print_rows(("what", "recognised", "from"), describe(open_checkpoint(name, **options)))
    return 0


def _guarded(name: str, probe: Callable[[], list[Check]]) -> list[Check]:
    """What does not work is a line of the report, whatever way it fails."""
    try:
        return probe()
    except Exception as error:
        return [Check(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")]


def _versions() -> list[Check]:
    names = ("torch", "transformers", "datasets", "math-verify", "sympy")
    found = {name: package_version(name) for name in names}
    missing = [name for name, number in found.items() if number is None]
    detail = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    return [Check("packages", not missing, f"{detail}{'; missing: ' + ', '.join(missing) if missing else ''}")]


def _machine() -> list[Check]:
    import torch

    cores, free = os.cpu_count() or 1, shutil.disk_usage(Path.cwd()).free / 1e9
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [
        Check("machine", True, f"{cores} cores, {torch.get_num_threads()} torch threads, {free:.0f} GB free here"),
        Check("accelerator", bool(names), ", ".join(names) or "none; models run on the CPU in float32", essential=False),
    ]


def _decoding() -> list[Check]:
    """Load the embedded model and decode one answer."""
    from ..rewards.records import Message
    from .models.model import load_model
    from .records import DecodeConfig, Request

    started = time.monotonic()
    model = load_model("demo", device="cpu")
    prompt = model.encode([Message("user", "Ana has 3 apples. Ana buys 4 more. How many apples are there now?")])
    rollout = next(model.generate([Request("doctor", 0, prompt, 0)], DecodeConfig(temperature=0.0, max_new_tokens=64)))
    seconds = time.monotonic() - started
    return [Check("decoding", rollout.length > 0, f"demo answered {rollout.length} tokens in {seconds:.1f} s, load included")]


def _verification() -> list[Check]:
    """Judge one pair by string and one by algebra, in the pool."""
    from ..rewards.plugins import load_verifier
    from ..rewards.pool import VerifierPool
    from ..rewards.records import Completion, Problem

    problem = Problem("doctor", "doctor", (), r"\frac{\sqrt{2}}{2}")
    started = time.monotonic()
    with VerifierPool(load_verifier("math"), workers=1) as pool:
        verdict = pool.submit(problem, Completion(r"\boxed{\frac{1}{\sqrt{2}}}")).result()
    seconds = time.monotonic() - started
    return [Check("verification", verdict.status == "correct", f"math: {verdict.status} in {seconds:.1f} s ({verdict.detail})")]


def _sandbox() -> list[Check]:
    """Open each backend and let a program try to get out."""
    from ..sandbox.doctor import report

    rows = report()
    chosen = next((row["backend"] for row in rows if row["chosen"]), None)
    checks = [
        Check("sandbox", chosen is not None, f"auto takes {chosen}" if chosen else "no backend isolates here", essential=False)
    ]
    for row in rows:
        held = sum(probe["held"] for probe in row["probes"])
        shown = f"{held} of {len(row['probes'])} probes held; " if row["probes"] else ""
        checks.append(Check(f"  {row['backend']}", row["works"], f"{shown}{row['why']}", essential=False))
    return checks


def _storage() -> list[Check]:
    """Write, lock and read back a run log."""
    from ..rewards.records import Verdict
    from .store import Judged, Lock, Log

    with tempfile.TemporaryDirectory() as folder:
        lock = Lock(Path(folder))
        written = Judged("doctor", Verdict(1.0, "correct"))
        log = Log(Path(folder), Judged)
        log.append(written)
        log.close()
        log = Log(Path(folder), Judged)
        works = log.get("doctor") == written
        log.close()
        lock.release()
    return [Check("storage", works, "a run log was written, locked and read back")]


def _hub() -> list[Check]:
    """Reach the hub's name; a look-up alone, nothing is fetched."""
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return [Check("hub", False, "HF_HUB_OFFLINE=1: local directories and --data only", essential=False)]
    try:
        socket.getaddrinfo("huggingface.co", 443)
    except OSError as error:
        return [Check("hub", False, f"not reachable ({error.strerror}): use local directories and --data", essential=False)]
    return [Check("hub", importlib.util.find_spec("huggingface_hub") is not None, "name resolves", essential=False)]


_PROBES: dict[str, Callable[[], list[Check]]] = {
    "packages": _versions,
    "machine": _machine,
    "decoding": _decoding,
    "verification": _verification,
    "sandbox": _sandbox,
    "storage": _storage,
    "hub": _hub,
}
