"""What a report is made from: token pieces, groups, bins, failed tests, and how large a page becomes."""

import base64
import gzip
import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from unmask.harness.cli import main
from unmask.harness.grouping import group_problems
from unmask.harness.models.checkpoint import EMBEDDED
from unmask.harness.report.charts import bins
from unmask.harness.report.evidence import difference, failed_test
from unmask.harness.report.pieces import Pieces, find_pieces
from unmask.harness.report.training import read_curves

from .made_runs import BROKEN, MODEL, RIGHT, WRONG, Made, make_run, problem, tokenizer, unfinish

PIECES = Pieces(EMBEDDED["demo"])


def page_data(page: Path) -> dict[str, Any]:
    (packed,) = re.findall(r'id="data">([^<]*)<', page.read_text())
    data: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return data


@given(st.text(max_size=60))
def test_pieces_of_a_text_add_up_to_it(text: str) -> None:
    ids = tokenizer().encode(text, add_special_tokens=False).ids
    assert len(PIECES.split(ids)) == len(ids)
    assert "".join(PIECES.split(ids)) == text


@settings(max_examples=300)
@given(st.lists(st.integers(4, 447), max_size=40))
def test_pieces_of_any_tokens_add_up_to_what_the_tokenizer_decodes(ids: list[int]) -> None:
    assert "".join(PIECES.split(ids)) == tokenizer().decode(ids)


def test_a_character_of_many_tokens_belongs_to_the_last() -> None:
    ids = tokenizer().encode("漢", add_special_tokens=False).ids
    assert len(ids) == 3
    assert PIECES.split(ids) == ["", "", "漢"]
    assert PIECES.split([ids[0], 2, *ids[1:]]) == ["", "<|im_end|>", "", "漢"]
    assert PIECES.split(ids[:1]) == ["\ufffd"]


def test_pieces_of_a_tokenizer_that_is_not_byte_level_add_up_too(tmp_path: Path) -> None:
    words = {"▁six": 0, "▁times": 1, "▁": 2, "s": 3, "<unk>": 4}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.decoder = decoders.Metaspace()
    made.add_special_tokens(["<end>"])
    made.save(str(tmp_path / "tokenizer.json"))
    pieces = Pieces(tmp_path)
    assert pieces.split([0, 1, 3, 5]) == ["six", " times", "s", "<end>"]
    assert made.decode([0, 1, 3, 5]) == "six timess"


def test_a_tokenizer_that_is_nowhere_is_none(tmp_path: Path) -> None:
    assert find_pieces(replace(MODEL, id=str(tmp_path))) is None
    assert find_pieces(replace(MODEL, id="nobody/nothing")) is None
    assert find_pieces(replace(MODEL, id="no/such/thing at all")) is None
    (tmp_path / "tokenizer.json").write_text("{}")
    assert find_pieces(replace(MODEL, id=str(tmp_path))) is None


def test_groups_are_found_in_the_metadata() -> None:
    dates = [f"2024-{1 + i % 3:02}-{1 + i % 28:02}" for i in range(30)]
    problems = [problem(i, subject="ab"[i % 2], date=date, url=f"u{i}", same=1) for i, date in enumerate(dates)]
    grouped = group_problems(problems)
    assert set(grouped) == {"level", "subject", "date"}
    assert set(grouped["date"].values()) == {"2024-01", "2024-02", "2024-03"}
    many = [problem(i, date=f"{2000 + i // 12 % 9}-{1 + i % 12:02}-01") for i in range(216)]
    assert set(group_problems(many)["date"].values()) == {str(2000 + i) for i in range(9)}


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.booleans())
def test_bins_hold_all_values(one: float, other: float, whole: bool) -> None:
    low, high = sorted(map(float, map(int, (one, other)))) if whole else sorted((one, other))
    start, width, count = bins(low, high, whole=whole)
    assert start <= low + 1e-6
    assert start + width * count >= high
    assert 1 <= count <= 34
    assert not whole or width == int(width)


