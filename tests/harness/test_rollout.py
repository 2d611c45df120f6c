"""`unmask rollout` and `unmask export`: datasets of judged trajectories, as a person makes and loads them."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import unmask
from unmask.harness.cli import main
from unmask.harness.dataset.build import Selection, build
from unmask.harness.dataset.rows import Entry, Origin, sample_row
from unmask.harness.dataset.schema import RENAMED, SAMPLES, cells, uncells
from unmask.harness.dataset.views import VIEWS
from unmask.harness.dataset.write import write_shards
from unmask.harness.models.attention import block_causal
from unmask.harness.models.model import Model
from unmask.harness.records import DecodeConfig, Rollout
from unmask.rewards.records import Message, Problem, StepReward, Verdict
from unmask.rewards.serde import decode, encode

ARITH = ["rollout", "--model", "demo", "--task", "arith", "--device", "cpu"]
TRL = {"prompt", "completion", "reward", "solution"}
VERL = {"data_source", "prompt", "ability", "reward_model", "extra_info"}


def rows(path: Path) -> list[dict[str, Any]]:
    files = [path] if path.is_file() else sorted((path / "data").glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def timeless(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "verify_seconds")} for row in found]


def by_problem(found: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups = defaultdict(list)
    for row in found:
        groups[row["problem_id"]].append(row)
    return groups


def pass_rate(group: list[dict[str, Any]]) -> float:
    return len([row for row in group if row["status"] == "correct"]) / len(group)


def replay(model: Model, rollout: Rollout) -> list[float]:
    """Recompute every log-probability from the record alone: one row per denoising step, without a cache.

    Attention is block-causal, so that what lies beyond a step's block does not reach it.
    """
    prompt, response, fixed = (torch.tensor(ids) for ids in (rollout.prompt_ids, rollout.token_ids, rollout.step_map))
    steps = torch.arange(int(fixed.max()) + 1).unsqueeze(1)
    shown = torch.where(fixed < steps, response, model.checkpoint.mask_id)
    ids = torch.cat([prompt.expand(len(steps), -1), shown], dim=1)
    positions = torch.arange(ids.shape[1]).unsqueeze(0)
    mask = block_causal(positions, positions, rollout.block_size).unsqueeze(1)
    with torch.inference_mode():
        logits = model.network(input_ids=ids, position_ids=positions.expand(len(ids), -1), attention_mask=mask).logits
    logprobs = logits.log_softmax(-1)[:, len(prompt) :]
    found: list[float] = logprobs[fixed, torch.arange(len(response)), response].tolist()
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rollout") / "arith"
    assert main([*ARITH, "--limit", "16", "--samples", "4", "--out", str(out)]) == 0
    return out


def test_the_folder_loads_with_datasets_and_has_the_columns_of_trl_and_verl(made: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    table = load_dataset(str(made), cache_dir=str(tmp_path), split="train")
    assert len(table) == 64
    assert set(table.column_names) >= TRL | VERL
    assert table[0]["prompt"][0]["role"] == "user"
    assert table[0]["completion"][0]["role"] == "assistant"
    assert table[0]["reward_model"]["ground_truth"] == table[0]["solution"]
    assert table[0]["extra_info"]["verifier"] == "math"


def test_the_folder_is_a_run_as_well(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(made), str(made)]) == 0
    assert main(["score", str(made), "--task", "arith", "--out", str(tmp_path / "scored")]) == 0
    assert "not finished" not in capsys.readouterr().out


def test_types_do_not_depend_on_the_values(made: Path) -> None:
    schema = pq.read_schema(made / "data" / "train-00000.parquet")
    assert schema.equals(SAMPLES)
    assert schema.field("token_rewards").type == pa.list_(pa.float32())  # all null here
    assert schema.field("completion_ids").type == pa.list_(pa.int32())


def test_what_is_read_back_is_what_was_recorded(made: Path) -> None:
    records = [decode(Rollout, line["rollout"], "log") for line in lines(made / "records" / "part-0.jsonl")]
    logged = {(r.problem_id, r.sample): r for r in records}
    loaded = {(s.problem_id, s.sample): s for s in (s.rollout for s in unmask.load_rollouts(made))}
    assert loaded.keys() == logged.keys()
    rounding = ("logprobs", "confidences", "seconds")
    for key, rollout in loaded.items():
        for name, value in encode(logged[key]).items():
            found = encode(rollout)[name]
            assert found == (pytest.approx(value, rel=1e-6, abs=1e-7) if name in rounding else value)
    assert {s.verdict.status for s in unmask.load_rollouts(made)} == {"correct", "wrong"}


def test_the_dataset_alone_reproduces_its_log_probabilities(made: Path, demo: Model) -> None:
    for sample in list(unmask.load_rollouts(made))[::16]:
        assert replay(demo, sample.rollout) == pytest.approx(sample.rollout.logprobs, abs=1e-4)


@pytest.mark.slow
def test_fifty_problems_killed_and_resumed_lose_and_double_nothing_and_replay(tmp_path: Path, demo: Model) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = [*ARITH, "--limit", "50", "--samples", "8", "--out"]
    assert main([*command, str(whole)]) == 0
    part = broken / "records" / "part-0.jsonl"
    rng = random.Random(0)
    for count in (1, 80):
        process = subprocess.Popen([sys.executable, "-m", "unmask.harness.cli", *command, str(broken)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (part.exists() and part.read_bytes().count(b"\n") >= count) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(rng.random() / 4)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 80 <= part.read_bytes().count(b"\n") < 400
    assert not (broken / "data").exists()
    assert main([*command, str(broken)]) == 0
    assert len({row["id"] for row in rows(broken)}) == len(rows(broken)) == 400
    assert timeless(rows(broken)) == timeless(rows(whole))
    for sample in unmask.load_rollouts(broken):
        assert replay(demo, sample.rollout) == pytest.approx(sample.rollout.logprobs, abs=1e-4)


def test_groups_are_chosen_by_their_pass_rate_and_nothing_is_generated_for_it(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = by_problem(rows(made))
    records = (made / "records" / "part-0.jsonl").read_bytes()
    wanted = {problem for problem, group in everything.items() if 0.2 <= pass_rate(group) <= 0.8}
    assert 0 < len(wanted) < len(everything)
    assert main([*ARITH, "--limit", "16", "--samples", "4", "--keep", "0.2:0.8", "--out", str(made)]) == 0
    kept = by_problem(rows(made))
    assert set(kept) == wanted
    assert all(len(group) == 4 for group in kept.values())
    assert "0.2:0.8" in (made / "README.md").read_text()
    assert main([*ARITH, "--limit", "16", "--samples", "4", "--keep", "0.3:0.31", "--out", str(made)]) == 2
    assert "no problem's pass rate" in capsys.readouterr().err
    assert by_problem(rows(made)) == kept  # the dataset from before is whole
    assert main([*ARITH, "--limit", "16", "--samples", "4", "--out", str(made)]) == 0
    assert timeless(rows(made)) == timeless([row for group in everything.values() for row in group])
    assert (made / "records" / "part-0.jsonl").read_bytes() == records


def test_a_large_dataset_is_cut_into_files_of_bounded_size(made: Path, tmp_path: Path) -> None:
    many = [row | {"sample": i} for i, row in enumerate(rows(made) * 20)]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train-00099.parquet").write_text("left over")
    assert write_shards(folder, SAMPLES, iter(many), limit=30_000) == len(many)
    files = sorted(folder.iterdir())
    assert len(files) > 1
    assert [row["sample"] for file in files for row in rows(file)] == list(range(len(many)))
    assert len(list(unmask.load_rollouts(tmp_path))) == len(many)


def test_the_card_says_how_the_data_was_made(made: Path) -> None:
    card = (made / "README.md").read_text()
    for fact in ("data/train-*.parquet", "7aef2667612ef8fa", "decode.threshold | 0.9", "generated:1", "| 16 | 64 |", "step_map"):
        assert fact in card


def view(made: Path, out: Path, name: str, *more: str) -> list[dict[str, Any]]:
    assert main(["export", str(made), "--view", name, "--out", str(out / f"{name}.parquet"), *more]) == 0
    assert pq.read_schema(out / f"{name}.parquet").equals(VIEWS[name].schema)
    return rows(out / f"{name}.parquet")


def test_sft_takes_the_best_samples_and_only_rewarded_ones(made: Path, tmp_path: Path) -> None:
    groups = by_problem(rows(made))
    found = view(made, tmp_path, "sft")
    assert [row["problem_id"] for row in found] == [problem for problem, group in groups.items() if pass_rate(group) > 0]
    assert {row["reward"] for row in found} == {1.0}
    two = by_problem(view(made, tmp_path, "sft", "--best", "2"))
    assert max(len(group) for group in two.values()) == 2


def test_preference_pairs_are_of_one_problem_and_the_chosen_is_better(made: Path, tmp_path: Path) -> None:
    groups = by_problem(rows(made))
    found = view(made, tmp_path, "preference")
    assert [row["problem_id"] for row in found] == [p for p, group in groups.items() if 0 < pass_rate(group) < 1]
    for row in found:
        rewards = {sample["completion"][0]["content"]: sample["reward"] for sample in groups[row["problem_id"]]}
        assert rewards[row["chosen"][0]["content"]] > rewards[row["rejected"][0]["content"]]


def test_kto_labels_every_judged_sample(made: Path, tmp_path: Path) -> None:
    found = view(made, tmp_path, "kto")
    assert len(found) == 64
    assert all(row["label"] == (row["reward"] == 1.0) for row in found)


def test_a_trace_is_the_response_in_token_ids_with_its_steps(made: Path, tmp_path: Path, demo: Model) -> None:
    for row in view(made, tmp_path, "trace"):
        assert len(row["response_ids"]) == len(row["step_map"])
        assert demo.tokenizer.decode(row["response_ids"], skip_special_tokens=True) == row["response"]


def test_rl_has_each_problem_once_with_its_reference_and_pass_rate(made: Path, tmp_path: Path) -> None:
    groups = by_problem(rows(made))
    found = view(made, tmp_path, "rl")
    assert [row["problem_id"] for row in found] == list(groups)
    assert all(row["pass_rate"] == pytest.approx(pass_rate(groups[row["problem_id"]])) for row in found)
    assert all(row["solution"] for row in found)


def test_steps_come_from_process_rewards_and_are_refused_without(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(made), "--view", "steps", "--out", str(tmp_path / "steps")]) == 2
    assert "process rewards" in capsys.readouterr().err
    row = rows(made)[0] | {"step_rewards": [{"start": 0, "end": 4, "value": 1.0}, {"start": 5, "end": 9, "value": 0.0}]}
    build([row], tmp_path / "steps.jsonl", Selection("steps"))
    (made_row,) = lines(tmp_path / "steps.jsonl")
    text = row["completion"][0]["content"]
    assert (made_row["completions"], made_row["labels"]) == ([text[:4], text[4:9]], [True, False])


def test_a_view_into_a_folder_loads_with_datasets(made: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    assert main(["export", str(made), "--view", "kto", "--keep", "0.1:0.9", "--out", str(tmp_path / "kto")]) == 0
    table = load_dataset(str(tmp_path / "kto"), cache_dir=str(tmp_path / "cache"), split="train")
    assert set(table.column_names) == {"problem_id", "prompt", "completion", "label", "reward"}


def test_a_run_of_eval_exports_as_well(tmp_path: Path) -> None:
    assert main(["eval", *ARITH[1:], "--limit", "3", "--samples", "2", "--out", str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "all")]) == 0
    assert len(list(unmask.load_rollouts(tmp_path / "all"))) == 6


def test_long_references_stand_in_the_table_of_problems_and_in_the_rl_view(tmp_path: Path) -> None:
    data = tmp_path / "long.jsonl"
    data.write_text("".join(json.dumps({"question": f"{n}+{n}?", "answer": f"{n}" * 20_000}) + "\n" for n in (1, 2)))
    out = tmp_path / "out"
    assert main(["rollout", "--model", "demo", "--task", str(data), "--set", "decode.max_new_tokens=8", "--out", str(out)]) == 0
    assert {row["solution"] for row in rows(out)} == {None}
    assert [row["reward_model"]["ground_truth"] for row in view(out, tmp_path, "rl")] == ["1" * 20_000, "2" * 20_000]


def test_process_rewards_and_parts_survive(made: Path, tmp_path: Path) -> None:
    (sample, *_) = unmask.load_rollouts(made)
    verdict = Verdict(0.5, "partial", parts={"format": 1.0}, step_rewards=(StepReward(0, 3, 0.25),))
    problem = Problem("p", "t", (Message("user", "?"),), {"tests": [1]})
    entry = Entry("key", problem, unmask.Sample("t", "p", "p", sample.rollout, verdict), [0.25] * len(sample.rollout.token_ids))
    build([sample_row(entry, Origin("t", "train", "", "math", "math", {}, "1"))], tmp_path / "one.parquet", Selection())
    (loaded,) = unmask.load_rollouts(tmp_path / "one.parquet")
    assert (loaded.verdict.parts, loaded.verdict.step_rewards) == (verdict.parts, verdict.step_rewards)
    (row,) = rows(tmp_path / "one.parquet")
    assert len(row["token_rewards"]) == len(row["completion_ids"])
    assert row["extra_info"]["reference_is_json"]
    assert json.loads(row["solution"]) == {"tests": [1]}


def test_a_verifier_of_steps_gives_each_token_its_reward_and_the_steps_view(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([*ARITH, "--limit", "4", "--samples", "2", "--verifier", "arithmetic", "--out", str(out)]) == 0
    for row in rows(out):
        assert len(row["token_rewards"]) == len(row["completion_ids"])
        assert sum(row["token_rewards"]) == pytest.approx(row["reward"], abs=1e-5)
        assert any(row["token_rewards"][: row["length"]]) == bool(row["reward"])
    for made_row in view(out, tmp_path, "steps"):
        assert len(made_row["completions"]) == len(made_row["labels"]) > 0
        assert all("=" in step for step in made_row["completions"])


def test_every_field_of_a_rollout_has_a_column(made: Path) -> None:
    (sample, *_) = unmask.load_rollouts(made)
    columns = pq.read_schema(made / "data" / "train-00000.parquet").names
    assert [name for name in encode(sample.rollout) if RENAMED.get(name, name) not in [*columns, "schema"]] == []


def test_settings_that_are_null_stay_null() -> None:
    settings = DecodeConfig(max_new_tokens=None, stop=("a",))
    assert decode(DecodeConfig, uncells(DecodeConfig, cells(settings)), "here") == settings


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--keep", "0.8:0.2"], "LOW:HIGH"),
        (["--keep", "0.5"], "LOW:HIGH"),
        (["--view", "stf"], "did you mean 'sft'"),
        (["--best", "0"], "at least 1"),
    ],
)
def test_bad_settings_of_an_export_are_named(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], hint: str
) -> None:
    assert main(["export", str(made), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert hint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_export_replaces_nothing_that_is_not_its_own(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious.csv").write_text("1")
    assert main(["export", str(made), "--out", str(tmp_path)]) == 2
    assert "precious.csv" in capsys.readouterr().err
    assert (tmp_path / "data" / "precious.csv").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.md").write_text("# My thesis")
    assert main(["export", str(made), "--out", str(other)]) == 2
    assert (other / "README.md").read_text() == "# My thesis"
    before = rows(made)
    assert main(["export", str(made), "--view", "sft", "--out", str(made)]) == 2
    assert "is what is read" in capsys.readouterr().err
    assert rows(made) == before
    assert main(["export", str(made), "--view", "sft", "--out", str(tmp_path / "twice")]) == 0
    assert main(["export", str(made), "--view", "kto", "--out", str(tmp_path / "twice")]) == 0


def test_what_is_no_dataset_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no parquet file of rollouts" in capsys.readouterr().err
    (tmp_path / "bad.parquet").write_text("not parquet")
    assert main(["export", str(tmp_path / "bad.parquet"), "--out", str(tmp_path / "out")]) == 2
    assert "not a readable parquet file" in capsys.readouterr().err
    pq.write_table(pa.table({"prompt": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(unmask.InputError, match=r"other.parquet, row 1: column .* is missing"):
        list(unmask.load_rollouts(tmp_path / "other.parquet"))


def test_a_push_needs_a_token(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert main(["export", str(made), "--push", "me/mine"]) == 2
    assert "hf auth login" in capsys.readouterr().err


def test_a_push_sends_the_rows_and_the_card_and_is_private(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets
    import huggingface_hub

    sent: list[Any] = []
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "token")
    monkeypatch.setattr(datasets.Dataset, "push_to_hub", lambda self, repo, **how: sent.append((repo, len(self), how)))
    monkeypatch.setattr(huggingface_hub.DatasetCard, "push_to_hub", lambda self, repo, **how: sent.append((repo, self.content)))
    assert main(["export", str(made), "--push", "me/mine"]) == 0
    (rows_sent, (_, card)) = sent
    assert rows_sent == ("me/mine", 64, {"private": True})
    assert "decode.threshold" in card


def test_a_push_without_a_network_fails_in_one_line(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "token")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    assert main(["export", str(made), "--push", "me/mine"]) == 1
    errors = capsys.readouterr().err.strip()
    assert "me/mine" in errors
    assert "\n" not in errors
