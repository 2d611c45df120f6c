"""`unmask serve`, talked to with the openai client: answers, streams, errors, shared batches, a clean end."""

import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import pytest
from unmask.harness.cli import main
from unmask.harness.models.model import Model
from unmask.harness.records import DecodeConfig, Request, Rollout
from unmask.harness.serving.engine import BusyError, Engine, Ticket
from unmask.harness.serving.http import Server
from unmask.harness.serving.service import Service
from unmask.harness.serving.stream import MASK, TextStream, with_masks
from unmask.rewards.records import Message

needs_openai = pytest.mark.skipif(find_spec("openai") is None, reason="needs openai (extra dev)")
ASKED: Any = [{"role": "user", "content": "Ana has 6 coins. Ana buys 2 more. How many coins are there now?"}]


@pytest.fixture(scope="module")
def server(demo: Model) -> Iterator[Server]:
    service = Service(demo, Engine(demo, 8, 64), DecodeConfig(max_new_tokens=64), "demo")
    made = Server("127.0.0.1", 0, service)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.finish(timeout=10)
    made.server_close()


@pytest.fixture
def client(server: Server) -> Any:
    openai = pytest.importorskip("openai")
    return openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)


def post(server: Server, path: str, body: bytes) -> tuple[int, Any]:
    request = urllib.request.Request(server.url + path, data=body, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@needs_openai
def test_a_chat_is_answered_with_its_trajectory(client: Any, demo: Model) -> None:
    found = client.chat.completions.create(model="demo", messages=ASKED, temperature=0, seed=3)
    (choice,) = found.choices
    assert "The answer is" in choice.message.content
    assert choice.finish_reason == "stop"
    assert found.system_fingerprint == demo.info.fingerprint
    assert len(choice.token_ids) == len(choice.step_map) == found.usage.completion_tokens
    assert demo.text(choice.token_ids) == choice.message.content
    assert tuple(found.prompt_ids[0]) == demo.encode((Message("user", ASKED[0]["content"]),))
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
    assert found.decode["temperature"] == 0


@needs_openai
def test_the_same_seed_gives_the_same_answers_and_n_gives_different_ones(client: Any) -> None:
    settings = {"model": "demo", "messages": ASKED, "n": 4, "seed": 1, "temperature": 2.0}
    first, second = (client.chat.completions.create(**settings) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2, 3]
    assert texts == [choice.message.content for choice in second.choices]
    assert len(set(texts)) > 1
    assert texts != [c.message.content for c in client.chat.completions.create(**settings | {"seed": 2}).choices]


@needs_openai
def test_decode_settings_of_ours_are_fields_of_the_body(client: Any) -> None:
    one = client.chat.completions.create(
        model="demo", messages=ASKED, temperature=0, extra_body={"remasking": "static", "steps_per_block": 4}
    )
    assert one.decode["remasking"] == "static"
    assert len(set(one.choices[0].step_map)) == len(one.choices[0].token_ids)  # one token a step
    two = client.chat.completions.create(model="demo", messages=ASKED, temperature=0, extra_body={"threshold": 0.2})
    assert max(two.choices[0].step_map) < max(one.choices[0].step_map)


@needs_openai
def test_texts_and_token_ids_are_completed(client: Any, demo: Model) -> None:
    prompt = demo.tokenizer.decode(demo.encode((Message("user", ASKED[0]["content"]),)))
    by_text = client.completions.create(model="demo", prompt=prompt, temperature=0, max_tokens=9)
    by_ids = client.completions.create(model="demo", prompt=list(by_text.prompt_ids[0]), temperature=0, max_tokens=9)
    assert by_text.choices[0].text == by_ids.choices[0].text
    assert (by_text.choices[0].finish_reason, by_text.usage.completion_tokens) == ("length", 9)
    two = client.completions.create(model="demo", prompt=[prompt, prompt + "6"], temperature=0, max_tokens=9)
    assert [choice.index for choice in two.choices] == [0, 1]
    assert two.choices[0].text == by_text.choices[0].text != two.choices[1].text


@needs_openai
def test_an_answer_ends_before_a_stop_string_and_at_the_length_limit(client: Any) -> None:
    whole = client.chat.completions.create(model="demo", messages=ASKED, temperature=0).choices[0]
    cut = client.chat.completions.create(model="demo", messages=ASKED, temperature=0, stop=["answer"]).choices[0]
    assert (cut.message.content, cut.finish_reason) == (whole.message.content.split("answer")[0], "stop")
    short = client.chat.completions.create(model="demo", messages=ASKED, temperature=0, max_completion_tokens=3)
    assert (short.usage.completion_tokens, short.choices[0].finish_reason) == (3, "length")


@needs_openai
def test_log_probabilities_are_given_where_they_are_asked_for(client: Any) -> None:
    found = client.chat.completions.create(model="demo", messages=ASKED, temperature=0, logprobs=True).choices[0]
    assert len(found.logprobs.content) == len(found.token_ids)
    assert all(entry.logprob <= 0 for entry in found.logprobs.content)
    assert "".join(entry.token for entry in found.logprobs.content) == found.message.content
    text = client.completions.create(model="demo", prompt="6+2", max_tokens=5, logprobs=1).choices[0]
    assert len(text.logprobs.token_logprobs) == 5


@needs_openai
@pytest.mark.parametrize("stop", [None, ["answer is"]])
def test_a_stream_adds_up_to_the_answer(client: Any, stop: list[str] | None) -> None:
    settings = {"model": "demo", "messages": ASKED, "temperature": 0, "stop": stop}
    whole = client.chat.completions.create(**settings)
    chunks = list(client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 1
    assert "".join(pieces) == whole.choices[0].message.content
    last = next(chunk.choices[0] for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason)
    assert (last.finish_reason, last.step_map) == (whole.choices[0].finish_reason, whole.choices[0].step_map)
    assert chunks[-1].usage == whole.usage


@needs_openai
def test_denoising_can_be_watched(client: Any) -> None:
    stream = client.chat.completions.create(
        model="demo", messages=ASKED, temperature=0, n=2, seed=1, stream=True, extra_body={"stream_denoising": True}
    )
    chunks = list(stream)
    states = [c.choices[0].denoising for c in chunks if c.choices and getattr(c.choices[0], "denoising", None)]
    assert any(MASK in state["text"] for state in states)
    assert any(None in state["token_ids"] for state in states)
    assert {c.choices[0].index for c in chunks if c.choices} == {0, 1}


@needs_openai
def test_the_client_gets_the_errors_of_the_openai_api(client: Any) -> None:
    import openai

    with pytest.raises(openai.NotFoundError, match="no model 'gpt-9' here, only 'demo'"):
        client.chat.completions.create(model="gpt-9", messages=ASKED)
    with pytest.raises(openai.BadRequestError, match="tools is not supported") as caught:
        client.chat.completions.create(model="demo", messages=ASKED, tools=[{"type": "function", "function": {"name": "f"}}])
    assert (caught.value.param, caught.value.code) == ("tools", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError, match="context is") as caught:
        client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "2+2? " * 2000}])
    assert caught.value.code == "context_length_exceeded"


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({"messages": []}, "at least one message"),
    "an image": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "has to be text"),
    "a strange role": ({"messages": [{"role": "tool", "content": "x"}]}, "role 'tool'"),
    "a typing mistake": ({"messages": ASKED, "treshold": 0.5}, "did you mean 'threshold'"),
    "too hot": ({"messages": ASKED, "temperature": -1}, "temperature"),
    "text for a number": ({"messages": ASKED, "temperature": "warm"}, "temperature"),
    "too many": ({"messages": ASKED, "n": 1000}, "from 1 to 128"),
    "no whole seed": ({"messages": ASKED, "seed": 1.5}, "seed"),
    "a block the model does not allow": ({"messages": ASKED, "block_size": 3}, "blocks of 4"),
    "a penalty": ({"messages": ASKED, "presence_penalty": 1}, "presence_penalty is not supported"),
    "empty stop": ({"messages": ASKED, "stop": [""]}, "stop"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_answered_with_one_clear_error(server: Server, case: str) -> None:
    body, hint = BAD[case]
    status, answer = post(server, "/chat/completions", json.dumps(body).encode())
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert hint in answer["error"]["message"]


def test_what_is_no_request_is_answered_too(server: Server) -> None:
    assert post(server, "/chat/completions", b"{not json")[0] == 400
    assert post(server, "/chat/completions", b"[]")[0] == 400
    assert post(server, "/nothing", b"{}")[0] == 404
    assert post(server, "/completions", json.dumps({"prompt": [10**9]}).encode())[0] == 400
    with urllib.request.urlopen(server.url + "/models") as answer:
        assert json.load(answer)["data"][0]["id"] == "demo"
    with urllib.request.urlopen(server.url.removesuffix("/v1") + "/health") as answer:
        assert json.load(answer)["status"] == "ok"


def test_neutral_values_and_notes_about_the_caller_are_fine(server: Server) -> None:
    body = {"messages": ASKED, "max_tokens": 4, "presence_penalty": 0, "tools": [], "user": "me", "n": None}
    assert post(server, "/chat/completions", json.dumps(body).encode())[0] == 200


def test_requests_that_come_together_share_passes_and_answers_are_not_mixed_up(demo: Model) -> None:
    engine = Engine(demo, 8, 64)
    decodes = [demo.resolve(DecodeConfig(max_new_tokens=16 + 4 * (n % 3))) for n in range(12)]
    prompts = [demo.encode((Message("user", f"{n}+{n}?"),)) for n in range(12)]
    alone = [next(demo.generate([Request("x", 0, ids, n)], decodes[n])) for n, ids in enumerate(prompts)]
    together: list[int] = []

    def ask(n: int) -> Rollout:
        ticket = Ticket(prompts[n], decodes[n], n, lambda _: together.append(engine.load()[0]))
        engine.submit([ticket])
        return ticket.result.result(timeout=60)

    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(ask, range(12)))
    assert [(r.token_ids, r.length, r.decode) for r in found] == [(r.token_ids, r.length, r.decode) for r in alone]
    assert 1 < max(together) <= 8
    assert engine.load() == (0, 0)
    assert engine.close(timeout=10)