@pytest.mark.parametrize(
    ("detail", "number", "parts"),
    [
        ("test 3 of 10: wrong: line 2: expected 'a, got b', got 'c'", 3, ("'a, got b'", "'c'")),
        ("strict rule, test 1 of 2: timeout: ran out of time", 1, None),
        ("boxed: compared as integers", None, None),
        ("", None, None),
    ],
)
def test_a_failed_test_is_read_off_the_verdict(detail: str, number: int | None, parts: tuple[str, str] | None) -> None:
    assert failed_test(detail) == number
    assert difference(detail) == parts


def test_metrics_of_any_shape_become_curves_or_nothing(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == []
    lines = [
        '{"step": 1, "kl": 0.1, "reward": 1}',
        "no json",
        "[1]",
        '{"reward": 2, "kl": "x", "ok": true}',
        '{"kl": NaN}',
        '{"st',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert read_curves(tmp_path) == [
        {"name": "reward", "x": [1, 1], "y": [1.0, 2.0]},
        {"name": "kl", "x": [1], "y": [0.1]},
    ]


@pytest.mark.slow
def test_two_thousand_samples_are_one_file_below_five_megabytes(tmp_path: Path) -> None:
    rng = random.Random(0)
    words = [f"{rng.randrange(99)}{sign}{rng.randrange(99)}={rng.randrange(200)}\n" for sign in "+-*/" for _ in range(200)]

    def made() -> Made:
        return replace(WRONG, text="".join(rng.choices(words, k=12)) + "so \\boxed{7}", detail=f"compared {rng.random()}")

    run = make_run(tmp_path / "run", [[made() for _ in range(4)] for _ in range(500)])
    assert main(["report", str(run)]) == 0
    page = run / "report.html"
    assert page.stat().st_size < 5_000_000
    assert not (run / "report-files").exists()
    assert len(page_data(page)["index"]["sample"]) == 2000


def test_a_run_that_is_not_finished_has_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = unfinish(make_run(tmp_path / "run", [[RIGHT], [WRONG], [RIGHT]]), judged=2)
    assert main(["report", str(run)]) == 0
    assert "is not finished: it has 2 judged samples so far" in capsys.readouterr().out
    (task,) = page_data(run / "report.html")["runs"][0]["tasks"]
    assert task["statuses"] == {"correct": 1, "wrong": 1}
    assert task["score"]["mean"] == 0.5


def test_a_second_report_replaces_the_files_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unmask.harness.report import chunks

    run = make_run(tmp_path / "a", [[WRONG]] * 250)
    inline = chunks.INLINE
    monkeypatch.setattr(chunks, "INLINE", 2_000)
    assert main(["report", str(run)]) == 0
    assert len(list((run / "report-files").iterdir())) == 3
    monkeypatch.setattr(chunks, "INLINE", inline)
    assert main(["report", str(run)]) == 0
    assert not (run / "report-files").exists()


def test_samples_that_only_one_run_has_are_shown_too(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [[RIGHT, WRONG], [RIGHT]])
    problems = [problem(i) for i in (1, 0, 2)]
    b = make_run(tmp_path / "b", [[WRONG], [RIGHT], [BROKEN]], problems=problems)
    assert main(["report", str(a), str(b), "--out", str(tmp_path / "both.html")]) == 0
    data = page_data(tmp_path / "both.html")
    assert data["index"]["status"] == ["cwc.", "c.we"]
    assert data["problems"] == [["toy", "toy/0"], ["toy", "toy/1"], ["toy", "toy/2"]]


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = make_run(tmp_path / "a", [[RIGHT]])
    for arguments, said in (
        ([tmp_path / "none"], "no such directory"),
        ([tmp_path], "no run directory"),
        ([a, "--out", tmp_path / "none" / "page.html"], "there is no directory"),
        ([a, a, "--allow-different", "nonsense"], "no setting has that name"),
    ):
        assert main(["report", *map(str, arguments)]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1


def test_the_page_of_a_run_can_be_written_with_it(tmp_path: Path) -> None:
    arguments = ["eval", "--model", "demo", "--task", "arith", "--device", "cpu", "--limit", "1", "--out", str(tmp_path / "run")]
    assert main([*arguments, "--report"]) == 0
    assert page_data(tmp_path / "run" / "report.html")["runs"][0]["name"] == "run"
