"""Where data is looked for, in which order, and what is said when there is none."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unmask.benchmarks import Hub, Source, data_folder, sources
from unmask.benchmarks.sources import HubRows, LocalFile, locate
from unmask.rewards.errors import InputError

Write = Callable[..., Path]
HUB = Hub("someone/set", "0123456789abcdef", "test", ("one", "two"))
SOURCE = Source(stem="group/set", hub=HUB)


def test_a_given_path_wins_over_everything(tmp_path: Path, write_jsonl: Write) -> None:
    write_jsonl(data_folder() / "group/set.jsonl", {"a": 1})
    given = write_jsonl(tmp_path / "mine.jsonl", {"a": 2})
    assert locate(SOURCE, given) == LocalFile(given)


def test_a_given_folder_is_laid_out_like_the_data_folder(tmp_path: Path, write_jsonl: Write) -> None:
    file = write_jsonl(tmp_path / "mine/group/set.jsonl", {"a": 2})
    assert locate(SOURCE, tmp_path / "mine") == LocalFile(file)


def test_the_data_folder_wins_over_the_hub(write_jsonl: Write) -> None:
    file = write_jsonl(data_folder() / "group/set.jsonl", {"a": 1})
    assert locate(SOURCE) == LocalFile(file)


def test_without_a_file_the_hub_is_asked_at_the_pinned_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(path: str, config: str | None, **options: Any) -> list[dict[str, Any]]:
        asked.append((path, config, options))
        return [{"a": config}]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr(sources, "unreachable", lambda: False)
    found = locate(SOURCE)
    assert found.revision == "someone/set@0123456789abcdef"
    assert [row.values for row in found.rows()] == [{"a": "one"}, {"a": "two"}]
    pinned = {"split": "test", "revision": "0123456789abcdef"}
    assert asked == [("someone/set", "one", pinned), ("someone/set", "two", pinned)]


def test_without_a_pin_the_newest_commit_is_looked_up_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Api:
        def dataset_info(self, path: str) -> Any:
            return SimpleNamespace(sha=f"sha-of-{path}")

    asked: list[str] = []

    def load_dataset(path: str, config: str | None, split: str, revision: str) -> list[dict[str, Any]]:
        asked.append(revision)
        return [{"a": 1}]

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr(sources, "unreachable", lambda: False)
    found = locate(Source(stem="group/set", hub=Hub("someone/moving", "", "test")))
    assert [row.values for row in found.rows()] == [{"a": 1}]
    assert asked == ["sha-of-someone/moving"]
    assert found.revision == "someone/moving@sha-of-someone/moving"


def test_offline_says_at_once_what_to_download_and_where_to_put_it() -> None:
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        list(locate(SOURCE).rows())
    message = str(caught.value)
    assert "someone/set (test, revision 0123456789ab)" in message
    assert "--data PATH" in message
    assert f"{data_folder() / 'group/set'}.jsonl" in message
    assert "\n" not in message
    assert time.monotonic() - start < 5


def test_a_hub_that_answers_with_an_error_gives_the_same_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach the Hub\nand more lines")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr(sources, "unreachable", lambda: False)
    with pytest.raises(InputError, match="Couldn't reach the Hub: download someone/set") as caught:
        list(HubRows(HUB, "group/set").rows())
    assert "\n" not in str(caught.value)


def test_a_given_path_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        locate(SOURCE, tmp_path / "nowhere.jsonl")


def test_a_given_folder_without_the_set_names_the_file_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no group/set\.jsonl"):
        locate(SOURCE, tmp_path)


def test_a_damaged_snapshot_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_jsonl: Write) -> None:
    shutil.copytree(sources._EMBEDDED, tmp_path / "embedded")
    monkeypatch.setattr(sources, "_EMBEDDED", tmp_path / "embedded")
    write_jsonl(tmp_path / "embedded/x.jsonl", {"a": 1})
    with pytest.raises(InputError, match="wrong checksum"):
        locate(Source(stem="x", embedded="x.jsonl", sha256="00" * 32)).rows()
