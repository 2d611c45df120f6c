"""`unmask sandbox run` and `build`, through the parser that the main command line fills."""

import argparse
import json
from pathlib import Path

import pytest
from unmask.sandbox import Sandbox, SandboxUnavailable
from unmask.sandbox.cli import add_parser
from unmask.sandbox.doctor import report


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["sandbox", *words])
    code: int = arguments.run(arguments)
    return code


def test_run_prints_what_the_program_prints(any_sandbox: Sandbox, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.py").write_text("import sys\nprint(input(), sys.argv[1:])")
    (tmp_path / "in").write_text("hello\n")
    words = ("run", str(tmp_path / "p.py"), "--stdin", str(tmp_path / "in"), "--backend", any_sandbox.backend, "--arg", "a")
    assert command(*words) == 0
    out, err = capfd.readouterr()
    assert out == "hello ['a']\n"
    assert err.startswith("[ok; ")
    assert any_sandbox.backend in err


def test_run_prints_the_record_as_json(any_sandbox: Sandbox, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.py").write_text("import os\nos.write(1, b'\\xff')\nraise SystemExit(4)")
    assert command("run", str(tmp_path / "p.py"), "--backend", any_sandbox.backend, "--json") == 1
    record = json.loads(capfd.readouterr().out)
    assert record["status"] == "error"
    assert record["exit_code"] == 4
    assert record["stdout"] == {"base64": "/w=="}
    assert record["stderr"] == ""
    assert record["isolated"] is True


def test_limits_can_be_given(any_sandbox: Sandbox, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.py").write_text("while True: pass")
    assert (
        command("run", str(tmp_path / "p.py"), "--backend", any_sandbox.backend, "--json", "--cpu", "0.3", "--memory", "64") == 1
    )
    assert json.loads(capfd.readouterr().out)["status"] == "timeout"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        command("run", str(tmp_path / "none.py"))


def test_build_without_an_engine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(SandboxUnavailable, match="no engine answers"):
        command("build")


def test_doctor_reports_every_backend_strongest_first() -> None:
    rows = report()
    assert [row["backend"] for row in rows] == ["docker", "namespace", "restricted", "process"]
    assert sum(row["chosen"] for row in rows) <= 1
    assert not rows[-1]["chosen"]
    for row in rows:
        assert row["why"]
        if row["works"]:
            assert {probe["name"] for probe in row["probes"]} >= {"network", "host files", "memory", "fork bomb"}
    json.dumps(rows)
