"""Puts the page together: template, style, scripts and data in one file, under a policy that runs and loads nothing else."""

import base64
import hashlib
import html
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from .chunks import pack

SCRIPTS = ("base.js", "charts.js", "overview.js", "player.js", "detail.js", "browser.js", "main.js")
"""In the order in which they need each other."""


def render(title: str, data: Any, inline: Sequence[str], *, side_files: bool) -> str:
    """The page's HTML. `inline` are packed portions of samples; `side_files` says that they lie beside the page instead."""
    style = _read("report.css")
    script = '"use strict";\n(() => {\n' + "\n".join(map(_read, SCRIPTS)) + "})();\n"
    beside = " 'self' file:" if side_files else ""
    policy = (
        f"default-src 'none'; script-src {_hash(script)}{beside}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )
    blocks = [_block("data", pack(data)), *(_block(f"chunk-{number}", packed) for number, packed in enumerate(inline))]
    parts = {"title": html.escape(title), "policy": policy, "style": style, "data": "\n".join(blocks), "script": script}
    page = _read("report.html")
    for name, text in parts.items():
        page = page.replace(f"<!--{name}-->", text, 1)
    return page


def _read(name: str) -> str:
    return (files(__package__) / "page" / name).read_text("utf-8")


def _block(name: str, packed: str) -> str:
    return f'<script type="text/plain" id="{name}">{packed}</script>'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
