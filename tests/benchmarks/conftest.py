"""What the benchmark tests share: data files beside the checkout, and no reaching for the network or the user's own data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHARED = next((p / "shared" for p in Path(__file__).resolve().parents if (p / "shared" / "data").is_dir()), None)


@pytest.fixture
def shared() -> Path:
    """The folder of data sets beside the checkout."""
    if SHARED is None:
        pytest.skip("no shared/ folder beside the checkout")
    return SHARED / "data"


@pytest.fixture(scope="session")
def sandboxed() -> None:
    """Programs can be run here. Namespaces are taken before docker, whose workers start slowly on a busy machine."""
    from unmask.rewards import code
    from unmask.sandbox import SandboxUnavailable, open_sandbox

    try:
        code._sandboxes["auto", None, 1] = open_sandbox("namespace", workers=1)
    except SandboxUnavailable:
        try:
            code.shared_sandbox("auto", None, 1)
        except SandboxUnavailable as error:
            pytest.skip(f"no sandbox: {error}")


@pytest.fixture(autouse=True)
def no_data_folder_and_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_DATA", str(tmp_path / "data-folder"))
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: refuses at once
    for name in ("HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write_jsonl() -> Callable[..., Path]:
    """A function that writes rows to a path and returns the path."""
    return _write_jsonl


def _write_jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
