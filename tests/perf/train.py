"""What one update of TraceRL costs: the packed path beside the row-by-row way of the reference implementation.

    python tests/perf/train.py [--tokens 1024] [--prompt 128] [--responses 1] [--tokens-per-step 2.5] [--checkpointing 1]
                               [--vocabulary 151936] [--hidden 256] [--layers 16]

A random model of SDAR's shape and vocabulary with 0.1 billion weights on the CPU, blocks of 4, shrink 1, made-up responses whose
blocks took as many steps as give that many tokens per step on average (TraDo-8B on MATH500: 2.5, arXiv 2509.06949, table 4; 1 is
static decoding). Row by row: one sequence [prompt | clean | noisy] per step of the longest block, a dense additive mask, logits
at every position. Both do forward, backward and AdamW for the same loss, each in a process of its own, one after the other.
Memory is the peak of the process (VmHWM), beside that after loading the model. Where others use the machine too, seconds of the
CPU are truer than those of the wall. The gradient's norm is printed to show that both do the same work.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [place for place in sys.path if os.path.abspath(place) != HERE]  # this directory holds a module called `math`

# ruff: noqa: E402
import argparse
import json
import random
import re
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM
from unmask.harness.models.families import SDAR
from unmask.harness.records import DecodeConfig, ForwardPasses, ModelInfo, Rollout, Sample
from unmask.rewards.records import Verdict
from unmask.trainers.tracerl import TraceRL

BLOCK = 4
MASK = 0
INFO = ModelInfo("random", "", "sdar", "", "float32")


def make_network(args: argparse.Namespace) -> Any:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=args.vocabulary,
        hidden_size=args.hidden,
        intermediate_size=3 * args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64,
        num_key_value_heads=args.hidden // 128,
        head_dim=64,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )
    return Qwen3ForCausalLM(config).eval()


def made_up(args: argparse.Namespace, number: int) -> Rollout:
    """A rollout whose blocks took 1 to 4 steps, `args.tokens_per_step` tokens a step on average."""
    rng = random.Random(number)
    prompt, tokens, per_step = args.prompt, args.tokens, args.tokens_per_step
    steps: list[int] = []
    step = 0
    shares = steps_per_block(BLOCK / per_step)
    for _ in range(tokens // BLOCK):
        (count,) = rng.choices(range(1, BLOCK + 1), shares)
        ranks = [*range(count), *(rng.randrange(count) for _ in range(BLOCK - count))]
        rng.shuffle(ranks)
        steps += [step + rank for rank in ranks]
        step += count
    return Rollout(
        problem_id="p",
        sample=number,
        seed=0,
        prompt_ids=tuple(rng.randrange(1, args.vocabulary) for _ in range(prompt)),
        token_ids=tuple(rng.randrange(1, args.vocabulary) for _ in range(tokens)),
        length=tokens,
        step_map=tuple(steps),
        logprobs=(-1.0,) * tokens,
        confidences=(0.5,) * tokens,
        block_size=BLOCK,
        block_offset=prompt % BLOCK,
        forward_passes=ForwardPasses(1, step, tokens // BLOCK),
        cache="exact",
        finish="stop",
        text="",
        decode=DecodeConfig(block_size=BLOCK),
        model=INFO,
        seconds=0.0,
    )


def steps_per_block(mean: float) -> list[float]:
    """Shares of blocks that take 1 to 4 steps, each a constant multiple of the one before, with the given mean.

    `demo` decodes `arith` much like that: 64, 26, 8 and 2% of its blocks take 1 to 4 steps under dynamic decoding at 0.9.
    """
    low, high = 1e-6, 1e6
    for _ in range(100):
        factor = (low * high) ** 0.5
        shares = [factor**k for k in range(BLOCK)]
        found = sum((k + 1) * share for k, share in enumerate(shares)) / sum(shares)
        low, high = (factor, high) if found < mean else (low, factor)
    return [share / sum(shares) for share in shares]


def samples(args: argparse.Namespace) -> list[Sample]:
    rollouts = [made_up(args, i) for i in range(args.responses)]
    return [Sample("t", f"p{i}", f"p{i}", r, Verdict(reward=1.0, status="correct")) for i, r in enumerate(rollouts)]


class WithoutGroups(TraceRL):
    """Every response has advantage 1, so that all of them are trained."""

    def _lesson(self, sample: Sample, reward: float, advantage: float) -> Any:
        return super()._lesson(sample, reward, 1.0)

    def _lessons(self, given: Any, meter: Any) -> Any:
        return [self._lesson(sample, 1.0, 1.0) for sample in given]


def packed(network: Any, given: list[Sample], checkpointing: bool) -> dict[str, float]:
    checkpoint = SimpleNamespace(family=SDAR, mask_id=MASK)
    options = {"clip_norm": 1e9, "gradient_checkpointing": checkpointing}
    trainer = WithoutGroups(SimpleNamespace(network=network, checkpoint=checkpoint, info=INFO), options, 10)
    metrics = trainer.step(given)
    return {"tokens": metrics["tokens_forwarded"] + metrics["tokens_padding"], "norm": metrics["grad_norm"]}


def row_by_row(network: Any, given: list[Sample], checkpointing: bool) -> dict[str, float]:
    """One forward and backward per row; a row holds one step of every block."""
    if checkpointing:
        network.gradient_checkpointing_enable()
        network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, weight_decay=0.0)
    tokens = 0
    for sample in given:
        rollout = sample.rollout
        prompt = torch.tensor(rollout.prompt_ids)
        clean = torch.tensor(rollout.token_ids)
        steps = torch.tensor(rollout.step_map).view(-1, BLOCK)
        open_ = torch.ones_like(steps, dtype=torch.bool)
        mask = additive_mask(len(prompt), len(clean))
        positions = torch.cat([torch.arange(len(prompt) + len(clean)), torch.arange(len(prompt), len(prompt) + len(clean))])
        while bool(open_.any()):
            first = steps.masked_fill(~open_, 10**9).amin(dim=1, keepdim=True)
            target = open_ & (steps == first)
            noisy = clean.masked_fill(open_.flatten(), MASK)
            ids = torch.cat([prompt, clean, noisy]).unsqueeze(0)
            out = network(input_ids=ids, position_ids=positions.unsqueeze(0), attention_mask=mask, use_cache=False)
            logprobs = torch.log_softmax(out.logits, dim=-1)[0, -len(clean) :]
            logprob = logprobs.gather(-1, clean.unsqueeze(-1)).squeeze(-1)
            weight = (target / target.sum(dim=1, keepdim=True).clamp(min=1)).flatten() / len(given)
            ratio = torch.exp(logprob - logprob.detach())
            (-(weight * torch.minimum(ratio, ratio.clamp(0.8, 1.2))).sum()).backward()  # type: ignore[no-untyped-call]
            tokens += ids.numel()
            open_ &= ~target
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1e9)
    optimizer.step()
    return {"tokens": tokens, "norm": float(norm)}


def additive_mask(prompt: int, response: int) -> Tensor:
    """(1, 1, N, N) float mask of [prompt | clean | noisy], for prompts of whole blocks."""
    block = torch.cat([torch.arange(prompt + response), torch.arange(prompt, prompt + response)]) // BLOCK
    noisy = torch.arange(len(block)) >= prompt + response
    before, same = block[None, :] < block[:, None], block[None, :] == block[:, None]
    sees = torch.where(noisy[None, :], same & noisy[:, None], before | (same & ~noisy[:, None]))
    return torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[None, None]


def peak() -> float:
    """Peak of this process's resident memory so far, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def measure(way: str, args: argparse.Namespace) -> dict[str, float]:
    network = make_network(args)
    given, loaded = samples(args), peak()
    wall, cpu = time.perf_counter(), time.process_time()
    found = {"packed": packed, "rows": row_by_row}[way](network, given, bool(args.checkpointing))
    return {**found, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "loaded": loaded, "peak": peak()}


