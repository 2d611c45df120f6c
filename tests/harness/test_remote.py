"""`--model openai:URL#name`: an endpoint as the model of a run; against `unmask serve`, and a server that misbehaves."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import unmask
from unmask.harness.cli import main
from unmask.harness.models import remote
from unmask.harness.models.model import Model
from unmask.harness.models.remote import RemoteModel
from unmask.harness.records import DecodeConfig, Request
from unmask.harness.serving.engine import Engine
from unmask.harness.serving.http import Server
from unmask.harness.serving.service import Service
from unmask.rewards.records import Message


class Double(ThreadingHTTPServer):
    """A small endpoint whose answers a test sets: functions of the body that return status and answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answers: list[tuple[int, Any]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def spec(self) -> str:
        return f"openai:http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Double

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "small"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.server.keys.append(self.headers["Authorization"])
        self._send(*(self.server.answers.pop(0) if self.server.answers else (200, said("\\boxed{5}"))))

    def _send(self, status: int, answer: Any) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def said(text: str, reason: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": reason}], "usage": {"completion_tokens": 7}}


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    server = Double()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def served(demo: Model) -> Iterator[str]:
    service = Service(demo, Engine(demo, 8, 64), DecodeConfig(max_new_tokens=64), "demo")
    server = Server("127.0.0.1", 0, service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"openai:{server.url}#demo"
    server.finish(timeout=10)
    server.server_close()


def requests(count: int) -> list[Request]:
    return [Request(str(n), 0, (), n, messages=(Message("user", f"{n}?"),)) for n in range(count)]


def test_an_endpoint_is_scored_like_a_checkpoint_and_the_run_resumes(served: str, demo: Model, tmp_path: Path) -> None:
    command = ["--task", "arith", "--limit", "6", "--samples", "2", "--set", "decode.temperature=0", "--out"]
    assert main(["eval", "--model", served, *command, str(tmp_path / "far")]) == 0
    assert main(["eval", "--model", "demo", "--device", "cpu", *command, str(tmp_path / "near")]) == 0
    far, near = ({(s.problem_id, s.rollout.sample): s for s in unmask.load_rollouts(tmp_path / run)} for run in ("far", "near"))
    assert {key: s.rollout.text for key, s in far.items()} == {key: s.rollout.text for key, s in near.items()}
    assert {key: s.verdict.reward for key, s in far.items()} == {key: s.verdict.reward for key, s in near.items()}
    (task,) = json.loads((tmp_path / "far" / "results.json").read_text())["tasks"]
    assert task["model"]["fingerprint"] == demo.info.fingerprint
    before = (tmp_path / "far" / "records" / "part-0.jsonl").read_bytes()
    assert main(["eval", "--model", served, *command, str(tmp_path / "far")]) == 0
    assert (tmp_path / "far" / "records" / "part-0.jsonl").read_bytes() == before


def test_a_rollout_from_an_endpoint_says_that_it_has_no_trajectory(double: Double, tmp_path: Path) -> None:
    assert main(["rollout", "--model", double.spec, "--task", "arith", "--limit", "2", "--out", str(tmp_path / "out")]) == 0
    for sample in unmask.load_rollouts(tmp_path / "out"):
        assert (sample.rollout.trajectory, sample.rollout.token_ids, sample.rollout.prompt_ids) == ("none", (), ())
        assert (sample.rollout.length, sample.rollout.block_size, sample.rollout.cache) == (7, 0, "unknown")
        assert "no trajectory" in sample.rollout.note
    assert main(["export", str(tmp_path / "out"), "--view", "kto", "--out", str(tmp_path / "kto.jsonl")]) == 0
    assert main(["export", str(tmp_path / "out"), "--view", "trace", "--out", str(tmp_path / "trace.jsonl")]) == 2


def test_only_settings_that_were_set_are_sent(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    decode = DecodeConfig(temperature=0.5, threshold=0.7, max_new_tokens=9, stop=("x",))
    (rollout,) = RemoteModel(double.spec).generate(requests(1), decode)
    (body,) = double.bodies
    assert body == {
        "model": "small",
        "messages": [{"role": "user", "content": "0?"}],
        "seed": 0,
        "temperature": 0.5,
        "top_p": 1.0,
        "threshold": 0.7,
        "max_tokens": 9,
        "stop": ["x"],
    }
    assert double.keys == ["Bearer secret"]
    assert "secret" not in str(rollout)


def test_requests_are_asked_concurrently_and_none_is_lost(double: Double) -> None:
    found = list(RemoteModel(double.spec).generate(requests(40), DecodeConfig(), max_batch=8))
    assert sorted(int(rollout.problem_id) for rollout in found) == list(range(40))


def test_what_passes_is_tried_again(double: Double) -> None:
    double.answers = [(503, {"error": {"message": "busy"}}), (429, {}), (200, b"{torn"), (200, {"choices": []})]
    (rollout,) = RemoteModel(double.spec).generate(requests(1), DecodeConfig(), max_batch=1)
    assert rollout.text == "\\boxed{5}"
    assert len(double.bodies) == 5


def test_what_the_endpoint_refuses_is_that_requests_error(double: Double) -> None:
    double.answers = [(400, {"error": {"message": "the prompt is too long"}}), (200, said("", "content_filter"))]
    found = list(RemoteModel(double.spec).generate(requests(3), DecodeConfig(), max_batch=1))
    assert [(r.finish, r.detail) for r in found] == [
        ("error", "HTTP 400: the prompt is too long"),
        ("error", "the endpoint ended with 'content_filter'"),
        ("stop", ""),
    ]


def test_an_endpoint_that_stays_away_fails_the_run_which_goes_on_later(
    double: Double, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", "--model", double.spec, "--task", "arith", "--limit", "3", "--max-batch", "1", "--out", str(tmp_path)]
    double.answers = [(200, said("\\boxed{1}"))] + [(500, {})] * 50
    assert main(command) == 1
    errors = capsys.readouterr().err.strip()
    assert "no answer after 6 attempts" in errors
    assert "\n" not in errors
    double.answers = []
    assert main(command) == 0
    assert len((tmp_path / "records" / "part-0.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("openai:http://127.0.0.1:9/v1#m", "cannot be reached"),
        ("openai:127.0.0.1:9", "expected openai:http"),
        ("{double}#large", "serves small, not 'large'"),
    ],
)
def test_a_wrong_address_is_said_in_one_line(
    double: Double, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, hint: str
) -> None:
    spec = model.replace("{double}", double.spec)
    assert main(["eval", "--model", spec, "--task", "arith", "--limit", "1", "--out", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err.strip()
    assert hint in errors
    assert "\n" not in errors
    assert not (tmp_path / "out").exists()


def test_a_key_that_is_missing_is_asked_for(double: Double) -> None:
    double.answers = [(401, {"error": {"message": "no key"}})]
    with pytest.raises(unmask.InputError, match="OPENAI_API_KEY"):
        list(RemoteModel(double.spec).generate(requests(1), DecodeConfig()))


def test_an_endpoint_cannot_be_loaded_as_a_checkpoint() -> None:
    with pytest.raises(unmask.InputError, match="give a checkpoint"):
        unmask.load_model("openai:http://127.0.0.1:9/v1#m")


def test_a_dry_run_of_an_endpoint_tells_its_model(double: Double, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--model", double.spec, "--task", "arith", "--limit", "1", "--dry-run"]) == 0
    assert "#small" in capsys.readouterr().out
