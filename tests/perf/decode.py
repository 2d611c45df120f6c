"""The engine beside plain loops: tokens a second, forward passes for each token, memory, and whether the tokens are the same.

    python -P tests/perf/decode.py                                 # the embedded model and 0.1B random weights, on a CPU
    python -P tests/perf/decode.py --device cuda --shape 1.7b,8b   # random weights in SDAR's shapes, bf16, with the floor

The plain loops decode one request after another, with transformers' own exact cache and without any, as the
published loops of SDAR and TraceRL do. All decode greedily with the dynamic rule at threshold 0.9. Workloads: `own`, problems of
`arith` that the embedded model ends by itself (15 to 50 tokens); `mixed`, prompts that go on to a length of their own between
64 and 640 tokens. The ways take turns `--repeat` times and the median counts. The slow ways may be given the first `--plain`
requests only: tokens a second are compared. "rows in use" is the share of the rows of all passes that unfinished requests had.
On an accelerator the floor is the time in which the weights and the cache could be read once for each pass.
"""

import argparse
import dataclasses
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM
from unmask import DecodeConfig, Model, Request, load_benchmark, load_model
from unmask.harness.decoding.usage import Usage
from unmask.harness.models.checkpoint import EMBEDDED
from unmask.harness.models.memory import size_text

