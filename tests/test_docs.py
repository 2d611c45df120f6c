"""The commands and programs in the documents on datasets and integrations run, in their order, in one folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from unmask.harness.models.model import Model

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.M | re.S)


@pytest.fixture
def port(tmp_path: Path) -> str:
    """The address of a running `unmask serve`; ended with the test."""
    import threading

    from unmask.harness.models.model import load_model
    from unmask.harness.records import DecodeConfig
    from unmask.harness.serving.engine import Engine
    from unmask.harness.serving.http import Server
    from unmask.harness.serving.service import Service

    demo: Model = load_model("demo", device="cpu")
    server = Server("127.0.0.1", 0, Service(demo, Engine(demo, 8, 64), DecodeConfig(max_new_tokens=64), "demo"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return str(server.server_port)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["datasets", "integrations"])
def test_what_a_document_shows_runs(name: str, tmp_path: Path, port: str) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text("utf-8").replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    blocks = BLOCK.findall(text)
    assert blocks
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "CUDA_VISIBLE_DEVICES": ""}
    for language, code in blocks:
        shell = f'unmask() {{ "{sys.executable}" -m unmask.harness.cli "$@"; }}\nset -e\n{code}'
        command = ["bash", "-c", shell] if language == "bash" else [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{code}\n{done.stderr[-2000:]}"
