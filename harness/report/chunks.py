"""Samples in portions: inside the page while they fit, else in files beside it that the page loads as scripts.

A page that is opened from disk may load scripts from beside it, and nothing else; so a portion on its own is a script that hands
over a string. Memory stays bounded: a portion is compressed when it is full, and on disk once the page would become too big.
"""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

ROWS = 100
"""Samples in a portion."""

INLINE = 4_000_000
"""Bytes of portions that a page may hold; with everything else it stays below 5 MB."""


def pack(data: Any) -> str:
    """Compress JSON data to text that cannot end a script element, whatever it holds."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8", "surrogatepass"), 6, mtime=0)).decode()


class Chunks:
    """Collects rows and the prompts of their problems."""

    def __init__(self, page: Path) -> None:
        self.folder = page.with_name(f"{page.stem}-files")
        self.inline: list[str] = []
        self.count = 0
        self._spilled = False
        self._rows: list[Any] = []
        self._prompts: dict[int, Any] = {}
        self._remove_old()

    @property
    def spilled(self) -> bool:
        """Whether portions lie beside the page."""
        return self._spilled

    def add(self, row: Any, problem: int, prompt: Any) -> None:
        """Take one row; `problem` is the number of its problem."""
        self._rows.append(row)
        self._prompts[problem] = prompt
        if len(self._rows) == ROWS:
            self.flush()

    def flush(self) -> None:
        """Close the portion that is open."""
        if not self._rows:
            return
        packed = pack({"rows": self._rows, "prompts": self._prompts})
        self._rows, self._prompts = [], {}
        self.count += 1
        if self._spilled:
            self._write(self.count - 1, packed)
            return
        self.inline.append(packed)
        if sum(map(len, self.inline)) > INLINE:
            self._spill()

    def _remove_old(self) -> None:
        """Remove the portions of the report that this one replaces."""
        for old in self.folder.glob("[0-9]*.js"):
            old.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _spill(self) -> None:
        self._spilled = True
        self.folder.mkdir(exist_ok=True)
        for number, packed in enumerate(self.inline):
            self._write(number, packed)
        self.inline = []

    def _write(self, number: int, packed: str) -> None:
        (self.folder / f"{number}.js").write_text(f'unmaskChunk({number},"{packed}");\n', "ascii")
