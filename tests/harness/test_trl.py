"""TRL's GRPOTrainer with our reward and our exported problems, on a causal model of a few thousand parameters."""

import math
from importlib.util import find_spec
from pathlib import Path

import pytest
from unmask.harness.cli import main
from unmask.harness.models.checkpoint import EMBEDDED
from unmask.rewards.adapters import as_trl

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("trl") is None, reason="needs trl (extra dev)")]


def test_grpo_takes_a_step_with_our_reward_on_our_problems(tmp_path: Path) -> None:
    from datasets import load_dataset
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    made = tmp_path / "made"
    assert (
        main(["rollout", "--model", "demo", "--task", "arith@train", "--limit", "4", "--device", "cpu", "--out", str(made)]) == 0
    )
    assert main(["export", str(made), "--view", "rl", "--out", str(tmp_path / "rl")]) == 0
    problems = load_dataset(str(tmp_path / "rl"), cache_dir=str(tmp_path / "cache"), split="train")
    assert {"prompt", "solution"} <= set(problems.column_names)

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED["demo"])
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), **sizes)
    model = LlamaForCausalLM(config)
    before = model.lm_head.weight.detach().clone()
    settings = GRPOConfig(
        output_dir=str(tmp_path / "trl"),
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        max_steps=1,
        learning_rate=0.1,
        logging_steps=1,
        use_cpu=True,
        report_to="none",
    )
    graded: list[tuple[list[str], list[float | None]]] = []
    reward = as_trl("math", name="right", workers=1)

    def watched(completions: list[list[dict[str, str]]], **columns: object) -> list[float | None]:
        found = reward(completions=completions, **columns)  # type: ignore[arg-type]
        graded.append(([turn["content"] for (turn,) in completions], found))
        return [value if value is None else value + index for index, value in enumerate(found)]  # so that there is a gradient

    trainer = GRPOTrainer(model, [reward, watched], settings, train_dataset=problems, processing_class=tokenizer)
    trainer.train()
    ((texts, rewards),) = graded
    assert len(texts) == len(rewards) == 4
    logged = trainer.state.log_history[0]
    assert logged["rewards/right/mean"] == pytest.approx(sum(filter(None, rewards)) / 4)
    assert logged["right/unparsed"] + logged["right/correct"] <= 1
    assert math.isfinite(logged["loss"])
    assert not before.equal(trainer.model.lm_head.weight.cpu())
