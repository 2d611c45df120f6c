"""Train the embedded model `demo` from scratch: tokenizer, block-diffusion training on `arith`, checkpoint.

    python examples/train_demo.py --out harness/models/demo

Everything is seeded: on the same machine and thread count the same command writes the same weights. The checkpoint has the
layout of SDAR and TraDo (Qwen3 keys, `model_type: sdar`), so that `demo` goes through the code that loads the real ones.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import Qwen3Config, Qwen3ForCausalLM
from unmask.benchmarks.arith import LEVELS, generate, solve
from unmask.benchmarks.base import BOXED_PROMPT
from unmask.harness.models.attention import clean_and_noisy

BLOCK = 4
NOISY_COPIES = 3
HORIZON = 5000
"""The learning rate falls along a cosine over this many steps. Training stops at 2,000 of them, while the model still makes
mistakes: the demo is to be improved by later training."""
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|MASK|>")
TEMPLATE = (
    "{%- for m in messages %}{{- '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    tokenizer = train_tokenizer()
    model = Qwen3ForCausalLM(config_of(tokenizer))
    train(model, tokenizer, args.steps, args.batch, args.lr, args.seed)
    save(model, tokenizer, args.out)


def train_tokenizer() -> Tokenizer:
    """A byte-level BPE with one token per digit, learnt from `arith` training texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=448, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    words = [generate("train", level, index) for index in range(2000) for level in LEVELS]
    texts = (text for word in words for text in (f"user\n{question(word.text)}", f"assistant\n{solve(word)}"))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def question(text: str) -> str:
    return BOXED_PROMPT.replace("{problem}", text)


def config_of(tokenizer: Tokenizer) -> Qwen3Config:
    end = tokenizer.token_to_id("<|endoftext|>")
    return Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False,
        bos_token_id=end,
        eos_token_id=end,
        **SHAPE,
    )


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    vocabulary = tokenizer.get_vocab()
    return {token: vocabulary[token] for token in SPECIAL}


def encode(tokenizer: Tokenizer, level: int, index: int) -> tuple[list[int], list[int]]:
    """Token ids of one training example: chat prompt and response, the response filled to a whole block."""
    word = generate("train", level, index)
    prompt = f"<|im_start|>user\n{question(word.text)}<|im_end|>\n<|im_start|>assistant\n"
    prompt_ids = tokenizer.encode(prompt).ids
    response_ids = tokenizer.encode(f"{solve(word)}<|im_end|>").ids
    fill = -(len(prompt_ids) + len(response_ids)) % BLOCK
    return prompt_ids, response_ids + [special_ids(tokenizer)["<|endoftext|>"]] * fill


def batches(tokenizer: Tokenizer, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Endless batches of (input ids, positions, copies, labels), each (size, N); labels are -100 where there is no loss."""
    rng = random.Random(seed)
    index = 0
    mask_id = special_ids(tokenizer)["<|MASK|>"]
    while True:
        rows = []
        for _ in range(size):
            index += 1
            rows.append(noisy_row(*encode(tokenizer, rng.choice(LEVELS), index), mask_id, rng))
        length = max(len(row[0]) for row in rows)
        pads = (0, 0, -1, -100)
        yield tuple(torch.tensor([row[k] + [pads[k]] * (length - len(row[k])) for row in rows]) for k in range(4))  # type: ignore[misc]


def noisy_row(prompt: list[int], response: list[int], mask_id: int, rng: random.Random) -> tuple[list[int], ...]:
    """[clean | noisy copies]: in every block of a copy a uniformly drawn number of response tokens is masked."""
    clean = prompt + response
    start = len(prompt) // BLOCK * BLOCK
    ids, positions, copies, labels = list(clean), list(range(len(clean))), [0] * len(clean), [-100] * len(clean)
    for copy in range(1, NOISY_COPIES + 1):
        for block in range(start, len(clean), BLOCK):
            free = range(max(block, len(prompt)), block + BLOCK)
            masked = set(rng.sample(free, rng.randint(1, len(free))))
            for position in range(block, block + BLOCK):
                ids.append(mask_id if position in masked else clean[position])
                labels.append(clean[position] if position in masked else -100)
                positions.append(position)
                copies.append(copy)
    return ids, positions, copies, labels


def train(model: Qwen3ForCausalLM, tokenizer: Tokenizer, steps: int, size: int, peak: float, seed: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.95), weight_decay=0.05)
    started = time.monotonic()
    for step, (ids, positions, copies, labels) in zip(range(1, steps + 1), batches(tokenizer, size, seed), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = peak * min(step / 100, 0.5 + 0.5 * math.cos(math.pi * step / (HORIZON + 1)))
        mask = clean_and_noisy(positions, copies, BLOCK).unsqueeze(1)
        hidden = model.model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).last_hidden_state
        chosen = labels != -100
        loss = functional.cross_entropy(model.lm_head(hidden[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step == steps:
            print(f"step {step}/{steps}  loss {loss.item():.4f}  {time.monotonic() - started:.0f} s", flush=True)


def save(model: Qwen3ForCausalLM, tokenizer: Tokenizer, out: Path) -> None:
    """Write the checkpoint in the SDAR layout; the card beside it is kept."""
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"))
    ids = special_ids(tokenizer)
    config = json.loads((out / "config.json").read_text())
    config |= {"architectures": ["SDARForCausalLM"], "model_type": "sdar", "block_size": BLOCK, "mask_token_id": ids["<|MASK|>"]}
    write(out / "config.json", config)
    write(
        out / "generation_config.json",
        {"eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]], "pad_token_id": ids["<|endoftext|>"]},
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "mask_token": "<|MASK|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "chat_template": TEMPLATE,
    }
    write(out / "tokenizer_config.json", settings)


def write(path: Path, data: Mapping[str, object]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
