"""Do the trainers learn, and which fastest? Trains `demo` on `arith` in several ways and writes docs/learning.md's figures.

    python tests/perf/learning.py [--out runs/learning] [--seeds 0,1,2] [--only tracerl,coupled] [--report]

Runs one after the other, each as `unmask train` does it: tracerl, coupled and random-mask on the same problems with the same
numbers of forwarded tokens a response (`match: compute`), three seeds each; two runs that widen blocks from 4 to 8, one with
tracerl and one with rft; and a run with the verifier of examples/working.py. What is finished is not done again, and a run that
was interrupted goes on. `--report` only reads metrics.jsonl of the runs that there are, draws docs/learning-*.svg and puts the
tables into docs/learning.md, where the text around them is written by hand. Needs matplotlib (in the extra `dev`).
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [place for place in sys.path if os.path.abspath(place) != HERE]  # this directory holds a module called `math`

# ruff: noqa: E402
import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot
from unmask.trainers.config import read_train_config
from unmask.trainers.loop import train as unmask_train
from unmask.trainers.tracking import read_metrics

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONFIG = ROOT / "examples" / "tracerl-demo.yaml"

COMMON = ("steps=16", "groups.refill=0", "evaluation.every=8", "evaluation.tasks.0.limit=300", "checkpoints.every=8", "workers=1")
WIDE = (
    "curriculum=[{rollout_block: 4, train_block: 8, steps: 8}, {rollout_block: 8, train_block: 8}]",
    "evaluation.decode={block_size: 8}",
)
METHODS: Mapping[str, tuple[str, ...]] = {
    "tracerl": (),
    "coupled": ("trainer.name=coupled", "trainer.match=compute"),
    "random-mask": ("trainer.name=random-mask", "trainer.match=compute"),
}
OTHERS: Mapping[str, tuple[str, ...]] = {
    "blocks-4-to-8": WIDE,
    "blocks-4-to-8-rft": (*WIDE, "trainer={name: rft, lr: 1.0e-3, schedule: cosine, draws: 4}", "groups.drop_equal=false"),
    "own-verifier": (f"tasks.0.verifier={ROOT / 'examples' / 'working.py'}:reward",),
}
COLOURS = {"tracerl": "#0072b2", "coupled": "#d55e00", "random-mask": "#7f7f7f"}


class Run(NamedTuple):
    """A run to have: which method, which seed, and its settings."""

    name: str
    seed: int
    settings: tuple[str, ...]

    def folder(self, out: Path) -> Path:
        return out / f"{self.name}-{self.seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/learning"))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default=",".join([*METHODS, *OTHERS]))
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    if not args.report:
        for run in runs([int(seed) for seed in args.seeds.split(",")], args.only.split(",")):
            train(run, args.out)
    report(args.out)


def runs(seeds: Sequence[int], names: Sequence[str]) -> list[Run]:
    """All runs, seed by seed, so that what there is after a while can be compared."""
    compared = [Run(name, seed, settings) for seed in seeds for name, settings in METHODS.items() if name in names]
    return compared[: len(METHODS)] + [Run(name, 0, s) for name, s in OTHERS.items() if name in names] + compared[len(METHODS) :]


def train(run: Run, out: Path) -> None:
    print(f"== {run.name}, seed {run.seed}", flush=True)
    unmask_train(read_train_config(CONFIG, [*COMMON, *run.settings, f"seed={run.seed}"], run.folder(out)))


def lines(folder: Path) -> list[dict[str, Any]]:
    """A run's metrics; empty where there is none yet."""
    file = folder / "metrics.jsonl"
    return read_metrics(file) if file.exists() else []


def report(out: Path) -> None:
    """Draw the curves and put the tables into docs/learning.md."""
    compared = {name: [found for folder in sorted(out.glob(f"{name}-[0-9]")) if (found := lines(folder))] for name in METHODS}
    draw(compared)
    fill("compared", table({name: found for name, found in compared.items() if found}))
    fill("others", table({name: [found] for name in OTHERS if (found := lines(out / f"{name}-0"))}))


def draw(compared: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> None:
    """Reward of rollouts and held-out accuracy against forwarded tokens: a thin line per seed, a thick one for the mean."""
    pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "unmask", "font.size": 9, "axes.spines.top": False})
    for key, label in (("reward", "reward of rollouts"), ("eval_score", "held-out accuracy")):
        figure, axes = pyplot.subplots(figsize=(6, 3.4))
        for name, seeds in compared.items():
            series = [[(line.get("forwarded_total", 0.0), line[key]) for line in seed if key in line] for seed in seeds]
            series = [smoothed(one) if key == "reward" else one for one in series]
            for one in series:
                axes.plot(*zip(*one, strict=True), color=COLOURS[name], alpha=0.25, linewidth=0.8)
            if series:
                axes.plot(*zip(*mean_of(series), strict=True), color=COLOURS[name], linewidth=2, label=name)
        axes.set(xlabel="tokens forwarded by the trainer", ylabel=label)
        axes.legend(frameon=False, loc="lower right")
        figure.tight_layout()
        figure.savefig(DOCS / f"learning-{key.removeprefix('eval_')}.svg", metadata={"Date": None})
        pyplot.close(figure)


def smoothed(series: Sequence[tuple[float, float]], width: int = 4) -> list[tuple[float, float]]:
    """The mean of the last few values at each place: the reward of one batch is noisy."""
    values = [value for _, value in series]
    return [(x, fmean(values[max(0, i - width + 1) : i + 1])) for i, (x, _) in enumerate(series)]


def mean_of(series: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The mean over seeds at each step that all of them have."""
    return [(fmean(x for x, _ in points), fmean(y for _, y in points)) for points in zip(*series, strict=False)]


COLUMNS = (
    *("run", "seeds", "held-out accuracy before", "after, mean of seeds (each)", "gain in points"),
    *("tokens per denoising pass before", "after", "tokens forwarded", "tokens trained"),
)


def table(found: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> str:
    head = [COLUMNS, ["---"] * len(COLUMNS)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [*head, *(row(name, seeds) for name, seeds in found.items())])


def row(name: str, seeds: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    scored = [[line for line in seed if "eval_score" in line] for seed in seeds]
    before = fmean(seed[0]["eval_score"] for seed in scored)
    after = [seed[-1]["eval_score"] for seed in scored]
    spread = f" +- {100 * stdev(after):.1f}" if len(after) > 1 else ""
    each = ", ".join(f"{100 * score:.1f}" for score in after)
    speed = [fmean(seed[i]["eval_tokens_per_step"] for seed in scored) for i in (0, -1)]
    forwarded = fmean(seed[-1].get("forwarded_total", 0.0) for seed in seeds)
    trained = fmean(sum(line.get("tokens_trained", 0.0) for line in seed) for seed in seeds)
    return [
        name,
        str(len(seeds)),
        f"{100 * before:.1f}",
        f"{100 * fmean(after):.1f}{spread} ({each})",
        f"{100 * (fmean(after) - before):+.1f}",
        *(f"{value:.2f}" for value in speed),
        *(f"{count / 1e3:.0f}k" for count in (forwarded, trained)),
    ]


def fill(name: str, text: str) -> None:
    """Replace what stands between the marks of `name` in docs/learning.md."""
    file = DOCS / "learning.md"
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    whole = file.read_text("utf-8")
    if not pattern.search(whole):
        raise SystemExit(f"{file}: no <!-- {name} --> ... <!-- end -->")
    file.write_text(pattern.sub(lambda found: found[1] + text + found[2], whole), "utf-8")


if __name__ == "__main__":
    main()