def in_process(way: str, args: argparse.Namespace) -> dict[str, float]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in vars(args).items() if name != "way"]
    done = subprocess.run([sys.executable, __file__, f"--way={way}", *options], capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1024, help="response tokens")
    parser.add_argument("--prompt", type=int, default=128, help="prompt tokens; a multiple of 4")
    parser.add_argument("--responses", type=int, default=1)
    parser.add_argument("--tokens-per-step", type=float, default=2.5)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=256, help="a multiple of 128")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument(
        "--checkpointing", type=int, default=0, help="1: compute activations again in the backward pass, both ways"
    )
    parser.add_argument("--way", choices=["packed", "rows"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.way, args)))
        return
    results = {way: in_process(way, args) for way in ("rows", "packed")}
    print(f"{'':8}{'tokens':>8}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}{'loaded MiB':>12}{'gradient norm':>16}")
    for way, r in results.items():
        seconds = f"{r['wall']:9.1f}{r['cpu']:9.1f}"
        print(f"{way:8}{r['tokens']:8.0f}{seconds}{r['peak']:10.0f}{r['loaded']:12.0f}{r['norm']:16.6f}")
    rows, own = results["rows"], results["packed"]
    ratio = {name: rows[name] / own[name] for name in ("tokens", "wall", "cpu", "peak")}
    print(
        f"packed: {ratio['tokens']:.2f} times fewer tokens, {ratio['wall']:.2f} times faster ({ratio['cpu']:.2f} in CPU time), "
        f"{1 / ratio['peak']:.2f} of the memory"
    )


if __name__ == "__main__":
    main()