def test_a_request_that_comes_late_joins_the_running_batch(demo: Model) -> None:
    engine = Engine(demo, 8, 64)
    decode = demo.resolve(DecodeConfig(max_new_tokens=80, remasking="static", full_length=True))
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()
    long = Ticket(demo.encode((Message("user", "2+2?"),)), decode, 0, lambda shown: seen.put(len(shown)))
    engine.submit([long])
    seen.get(timeout=60)
    late = Ticket(demo.encode((Message("user", "3+3?"),)), decode, 1)
    engine.submit([late])
    seen.get(timeout=60)
    seen.get(timeout=60)
    assert engine.load() == (2, 0)
    engine.close(timeout=60)
    assert long.result.done()
    assert late.result.done()


def test_other_settings_get_their_turn(demo: Model) -> None:
    engine = Engine(demo, 2, 64)
    settings = [demo.resolve(DecodeConfig(max_new_tokens=8, temperature=heat)) for heat in (1.0, 2.0)]
    tickets = [Ticket(demo.encode((Message("user", f"{n}?"),)), settings[n % 2], n) for n in range(6)]
    engine.submit(tickets)
    rollouts = [ticket.result.result(timeout=60) for ticket in tickets]
    assert [rollout.decode.temperature for rollout in rollouts] == [1.0, 2.0] * 3
    engine.close(timeout=10)


