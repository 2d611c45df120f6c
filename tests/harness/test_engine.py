"""The engine: memory within its budget, batches that shrink, rows that are in use."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from unmask.benchmarks.registry import load_benchmark
from unmask.harness.cli import main
from unmask.harness.decoding.usage import Usage
from unmask.harness.models.captured import Captured
from unmask.harness.models.denoiser import BlockDenoiser
from unmask.harness.models.memory import parse_size, position_bytes, size_text
from unmask.harness.models.model import Model
from unmask.harness.records import DecodeConfig, Request, Rollout
from unmask.rewards.errors import InputError

DECODE = DecodeConfig(max_new_tokens=64)


def requests(model: Model, lengths: list[int]) -> list[Request]:
    problems = list(load_benchmark("arith", None).load())
    prompts = [model.encode(problems[7 * i].prompt) for i in range(len(lengths))]
    return [Request(f"p{i}", 0, prompt, i, length) for i, (prompt, length) in enumerate(zip(prompts, lengths, strict=True))]


def decoded(model: Model, wanted: list[Request], **options: Any) -> dict[str, tuple[Any, ...]]:
    found = {r.problem_id: _tokens(r) for r in model.generate(wanted, DECODE, **options)}
    assert len(found) == len(wanted)
    return found


def _tokens(rollout: Rollout) -> tuple[Any, ...]:
    return rollout.token_ids, rollout.step_map, rollout.logprobs, rollout.finish


def endless(model: Model) -> Model:
    return Model(dataclasses.replace(model.checkpoint, stop_ids=()), model.network, model.info)


def test_requests_may_have_lengths_of_their_own(demo: Model) -> None:
    wanted = requests(demo, [4, 9, 30])
    rollouts = {r.problem_id: r for r in endless(demo).generate(wanted, DECODE)}
    assert [rollouts[f"p{i}"].length for i in range(3)] == [4, 9, 30]
    assert {r.finish for r in rollouts.values()} == {"length"}


def test_a_budget_is_kept_and_changes_no_token(demo: Model) -> None:
    wanted = requests(demo, [8, 40, 16, 64, 24, 8, 200, 12])
    budget = 3 * 320 * position_bytes(demo.network)
    usage = Usage()
    assert decoded(demo, wanted, kv_budget=budget, max_batch=8, usage=usage) == decoded(demo, wanted, max_batch=8)
    assert 0.9 * budget <= usage.cache_bytes <= budget


def test_a_budget_for_one_sequence_is_enough(demo: Model) -> None:
    wanted = requests(demo, [8, 40, 16])
    budget = 192 * position_bytes(demo.network)
    assert decoded(demo, wanted, kv_budget=budget) == decoded(demo, wanted)


def test_a_budget_that_is_too_small_is_refused_with_the_figure_that_would_do(demo: Model) -> None:
    wanted = requests(demo, [100])
    with pytest.raises(InputError, match=r"--kv-budget 100 KiB: one sequence of 192 positions takes (.+) of cache") as refused:
        decoded(demo, wanted, kv_budget=100 << 10)
    figure = str(refused.value).partition(" takes ")[2].partition(" of cache")[0]
    assert decoded(demo, wanted, kv_budget=parse_size(figure.replace(" ", ""), "x")) == decoded(demo, wanted)


@pytest.mark.parametrize(("text", "size"), [("2GiB", 2 << 30), ("1.5 M", 3 << 19), ("4096", 4096), ("512kb", 512 << 10)])
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text, "--kv-budget") == size
    assert parse_size(size_text(size).replace(" ", ""), "--kv-budget") >= size


@pytest.mark.parametrize("text", ["", "much", "-1G", "0", "3 apples"])
def test_what_is_no_size_is_refused_in_one_line(text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["eval", "--model", "demo", "--task", "arith", "--limit", "1", "--out", str(tmp_path / "run")]
    assert main([*command, f"--kv-budget={text}"]) == 2
    assert "not a size" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def _short_of_memory(most: int, error: Callable[[], RuntimeError]) -> Any:
    original = BlockDenoiser.run

    def run(self: BlockDenoiser, starts: torch.Tensor, *rest: Any) -> torch.Tensor:
        out = original(self, starts, *rest)
        if len(starts) > most:
            raise error()
        return out

    return run


CUDA = lambda: torch.OutOfMemoryError("CUDA out of memory")  # noqa: E731
CPU = lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes")  # noqa: E731


@pytest.mark.parametrize("error", [CUDA, CPU])
def test_running_out_of_memory_shrinks_the_batch_and_loses_nothing(
    demo: Model, monkeypatch: pytest.MonkeyPatch, error: Callable[[], RuntimeError]
) -> None:
    wanted = requests(demo, [8, 40, 16, 64, 24, 8, 32, 12])
    expected = decoded(demo, wanted)
    monkeypatch.setattr(BlockDenoiser, "run", _short_of_memory(3, error))
    usage = Usage()
    assert decoded(demo, wanted, usage=usage) == expected
    assert usage.passes > 0


def test_memory_for_not_even_one_sequence_is_one_clear_line(demo: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockDenoiser, "run", _short_of_memory(0, CUDA))
    with pytest.raises(InputError, match="out of memory with a single sequence"):
        decoded(demo, requests(demo, [8, 8]))


def test_other_errors_are_not_taken_for_lack_of_memory(demo: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockDenoiser, "run", _short_of_memory(0, lambda: RuntimeError("shapes do not fit")))
    with pytest.raises(RuntimeError, match="shapes"):
        decoded(demo, requests(demo, [8]))


class Replay:
    """What a CUDA graph does, on a CPU: the function once more, from the same inputs, into the same output."""

    made: ClassVar[list["Replay"]] = []

    def __init__(self, function: Callable[[], torch.Tensor]) -> None:
        self._function, self.output, self.replays = function, function(), 0
        Replay.made.append(self)

    def replay(self) -> None:
        self.output.copy_(self._function())
        self.replays += 1


@pytest.mark.parametrize("options", [{}, {"fuse": False}, {"kv_budget": 2 << 20}])
def test_replayed_passes_of_a_few_shapes_change_no_token(
    demo: Model, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    wanted = requests(demo, [8, 40, 16, 64, 24, 8, 32, 12])
    expected = decoded(demo, wanted)
    original = BlockDenoiser.__init__

    def replaying(self: BlockDenoiser, *args: Any, **named: Any) -> None:
        original(self, *args, **named)
        self.captured = Captured(self._static_pass, Replay)

    monkeypatch.setattr(BlockDenoiser, "__init__", replaying)
    Replay.made.clear()
    assert decoded(demo, wanted, max_batch=5, **options) == expected
    replays = sum(graph.replays for graph in Replay.made)
    assert replays > len(Replay.made) > 0


def test_rows_belong_to_unfinished_requests_although_lengths_differ_tenfold(demo: Model) -> None:
    lengths = [4 + 36 * (i * 37 % 64) // 63 for i in range(64)]
    usage = Usage()
    decoded(endless(demo), requests(demo, lengths), max_batch=16, usage=usage)
    assert usage.share > 0.85
    assert max(lengths) == 10 * min(lengths)