THRESHOLD = 0.9
SHAPES: dict[str, dict[str, Any]] = {
    "0.1b": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 4, "head_dim": 64}
    | {"intermediate_size": 2048, "vocab_size": 16384},
    "1.7b": {"hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
    | {"intermediate_size": 6144, "vocab_size": 151936},
    "8b": {"hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    | {"intermediate_size": 12288, "vocab_size": 151936},
}


@dataclass(frozen=True)
class Work:
    """Prompts and how many tokens each may have."""

    name: str
    prompts: list[tuple[int, ...]]
    longest: list[int]
    ends: bool

    def first(self, count: int) -> "Work":
        return dataclasses.replace(self, prompts=self.prompts[:count], longest=self.longest[:count])


@dataclass(frozen=True)
class Run:
    """What one way did with a workload."""

    outputs: list[list[int]]
    passes: int
    seconds: float
    usage: Usage | None = None

    @property
    def tokens(self) -> int:
        return sum(map(len, self.outputs))


@dataclass(frozen=True)
class Answer:
    """Response tokens up to the first stop token (included), and the model calls it took."""

    tokens: list[int]
    passes: int


@dataclass(frozen=True)
class Rules:
    """What both ways decode by."""

    block_size: int
    threshold: float
    mask_id: int
    stop_ids: frozenset[int]
    banned: Tensor


@torch.inference_mode()
def decode_plainly(network: Any, prompt: list[int], longest: int, rules: Rules, *, cached: bool) -> Answer:
    """Decode one prompt greedily, up to `longest` tokens."""
    size = rules.block_size
    start = len(prompt) // size * size
    end = -(-(len(prompt) + longest) // size) * size
    device = rules.banned.device
    tokens = torch.tensor(prompt, device=device)
    cache = DynamicCache() if cached else None
    passes = 0
    if cache is not None and start:
        _plain_pass(network, tokens[:start], 0, cache, size)
        passes += 1
    while start < end:
        block = torch.full((size,), rules.mask_id, device=device)
        block[: len(tokens) - start] = tokens[start:]
        while bool((block == rules.mask_id).any()):
            logits = _plain_pass(network, torch.cat([tokens[:start], block]), start, cache, size)
            if cache is not None:
                cache.crop(-size)
            passes += 1
            block = _plain_step(logits[-size:].float(), block, rules)
        if cache is not None:
            _plain_pass(network, torch.cat([tokens[:start], block]), start, cache, size)
            passes += 1
        tokens, start = torch.cat([tokens[:start], block]), start + size
        if any(token in rules.stop_ids for token in tokens[len(prompt) :].tolist()):
            break
    return Answer(_until_stop(tokens[len(prompt) :].tolist()[:longest], rules.stop_ids), passes)


def _plain_pass(network: Any, tokens: Tensor, start: int, cache: DynamicCache | None, size: int) -> Tensor:
    first = start if cache is not None else 0
    position = torch.arange(len(tokens), device=tokens.device)
    mask = (position.unsqueeze(0) // size <= position[first:].unsqueeze(1) // size)[None, None]
    # transformers renamed `past_key_values` to `cache` in 5.24.
    name = "cache" if "cache" in signature(network.model.forward).parameters else "past_key_values"
    extra = {} if cache is None else {name: cache}
    out = network(
        input_ids=tokens[None, first:],
        position_ids=position[None, first:],
        attention_mask=mask,
        use_cache=cache is not None,
        **extra,
    )
    logits: Tensor = out.logits[0]
    return logits


def _plain_step(logits: Tensor, block: Tensor, rules: Rules) -> Tensor:
    """Fix every mask whose best token is more probable than the threshold, and at least the best one."""
    token = logits.masked_fill(rules.banned, float("-inf")).argmax(dim=-1)
    confidence = logits.softmax(dim=-1).gather(-1, token.unsqueeze(-1)).squeeze(-1)
    confidence = confidence.masked_fill(block != rules.mask_id, -1.0)
    chosen = confidence > rules.threshold
    if not bool(chosen.any()):
        chosen = torch.zeros_like(chosen)
        chosen[confidence.argmax()] = True
    return torch.where(chosen, token, block)


def _until_stop(tokens: list[int], stop_ids: frozenset[int]) -> list[int]:
    end = next((i + 1 for i, token in enumerate(tokens) if token in stop_ids), len(tokens))
    return tokens[:end]


def engine(model: Model, work: Work, batch: int) -> Run:
    """All requests through the engine."""
    decode = DecodeConfig(temperature=0.0, threshold=THRESHOLD, max_new_tokens=max(work.longest))
    requests = [
        Request(str(i), 0, prompt, 0, max_new_tokens=longest)
        for i, (prompt, longest) in enumerate(zip(work.prompts, work.longest, strict=True))
    ]
    usage, start = Usage(), time.perf_counter()
    done = {int(r.problem_id): r for r in model.generate(requests, decode, max_batch=batch, usage=usage)}
    seconds = time.perf_counter() - start
    outputs = [list(done[i].token_ids[: done[i].length]) for i in range(len(requests))]
    return Run(outputs, usage.passes, seconds, usage)


def plain(model: Model, work: Work, *, cached: bool) -> Run:
    """One request after another."""
    rules = Rules(
        model.checkpoint.block_size or 4,
        THRESHOLD,
        model.checkpoint.mask_id,
        frozenset(model.checkpoint.stop_ids),
        model.banned("unused"),
    )
    start = time.perf_counter()
    answers = [
        decode_plainly(model.network, list(prompt), longest, rules, cached=cached)
        for prompt, longest in zip(work.prompts, work.longest, strict=True)
    ]
    return Run([answer.tokens for answer in answers], sum(answer.passes for answer in answers), time.perf_counter() - start)


def endless(model: Model) -> Model:
    """The same model, which no token stops."""
    return Model(dataclasses.replace(model.checkpoint, stop_ids=()), model.network, model.info)


def own(model: Model, count: int) -> Work:
    """Problems of all levels, which the model ends by itself."""
    problems = random.Random(0).sample(list(load_benchmark("arith", None).load()), count)
    return Work("own", [model.encode(problem.prompt) for problem in problems], [128] * count, ends=True)


def mixed(prompts: Sequence[tuple[int, ...]], shortest: int = 64, spread: int = 10) -> Work:
    """Lengths from `shortest` to `spread` times that, spread evenly on a logarithmic scale and shuffled."""
    steps = max(len(prompts) - 1, 1)
    lengths = [round(shortest * spread ** (i / steps)) for i in range(len(prompts))]
    random.Random(0).shuffle(lengths)
    return Work("mixed", list(prompts), lengths, ends=False)


def random_model(shape: str, device: str) -> Model:
    """Random weights in the format of SDAR, with the tokenizer of the embedded model."""
    torch.manual_seed(0)
    config = Qwen3Config(**SHAPES[shape], max_position_embeddings=8192, tie_word_embeddings=False)
    with torch.device(device):
        network = Qwen3ForCausalLM(config).to(torch.float32 if device == "cpu" else torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            shutil.copy(EMBEDDED["demo"] / name, folder)
        described = {**config.to_dict(), "model_type": "sdar", "architectures": ["SDARForCausalLM"]}
        described |= {"block_size": 4, "mask_token_id": 3, "eos_token_id": 0}
        (Path(folder) / "config.json").write_text(json.dumps(described))
        if device == "cpu":
            network.save_pretrained(folder)
            (Path(folder) / "config.json").write_text(json.dumps(described))
            return load_model(folder)
        demo = load_model("demo")
        return Model(demo.checkpoint, network.eval(), demo.info)


def measure(model: Model, work: Work, batch: int, repeat: int, plain_count: int) -> dict[str, Run]:
    """Each way in turn, `repeat` times; the median run of each."""
    few = work.first(plain_count)
    ways: dict[str, Callable[[], Run]] = {
        f"engine, batch {batch}": lambda: engine(model, work, batch),
        "engine, batch 1": lambda: engine(model, few, 1),
        "(a) plain loop, exact cache": lambda: plain(model, few, cached=True),
        "(b) plain loop, no cache": lambda: plain(model, few, cached=False),
    }
    engine(model, work.first(2), batch)
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            runs[name].append(way())
    for name, several in runs.items():
        for run in several:
            if any(
                found != expected for found, expected in zip(run.outputs, runs[f"engine, batch {batch}"][0].outputs, strict=False)
            ):
                print(f"{work.name}: {name}: other tokens than the engine", file=sys.stderr)
    return {name: sorted(several, key=lambda run: run.tokens / run.seconds)[len(several) // 2] for name, several in runs.items()}


def show(title: str, runs: dict[str, Run], floor: Callable[[Run], float] | None) -> None:
    """One table."""
    rates = {name: run.tokens / run.seconds for name, run in runs.items()}
    a, b = (next(rate for name, rate in rates.items() if name.startswith(mark)) for mark in ("(a)", "(b)"))
    table = Table(
        "way", "requests", "tokens", "tokens/s", "to (a)", "to (b)", "passes/token", "rows in use", "cache", title=title
    )
    for name, run in runs.items():
        usage = run.usage
        table.add_row(
            name,
            str(len(run.outputs)),
            f"{run.tokens:,}",
            f"{rates[name]:,.0f}" + (f" ({floor(run):.0%} of floor)" if floor and usage else ""),
            f"{rates[name] / a:.2f}",
            f"{rates[name] / b:.2f}",
            f"{run.passes / run.tokens:.3f}",
            f"{usage.share:.1%}" if usage else "",
            size_text(usage.cache_bytes) if usage else "",
        )
    Console(width=150).print(table)


def bandwidth() -> float:
    """Bytes a second that copying moves, read and write counted."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        target.copy_(source)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * source.numel() / float(statistics.median(times))


def floor_of(model: Model) -> Callable[[Run], float]:
    """The share of the bandwidth floor that a run reached: the time to read all weights and keys once a pass, over its time."""
    speed = bandwidth()
    weights = sum(p.nbytes for name, p in model.network.named_parameters() if "embed_tokens" not in name)

    def share(run: Run) -> float:
        assert run.usage is not None
        return float((run.usage.passes * weights + run.usage.bytes_read) / speed / run.seconds)

    return share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", default="demo,0.1b", help="demo, 0.1b, 1.7b, 8b, separated by commas")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--plain", type=int, default=64, help="requests given to the plain loops")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--shortest", type=int, help="least length of `mixed`; the longest is ten times that (default 64, large: 16)"
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of torch on a CPU, for all ways; measure with the machine idle")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    demo = load_model("demo")
    prompts = own(demo, args.requests).prompts
    for shape in args.shape.split(","):
        if shape == "demo":
            model = demo
            show("demo, own", measure(model, own(demo, args.requests), args.batch, args.repeat, args.plain), None)
        else:
            model = random_model(shape, args.device)
        model = endless(model)
        work = mixed(prompts, args.shortest or (64 if shape == "demo" else 16))
        floor = floor_of(model) if args.device != "cpu" else None
        show(f"{shape}, mixed lengths", measure(model, work, args.batch, args.repeat, args.plain), floor)
    many = mixed([prompts[i % len(prompts)] for i in range(256)], shortest=32)
    usage = engine(endless(demo), many, args.batch).usage
    assert usage is not None
    what = f"{usage.share:.1%} of all rows in use, in one pass at least {usage.least:.1%}"
    print(f"256 requests, lengths 32 to 320, batch {args.batch}: {what}")


if __name__ == "__main__":
    main()