def test_a_client_that_goes_away_leaves_nothing_behind(server: Server) -> None:
    body = json.dumps({"messages": ASKED, "stream": True, "n": 2}).encode()
    with urllib.request.urlopen(urllib.request.Request(server.url + "/chat/completions", data=body)) as answer:
        answer.readline()
    wait_for(lambda: server.service.engine.load() == (0, 0))
    assert post(server, "/chat/completions", json.dumps({"messages": ASKED, "max_tokens": 4}).encode())[0] == 200


def test_a_full_queue_and_a_closing_engine_refuse(demo: Model) -> None:
    engine = Engine(demo, 1, 2)
    decode = demo.resolve(DecodeConfig(max_new_tokens=8))
    tickets = [Ticket(demo.encode((Message("user", "2+2?"),)), decode, n) for n in range(3)]
    with pytest.raises(BusyError, match="try again later"):
        engine.submit(tickets)
    assert engine.close(timeout=10)
    with pytest.raises(BusyError, match="shutting down"):
        engine.submit(tickets[:1])


def test_a_failure_of_the_model_fails_its_requests_and_not_the_engine(demo: Model) -> None:
    class Failing(Model):
        failed = False

        def generate(self, requests: Any, decode: Any, **how: Any) -> Iterator[Rollout]:
            if not self.failed:
                self.failed = True
                next(requests)
                raise RuntimeError("out of memory")
            yield from super().generate(requests, decode, **how)

    model = Failing(demo.checkpoint, demo.network, demo.info)
    engine = Engine(model, 2, 8)
    tickets = [Ticket(demo.encode((Message("user", "2+2?"),)), demo.resolve(DecodeConfig(max_new_tokens=8)), n) for n in (0, 1)]
    engine.submit(tickets[:1])
    with pytest.raises(RuntimeError, match="out of memory"):
        tickets[0].result.result(timeout=60)
    engine.submit(tickets[1:])
    assert tickets[1].result.result(timeout=60).length > 0
    engine.close(timeout=10)


