"""Draws a trajectory coloured by step reward, from a folder that `unmask score RUN --process P ...` wrote, as SVG.

    python examples/draw_steps.py runs/arith-values --row 14 --out trajectory.svg

Above the response token by token, the colour of a token its reward; below one row per denoising step and one column per token:
where it was fixed, and (grey) which tokens were there already. Several folders give several pictures, one below the other.
"""

import argparse
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from unmask.harness.dataset.read import read_rows
from unmask.harness.models.checkpoint import open_checkpoint
from unmask.harness.process.placement import Decode, decoder_of, token_spans

CELL, TOP, LEFT, GAP = 18, 56, 64, 40
POSITIVE, NEGATIVE, NEUTRAL, FIXED = (26, 152, 80), (215, 48, 39), (240, 240, 240), "#d9d9d9"


def colour(value: float, largest: float) -> str:
    """White grey at 0, green above, red below; full at `largest`."""
    share = min(abs(value) / largest, 1.0) if largest else 0.0
    end = POSITIVE if value > 0 else NEGATIVE
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(NEUTRAL, end, strict=True))
    return f"rgb({red},{green},{blue})"


@dataclass(frozen=True)
class Column:
    """A token: where its column lies, what it says, its reward and the step at which it was fixed."""

    x: float
    width: float
    label: str
    reward: float
    step: int


def columns_of(row: dict[str, Any], decode: Decode) -> list[Column]:
    """The columns of a row of the table, as wide as their tokens."""
    length, text = row["length"], row["completion"][0]["content"]
    spans = token_spans(row["completion_ids"][:length], decode, text)
    columns, x = [], float(LEFT)
    for (start, end), reward, step in zip(spans, row["token_rewards"], row["step_map"], strict=False):
        label = text[start:end].replace("\n", "↵") or "■"
        width = max(CELL, 7 * len(label) + 6)
        columns.append(Column(x, width, label, reward, step))
        x += width
    return columns


def picture(row: dict[str, Any], decode: Decode, top: int) -> tuple[list[str], int, int]:
    """The lines of SVG of one row of the table from `top` on, its width and its height."""
    columns = columns_of(row, decode)
    largest = max((abs(column.reward) for column in columns), default=0.0)
    count = max(column.step for column in columns) + 1
    lines = [*_title(row, largest, top), *_tokens(columns, largest, top + TOP)]
    for step in range(count):
        lines += _step(columns, step, largest, top + TOP + 2 * CELL + step * CELL)
    return lines, round(columns[-1].x + columns[-1].width) + 24, TOP + (count + 3) * CELL


def _title(row: dict[str, Any], largest: float, top: int) -> Iterator[str]:
    total = sum(row["token_rewards"])
    said = f"{row['problem_id']}: {row['status']}, rewards of the tokens add up to {total:.2f}, the largest is {largest:.2f}"
    question = row["prompt"][-1]["content"].partition("\n")[0]
    yield f'<text x="8" y="{top + 18}" font-weight="bold">{html.escape(said)}</text>'
    yield f'<text x="8" y="{top + 38}" fill="#555">{html.escape(question[:130])}</text>'


def _tokens(columns: Sequence[Column], largest: float, y: int) -> Iterator[str]:
    for one in columns:
        place = f'x="{one.x:g}" y="{y}" width="{one.width - 1:g}" height="{CELL + 6}"'
        yield f'<rect {place} fill="{colour(one.reward, largest)}"/>'
        yield f'<text x="{one.x + one.width / 2:g}" y="{y + 16}" text-anchor="middle">{html.escape(one.label)}</text>'


def _step(columns: Sequence[Column], step: int, largest: float, y: int) -> Iterator[str]:
    """One denoising step: the tokens that were there, in grey, and those that it fixed."""
    yield f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end" fill="#555">step {step}</text>'
    for there, run in groupby(columns, key=lambda column: column.step < step):
        if there:
            stretch = list(run)
            width = stretch[-1].x + stretch[-1].width - stretch[0].x - 1
            yield f'<rect x="{stretch[0].x:g}" y="{y}" width="{width:g}" height="{CELL - 1}" fill="{FIXED}"/>'
    for one in columns:
        if one.step == step:
            place = f'x="{one.x:g}" y="{y}" width="{one.width - 1:g}" height="{CELL - 1}"'
            yield f'<rect {place} fill="{colour(one.reward, largest)}" stroke="#555" stroke-width="0.7"/>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders of `unmask score --process`")
    parser.add_argument("--row", type=int, default=0, help="which row of their tables (default 0)")
    parser.add_argument("--model", default="demo", help="the run's model, for its tokenizer")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    lines: list[str] = []
    decode = decoder_of(open_checkpoint(args.model).tokenizer)
    width, top = 900, 0
    for folder in args.folders:
        (row,) = islice(read_rows(folder), args.row, args.row + 1)
        lines.append(f'<text x="8" y="{top + 14}" fill="#000" font-style="italic">{html.escape(folder.name)}</text>')
        found, wide, high = picture(row, decode, top + 14)
        lines += found
        width, top = max(width, wide), top + high + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" font-family="sans-serif" font-size="12">'
    args.out.write_text("\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *lines, "</svg>\n"]), "utf-8")


if __name__ == "__main__":
    main()
