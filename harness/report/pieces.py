"""The text of every single token, so that a page can show them one by one.

Pieces add up to the decoded text exactly: a character whose bytes lie in several tokens belongs to the one that completes it, and
the pieces before are empty. Only the tokenizer is needed, not the weights; nothing is fetched.
"""

import codecs
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..models.checkpoint import EMBEDDED
from ..records import ModelInfo


class Pieces:
    """A tokenizer that splits. `special` holds the ids that a decoded text leaves out."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        added = {i: (token.content, token.special) for i, token in self._tokenizer.get_added_tokens_decoder().items()}
        self._added = _configured(folder / "tokenizer_config.json") | added
        self.special = frozenset(i for i, (_, special) in self._added.items() if special)
        described = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        self._bytes = self._byte_table() if _is_byte_level(described.get("decoder")) else None

    def split(self, ids: Sequence[int]) -> list[str]:
        """The piece of each token; a special token is named, which does not interrupt a character."""
        if self._bytes is None:
            return self._streamed(ids)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pieces, last = [], -1
        for place, i in enumerate(ids):
            if i in self.special:
                pieces.append(self._added[i][0])
            else:
                pieces.append(decoder.decode(self._bytes.get(i, b"")))
                last = place
        if last >= 0:
            pieces[last] += decoder.decode(b"", final=True)
        return pieces

    def name(self, i: int) -> str:
        """One token on its own, for a list of edits."""
        return self._added[i][0] if i in self._added else self.split([i])[0]

    def _streamed(self, ids: Sequence[int]) -> list[str]:
        """For tokenizers that are not byte-level."""
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        return [self._added[i][0] if i in self.special else stream.step(self._tokenizer, i) or "" for i in ids]

    def _byte_table(self) -> dict[int, bytes]:
        alphabet = _byte_alphabet()
        table = {i: bytes(alphabet[c] for c in token if c in alphabet) for token, i in self._tokenizer.get_vocab(False).items()}
        return table | {i: content.encode() for i, (content, _) in self._added.items()}


def find_pieces(model: ModelInfo) -> Pieces | None:
    """The tokenizer of the checkpoint that a run used, where it lies on this machine; else None."""
    folder = EMBEDDED.get(model.id) or _folder(model)
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    try:
        return Pieces(folder)
    except Exception as error:  # what `tokenizers` raises for a damaged file is a bare Exception
        if type(error) is not Exception and not isinstance(error, ValueError | OSError):
            raise
        return None


def _folder(model: ModelInfo) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    path = Path(model.id).expanduser()
    if path.is_dir():
        return path
    try:
        found = try_to_load_from_cache(model.id, "tokenizer.json", revision=model.revision or None)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def _configured(path: Path) -> dict[int, tuple[str, bool]]:
    """Tokens that only tokenizer_config.json knows, such as a mask token that was added later."""
    if not path.is_file():
        return {}
    entries: Mapping[str, Any] = json.loads(path.read_text("utf-8")).get("added_tokens_decoder") or {}
    return {int(i): (token["content"], bool(token.get("special"))) for i, token in entries.items()}


def _is_byte_level(decoder: Any) -> bool:
    if not isinstance(decoder, Mapping):
        return False
    return decoder.get("type") == "ByteLevel" or (
        decoder.get("type") == "Sequence" and [part.get("type") for part in decoder.get("decoders", [])] == ["ByteLevel"]
    )


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes: those that are printable stand for themselves, the rest follow from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(rest)}