def spell(letters: str) -> list[int | None]:
    return [None if letter == "_" else ord(letter) for letter in letters]


def text(ids: Any) -> str:
    return "".join(chr(i) for i in ids)


def grown(*states: str, **settings: Any) -> list[str]:
    stream = TextStream(DecodeConfig(**settings), text, {ord("$")})
    return [stream.grow(spell(state)) for state in states]


def test_text_is_passed_on_up_to_the_first_mask() -> None:
    assert grown("a__d", "ab_d", "abcd", "abcd__") == ["a", "b", "cd", ""]
    assert grown("ab$x") == ["ab"]
    assert grown("abcd", max_new_tokens=2) == ["ab"]


def test_what_may_become_a_stop_string_is_held_back() -> None:
    assert grown("say S", "say SO", "say SO!", stop=("STOP",)) == ["say ", "SO", "!"]
    assert grown("say STOP it", stop=("STOP",)) == ["say "]


def test_nothing_is_final_where_fixed_tokens_may_change() -> None:
    assert grown("ab__", "abcd", algorithm="edit") == ["", ""]


def test_masks_are_shown_as_shades() -> None:
    assert with_masks(spell("ab__c_"), text) == f"ab{MASK * 2}c{MASK}"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_the_command_serves_and_ends_after_what_is_being_decoded() -> None:
    command = [sys.executable, "-m", "unmask.harness.cli", "serve", "--model", "demo", "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().split(" at ")[1].split(";")[0]
    body = json.dumps({"messages": ASKED, "max_tokens": 160, "remasking": "static", "full_length": True}).encode()
    answers: list[Any] = []

    def ask() -> None:
        with urllib.request.urlopen(urllib.request.Request(url + "/chat/completions", data=body)) as answer:
            answers.append(json.load(answer))

    def running() -> bool:
        with urllib.request.urlopen(url.removesuffix("/v1") + "/health") as answer:
            return bool(json.load(answer)["running"])

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(running)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    asking.join(timeout=10)
    assert answers[0]["choices"][0]["finish_reason"] in ("stop", "length")


def test_an_address_that_is_taken_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", "--model", "demo", "--device", "cpu", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot listen there" in capsys.readouterr().err
