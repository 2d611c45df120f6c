"""Takes the pictures of docs/reports.md: two runs, their reports, and Chromium.

    unmask eval --model demo --task arith --limit 200 --samples 4 --out runs/before
    unmask eval --model CHECKPOINT --task arith --limit 200 --samples 4 --out runs/after
    python tests/report_pictures.py runs/before runs/after [TRAINING_RUN]

Writes docs/pictures/*.png. Nothing is measured here.
"""

import sys
from pathlib import Path

from unmask.harness.report.build import write_report

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "harness"))

from chromium import Browser, Tab  # type: ignore[import-not-found]  # noqa: E402

OUT = ROOT / "docs" / "pictures"
WIDE, NARROW = (1180, 760), (390, 780)


def main(before: Path, after: Path, training: Path | None) -> None:
    """Write all pictures."""
    OUT.mkdir(exist_ok=True)
    single, pair = write_report(after).path, write_report(before, after).path
    with Browser() as browser:
        tab = browser.open(single.resolve().as_uri(), width=WIDE[0], height=WIDE[1])
        save(tab, "report")
        middle(tab)
        save(tab, "player")
        tab = browser.open(single.resolve().as_uri(), width=WIDE[0], height=WIDE[1], dark=True)
        tab.js("document.querySelector('[data-status=wrong]').click()")
        middle(tab)
        tab.press("c")
        save(tab, "player-dark")
        tab = browser.open(pair.resolve().as_uri(), width=WIDE[0], height=WIDE[1])
        tab.press("c")
        tab.press("c")
        save(tab, "compare")
        choose(tab, "flipped or not", "gained")
        middle(tab)
        save(tab, "side-by-side")
        tab = browser.open(single.resolve().as_uri(), width=NARROW[0], height=NARROW[1])
        middle(tab)
        save(tab, "phone")
        if training is not None:
            page = write_report(training, out=training / "report.html").path
            save(browser.open(page.resolve().as_uri(), width=WIDE[0], height=WIDE[1]), "training")


def save(tab: Tab, name: str) -> None:
    tab.picture(OUT / f"{name}.png")
    print(f"{name}.png: {(OUT / f'{name}.png').stat().st_size / 1e3:.0f} kB")


def middle(tab: Tab) -> None:
    """Open a long response of those in the list and go to the middle of its trajectory."""
    choose(tab, "Order", "length")
    tab.js("document.querySelectorAll('#rows .row')[12].click()")
    tab.js("new Promise((done) => setTimeout(done, 300))")
    tab.press("Home")
    longest = "Math.max(...[...document.querySelectorAll('input[type=range]')].map((slider) => slider.max))"
    for _ in range(round(0.55 * tab.js(longest))):
        tab.press("ArrowRight")
    tab.js("document.querySelector(innerWidth < 860 ? '#detail' : '#samples').scrollIntoView()")


def choose(tab: Tab, label: str, value: str) -> None:
    """Pick an option of a select."""
    select = f"document.querySelector('select[aria-label=\"{label}\"]')"
    tab.js(f"{select}.value = '{value}'; {select}.dispatchEvent(new Event('change'))")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
