"""lm-evaluation-harness runs its tasks on our engine: answers generated, answers ranked, whole texts."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from unmask.harness.models.model import Model
from unmask.rewards.errors import InputError

if TYPE_CHECKING:
    from unmask.harness.lm_eval_model import UnmaskLM

TASKS = Path(__file__).parents[1] / "data" / "lm_eval"
pytestmark = pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs the extra lm-eval")


@pytest.fixture(autouse=True)
def in_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The data files of the tasks are named from their own folder; prepared copies go to a temporary one."""
    import datasets

    monkeypatch.chdir(TASKS)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")


def lm(model: Model, **settings: Any) -> "UnmaskLM":
    from unmask.harness.lm_eval_model import UnmaskLM

    return UnmaskLM(model, **settings)


def asks(*pairs: tuple[Any, ...]) -> list[Any]:
    return [SimpleNamespace(args=pair) for pair in pairs]


def evaluate(model: "UnmaskLM", *tasks: str, **settings: Any) -> dict[str, Any]:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=False, include_path=str(TASKS))
    found = simple_evaluate(model, tasks=list(tasks), task_manager=manager, bootstrap_iters=0, **settings)
    return dict(found)


def test_lm_eval_runs_tasks_that_generate_that_rank_and_that_measure_texts(demo: Model) -> None:
    found = evaluate(lm(demo), "unmask_begun", "unmask_picked", "unmask_texts", apply_chat_template=True, log_samples=True)
    assert found["results"]["unmask_picked"]["acc,none"] == 1.0
    assert 0 <= found["results"]["unmask_begun"]["exact_match,flexible-extract"] <= 1
    assert 0 < found["results"]["unmask_texts"]["bits_per_byte,none"] < 20
    texts = {sample["doc_id"]: sample["resps"][0][0] for sample in found["samples"]["unmask_begun"]}
    assert len(texts) == 4
    assert all(texts.values())
    assert not any("<|" in text for text in texts.values())


def test_an_answer_is_what_our_engine_gives_and_ends_before_its_stop(demo: Model) -> None:
    model = lm(demo)
    prompt = model.apply_chat_template([{"role": "user", "content": "Ana has 6 coins. Ana buys 2 more. How many?"}])
    (whole,) = model.generate_until(asks((prompt, {"until": [], "max_gen_toks": 40})), disable_tqdm=True)
    assert "The answer" in whole
    (cut,) = model.generate_until(asks((prompt, {"until": ["The answer"], "max_gen_toks": 40})), disable_tqdm=True)
    assert cut == whole.split("The answer")[0]


def test_requests_are_answered_in_their_order_whatever_their_settings(demo: Model) -> None:
    model = lm(demo)
    prompts = [model.apply_chat_template([{"role": "user", "content": f"{n} plus 3?" * n}]) for n in (1, 4, 2)]
    mixed = [(prompt, {"until": [], "max_gen_toks": 8 + 4 * (i % 2)}) for i, prompt in enumerate(prompts)]
    assert model.generate_until(asks(*mixed), True) == [model.generate_until(asks(pair), True)[0] for pair in mixed]


def test_greedy_is_the_default_and_sampling_is_asked_for(demo: Model) -> None:
    model = lm(demo, remasking="static")
    prompt = model.apply_chat_template([{"role": "user", "content": "2+2?"}])
    greedy = asks(*[(prompt, {"until": [], "max_gen_toks": 12})] * 4)
    assert len(set(model.generate_until(greedy, True))) == 1
    hot = asks(*[(prompt, {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 2.0})] * 4)
    assert len(set(model.generate_until(hot, True))) > 1
    assert model.generate_until(hot, True) == model.generate_until(hot, True)


def test_the_likelihood_is_the_one_of_the_library_and_monte_carlo_agrees_with_it(demo: Model) -> None:
    from unmask.harness.models.likelihood import log_likelihood

    exact, sampled = lm(demo), lm(demo, likelihood_method="monte_carlo", mc_num=64)
    context, answer = "Ana has 6 coins. Ana buys 2 more.", " 6+2=8"
    ids = exact._encode_pair(context, answer)
    ((value, _),) = exact.loglikelihood(asks((context, answer)), disable_tqdm=True)
    assert value == pytest.approx(log_likelihood(demo, *ids))
    ((estimate, greedy),) = sampled.loglikelihood(asks((context, answer)), disable_tqdm=True)
    assert estimate == pytest.approx(log_likelihood(demo, *ids, method="monte_carlo", samples=64))
    assert isinstance(greedy, bool)


def test_what_greedy_decoding_gives_is_said_to_be_greedy(demo: Model) -> None:
    model = lm(demo, remasking="sequential")
    asked = model.apply_chat_template([{"role": "user", "content": "Ana has 6 coins. Ana buys 2 more. How many?"}])
    prompt = asked + "6+"  # lm-eval counts white space at the end of a context, as the template's, to the continuation
    (text,) = model.generate_until(asks((prompt, {"until": [], "max_gen_toks": 5})), disable_tqdm=True)
    ((_, right), (_, wrong)) = model.loglikelihood(asks((prompt, text), (prompt, "the the the")), disable_tqdm=True)
    assert (right, wrong) == (True, False)


def test_finished_requests_are_handed_to_lm_evals_cache(demo: Model) -> None:
    model, kept = lm(demo), []
    model.set_cache_hook(SimpleNamespace(add_partial=lambda *what: kept.append(what)))
    model.generate_until(asks(("1+1?", {"until": [], "max_gen_toks": 4})), disable_tqdm=True)
    model.loglikelihood(asks(("1+1?", " 2")), disable_tqdm=True)
    assert [kind for kind, _, _ in kept] == ["generate_until", "loglikelihood"]


def test_a_prompt_that_is_too_long_loses_its_beginning_with_a_warning(demo: Model, caplog: pytest.LogCaptureFixture) -> None:
    (text,) = lm(demo).generate_until(asks(("1+1? " * demo.context, {"until": [], "max_gen_toks": 4})), disable_tqdm=True)
    assert text
    assert "is cut to its last" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"treshold": 0.5}, "did you mean 'threshold'"), ({"threshold": "high"}, "threshold"), ({"top_p": 7}, "top_p")],
)
def test_model_arguments_are_checked(demo: Model, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        lm(demo, **settings)


def test_a_generation_setting_without_meaning_here_is_refused(demo: Model) -> None:
    with pytest.raises(InputError, match="num_beams"):
        lm(demo).generate_until(asks(("1+1?", {"until": [], "num_beams": 4})), disable_tqdm=True)


@pytest.mark.slow
def test_lm_evals_command_line_knows_the_model(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "unmask.harness.lm_eval_model", "--model", "unmask", "--tasks", "unmask_picked,unmask_begun"]
    command += ["--model_args", "pretrained=demo,threshold=0.8,likelihood_method=left_to_right", "--device", "cpu"]
    command += ["--include_path", str(TASKS), "--apply_chat_template", "--output_path", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = (tmp_path / "out").rglob("results_*.json")
    assert set(json.loads(file.read_text())["results"]) == {"unmask_picked", "unmask_begun"}
