"""One sandbox per backend for all tests of this folder; a backend that does not work here is skipped, saying what is missing."""

from collections.abc import Iterator

import pytest
from unmask.sandbox import Limits, Sandbox, SandboxUnavailable, open_sandbox

STREAM = "docker-stream"  # the docker backend as it works where no socket can be shared
ISOLATING = ("docker", STREAM, "namespace", "restricted")
QUICK = Limits(cpu_seconds=1.0, wall_seconds=2.0, memory=128 << 20, output=1 << 20, file_size=4 << 20, disk=8 << 20, files=200)


def options(kind: str) -> dict[str, object]:
    """The arguments of `open_sandbox` for a backend, or for STREAM."""
    return {"backend": "docker", "transport": "stream"} if kind == STREAM else {"backend": kind}


def open_or_skip(kind: str, **others: object) -> Sandbox:
    try:
        return open_sandbox(**{**options(kind), **others})  # type: ignore[arg-type]
    except SandboxUnavailable as missing:
        pytest.skip(str(missing))


def open_another(sandbox: Sandbox, **others: object) -> Sandbox:
    """A second sandbox of the same kind."""
    stream = getattr(sandbox._pool.backend, "transport", "") == "stream"
    return open_or_skip(STREAM if stream else sandbox.backend, **others)


@pytest.fixture(scope="session", params=ISOLATING)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox of each backend that isolates, with two workers and the usual limits."""
    with open_or_skip(request.param, workers=2) as opened:
        yield opened


@pytest.fixture(scope="session")
def any_sandbox() -> Iterator[Sandbox]:
    """One sandbox, for what does not depend on the backend."""
    for backend in ("namespace", "docker", "restricted"):
        try:
            opened = open_sandbox(backend, workers=2)
        except SandboxUnavailable:
            continue
        with opened:
            yield opened
            return
    pytest.skip("no backend that isolates works here; see `unmask doctor`")
