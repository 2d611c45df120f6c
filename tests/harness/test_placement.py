"""From character spans to tokens and denoising steps: with bytes, special and stop tokens as tokenizers really have them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unmask.harness.models.checkpoint import open_checkpoint
from unmask.harness.process.placement import Place, rewards_by_step, spans_of_tokens, token_rewards, token_spans
from unmask.harness.records import DecodeConfig, ForwardPasses, ModelInfo, Rollout
from unmask.rewards import StepReward, Verdict


class Bytes:
    """A tokenizer of single bytes, except for a few longer pieces; ids from 256 on."""

    pieces = (b"ab", "é a".encode()[1:], "漢字".encode()[2:4], "🙂".encode()[:3])
    special = 999

    def encode(self, text: str) -> list[int]:
        data, ids = text.encode(), []
        while data:
            long = next((n for n, piece in enumerate(self.pieces) if data.startswith(piece)), None)
            ids.append(data[0] if long is None else 256 + long)
            data = data[1 if long is None else len(self.pieces[long]) :]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        data = b"".join(bytes([i]) if i < 256 else self.pieces[i - 256] for i in ids if i != self.special)
        return data.decode("utf-8", errors="replace")


BYTES = Bytes()


def rollout(ids: Sequence[int], steps: Sequence[int], text: str, length: int | None = None) -> Rollout:
    zeros = (0.0,) * len(ids)
    return Rollout(
        "p", 0, 0, (1, 2), tuple(ids), len(ids) if length is None else length, tuple(steps), zeros, zeros, 4, 2, ForwardPasses(),
        "exact", "stop", text, DecodeConfig(), ModelInfo("m", "", "sdar", "f", "float32"), 0.0,
    )  # fmt: skip


def verdict(reward: float, *steps: tuple[int, int, float]) -> Verdict:
    return Verdict(reward, "partial", step_rewards=tuple(StepReward(*step) for step in steps))


def test_a_character_of_several_bytes_belongs_to_each_token_that_holds_one_of_them() -> None:
    text = "aé漢🙂b"
    ids = list(text.encode())
    widths = [1, 2, 3, 4, 1]
    expected = [(i, i + 1) for i, width in enumerate(widths) for _ in range(width)]
    assert token_spans(ids, BYTES.decode, text) == expected


def test_a_token_that_ends_inside_a_character_holds_that_character_too() -> None:
    text = "é a漢字"
    ids = BYTES.encode(text)
    spans = token_spans(ids, BYTES.decode, text)
    assert [text[start:end] for start, end in spans][:2] == ["é", "é a"]
    assert all(end > start for start, end in spans)
    assert spans[-1][1] == len(text)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab é漢字🙂\n\ufffd"), max_size=24), st.sets(st.integers(0, 30), max_size=4))
def test_the_spans_cover_the_text_in_order_wherever_special_tokens_stand(text: str, places: set[int]) -> None:
    ids = BYTES.encode(text)
    for place in sorted(places):
        ids.insert(min(place, len(ids)), BYTES.special)
    text = BYTES.decode(ids)
    spans = token_spans(ids, BYTES.decode, text)
    assert len(spans) == len(ids)
    covered = {i for start, end in spans for i in range(start, end)}
    assert covered == set(range(len(text)))
    assert all(one[0] <= two[0] for one, two in pairwise(spans))


def test_invalid_bytes_are_text_as_well() -> None:
    ids = [0xFF, 0x61, 0xE6, 0xBC]
    text = BYTES.decode(ids)
    spans = token_spans(ids, BYTES.decode, text)
    assert {i for start, end in spans for i in range(start, end)} == set(range(len(text)))


def test_what_a_stop_string_cut_off_gets_nothing() -> None:
    ids = BYTES.encode("ab cd STOP")
    assert token_spans(ids, BYTES.decode, "ab cd ")[-1] == (6, 6)
    with pytest.raises(ValueError, match="not what its tokens decode to"):
        token_spans(ids, BYTES.decode, "other")


def test_all_tokens_of_a_span_share_its_reward_and_the_rest_goes_to_the_last_step() -> None:
    one = rollout(BYTES.encode("abc def"), [0, 1, 0, 2, 2, 1], "abc def")  # tokens: ab c space d e f
    rewards = token_rewards(one, verdict(1.5, (0, 3, 0.5)), BYTES.decode)
    assert rewards == [0.25, 0.25, 0.0, 0.5, 0.5, 0.0]
    assert rewards_by_step(rewards, one.step_map) == [0.25, 0.25, 1.0]


def test_the_last_fixed_tokens_of_a_span_may_take_it_all() -> None:
    one = rollout(BYTES.encode("abc def"), [0, 1, 0, 2, 2, 1], "abc def")
    assert token_rewards(one, verdict(0.5, (0, 3, 0.5)), BYTES.decode, "last_fixed") == [0.0, 0.5, 0.0, 0.0, 0.0, 0.0]
    repeated = token_rewards(one, verdict(0.5, (4, 7, 0.5)), BYTES.decode, "last_fixed", "repeat")
    assert repeated == [0.0, 0.0, 0.0, 0.5, 0.5, 0.0]


def test_tokens_behind_the_response_get_nothing_and_a_stop_token_may_be_the_last_fixed() -> None:
    ids = [*BYTES.encode("ab"), BYTES.special, 0x7A]
    one = rollout(ids, [0, 1, 5], "ab", length=2)
    assert token_rewards(one, verdict(1.0), BYTES.decode) == [0.0, 1.0, 0.0]


def test_a_span_without_tokens_is_placed_with_the_rest() -> None:
    one = rollout(BYTES.encode("abc"), [1, 0], "abc")
    assert token_rewards(one, verdict(0.5, (3, 3, 0.5)), BYTES.decode) == [0.5, 0.0]
    assert token_rewards(one, replace(verdict(0.5), step_rewards=None), BYTES.decode) == [0.5, 0.0]


def test_a_verifier_error_has_no_reward_to_place() -> None:
    with pytest.raises(ValueError, match="no reward to place"):
        token_rewards(rollout([0x61], [0], "a"), Verdict(None, "verifier_error"), BYTES.decode)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(-1, 1)), max_size=5), st.floats(-2, 2), st.randoms())
def test_the_sum_is_the_reward_whatever_the_spans(steps: list[tuple[int, int, float]], reward: float, random: Any) -> None:
    ids = [*BYTES.encode("aé漢b 🙂"), BYTES.special]
    one = rollout(ids, [random.randrange(6) for _ in ids], "aé漢b 🙂")
    places: tuple[Place, ...] = ("all", "last_fixed")
    for place in places:
        found = token_rewards(one, verdict(reward, *steps), BYTES.decode, place)
        assert sum(found) == pytest.approx(reward, abs=1e-9)


def test_scattered_tokens_become_stretches_of_text() -> None:
    spans = [(0, 2), (2, 4), (4, 4), (4, 6), (6, 8)]
    assert spans_of_tokens([0, 1, 4], spans, 3.0) == [StepReward(0, 4, 2.0), StepReward(6, 8, 1.0)]
    assert spans_of_tokens([2], spans, 1.0) == [StepReward(4, 4, 1.0)]


REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "dlm"


@pytest.mark.parametrize("name", ["demo", *sorted(path.name for path in REFERENCE.glob("*") if (path / "config.json").exists())])
def test_real_tokenizers_give_every_character_to_a_token(name: str) -> None:
    checkpoint = open_checkpoint(name if name == "demo" else str(REFERENCE / name))
    tokenizer = checkpoint.tokenizer
    text = "3+4=7, so 漢字 🙂 naïve\n\\boxed{7}" if name != "demo" else "3+4=7\nThe answer is \\boxed{7}"
    ids = [*tokenizer.encode(text, add_special_tokens=False), checkpoint.stop_ids[0]]

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    decoded = decode(ids)
    spans = token_spans(ids, decode, decoded)
    assert {i for start, end in spans for i in range(start, end)} == set(range(len(decoded)))
    assert spans[-1][0] == spans[-1][1] == len(decoded), "the stop token stands for no text"
    assert json.dumps(spans)
