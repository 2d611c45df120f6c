"""The report in a real browser: what a person sees, presses and is spared. Skipped where there is no Chromium."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unmask.harness.cli import main
from unmask.harness.records import Event
from unmask.harness.report import chunks
from unmask.rewards.records import StepReward

from .chromium import Browser, Tab, find_chromium
from .made_runs import MODEL, RIGHT, STOP, WRONG, Made, make_run, problem, tokenizer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no chromium on this machine: the report was not opened"),
]

HOSTILE = '</script><script>window.pwned = 1</script><img src="x" onerror="window.pwned = 2"> \\boxed{42} 漢字🎉 <b>bold</b>'
REWARDED = replace(RIGHT, step_rewards=(StepReward(0, 6, 0.5), StepReward(6, 28, -1.0)))


def token(text: str) -> int:
    (only,) = tokenizer().encode(text, add_special_tokens=False).ids
    return int(only)


EDITED = replace(RIGHT, events=(Event(5, 0, token("7"), token("6"), "edit"),))
REMASKED = replace(RIGHT, events=(Event(3, 3, token("="), 3, "remask"), Event(6, 3, 3, token("="), "unmask")))
FAILED = Made("print(5)", "wrong", 0.0, "print(5)", "test 2 of 2: wrong: line 1: expected '4', got '5'")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with something of everything, and another to compare it with."""
    out = tmp_path_factory.mktemp("reports")
    problems = [problem(i) for i in range(5)]
    problems[4] = replace(problems[4], reference={"tests": [{"input": "1", "output": "1"}, {"input": "2 2\n", "output": "4"}]})
    a = [[REWARDED, WRONG], [WRONG, WRONG], [EDITED, REMASKED], [replace(WRONG, text=HOSTILE)], [FAILED]]
    b = [[RIGHT, WRONG], [RIGHT, RIGHT], [RIGHT, RIGHT], [WRONG], [RIGHT]]
    make_run(out / "a", a, problems=problems)
    make_run(out / "b", b, problems=problems, seed=1)
    assert main(["report", str(out / "a")]) == 0
    assert main(["report", str(out / "a"), str(out / "b")]) == 0
    return out


@pytest.fixture
def page(browser: Browser, folder: Path) -> Iterator[Tab]:
    yield from opened(browser, folder / "a" / "report.html")


@pytest.fixture
def pair(browser: Browser, folder: Path) -> Iterator[Tab]:
    yield from opened(browser, folder / "b" / "compare-a.html")


def opened(browser: Browser, path: Path, **options: Any) -> Iterator[Tab]:
    """Whatever a test does to the page: it never complains, and never asks for anything but itself."""
    tab = browser.open(path.as_uri(), **options)
    yield tab
    assert tab.complaints() == []
    beside = path.with_name(f"{path.stem}-files").as_uri()
    assert [url for url in tab.requests() if url != path.as_uri() and not url.startswith(beside)] == []
    tab.close()


def text(tab: Tab, selector: str) -> str:
    found: str = tab.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
    return found


def shown_rows(tab: Tab) -> list[str]:
    rows: list[str] = tab.js("[...document.querySelectorAll('#rows .row .id')].map((node) => node.textContent)")
    return rows


def choose(tab: Tab, label: str, option: str) -> None:
    select = f"document.querySelector('select[aria-label=\"{label}\"]')"
    tab.js(f"{select}.value = [...{select}.options].find((one) => one.label === '{option}').value")
    tab.js(f"{select}.dispatchEvent(new Event('change'))")


def open_sample(tab: Tab, name: str) -> None:
    tab.js(f"[...document.querySelectorAll('#rows .row')].find((n) => n.querySelector('.id').textContent === '{name}').click()")
    tab.wait(f"document.querySelector('.detail-head h3')?.textContent.replace('sample ', '') === '{full_name(name)}'")


def full_name(name: str) -> str:
    return name if " · " in name else f"{name} · 1"


def tokens(tab: Tab) -> list[str | None]:
    """What every token reads; None where it is masked."""
    cells: list[str | None] = tab.js(
        "[...document.querySelectorAll('.tok')].map((node) => node.classList.contains('masked') ? null : node.textContent)"
    )
    return cells


def test_the_page_shows_the_score_with_its_error(page: Tab) -> None:
    assert "5 problems, 8 samples" in text(page, ".lead h2")
    scores = text(page, "#scores")
    assert "30.0" in scores
    assert "± 20.0" in scores
    assert "t, clustered" in scores
    assert "By level" in text(page, "#breakdown")
    assert page.js("document.querySelector('#breakdown .tally').innerText.includes('wrong')")


def test_samples_are_filtered_by_status_group_and_text(page: Tab) -> None:
    assert len(shown_rows(page)) == 8
    page.js("document.querySelector('[data-status=wrong]').click()")
    assert shown_rows(page) == ["toy/0 · 2", "toy/1 · 1", "toy/1 · 2", "toy/3", "toy/4"]
    choose(page, "level: all", "level 2")
    assert shown_rows(page) == ["toy/1 · 1", "toy/1 · 2", "toy/3"]
    page.press("/")
    for letter in "BOLD":
        page.press(letter)
    page.wait("document.querySelectorAll('#rows .row').length === 1")
    assert shown_rows(page) == ["toy/3"]
    assert "1 (of 8) samples" in text(page, ".count")
    page.press("x")
    page.wait("document.querySelector('.empty')")
    assert "No sample passes" in text(page, "#rows")


def test_samples_that_disagree_can_be_picked_out(page: Tab) -> None:
    choose(page, "agreeing or not", "samples disagree")
    assert shown_rows(page) == ["toy/0 · 1", "toy/0 · 2"]


def test_tokens_appear_in_the_order_in_which_they_were_fixed(page: Tab) -> None:
    open_sample(page, "toy/0 · 2")
    whole = tokens(page)
    assert "".join(filter(None, whole)).startswith(WRONG.text)
    page.press("Home")
    assert set(tokens(page)) == {None}
    steps = [2 * (i // 4) + (1 if i % 4 < 2 else 0) for i in range(len(whole))]  # as `roll_out` has it
    for done in range(1, max(steps) + 2):
        page.press("ArrowRight")
        assert tokens(page) == [piece if step < done else None for piece, step in zip(whole, steps, strict=True)]
    page.press("ArrowLeft")
    assert None in tokens(page)
    assert page.js("document.querySelectorAll('.tokens .edge').length") == max(steps) // 2


def test_a_trajectory_plays_to_its_end(page: Tab) -> None:
    open_sample(page, "toy/2 · 2")
    for _ in range(3):
        page.press("ArrowLeft")
    assert None in tokens(page)
    page.press(" ")
    assert "Pause" in text(page, ".play")
    page.wait("document.querySelector('.play').innerText.includes('Play')")
    assert None not in tokens(page)


def test_the_slider_goes_to_a_step(page: Tab) -> None:
    open_sample(page, "toy/2 · 2")
    page.js("const s = document.querySelector('input[type=range]'); s.value = 2; s.dispatchEvent(new Event('input'))")
    assert sum(piece is not None for piece in tokens(page)) == 4
    assert "step 2 /" in text(page, ".readout")
    assert page.js("document.querySelector('input[type=range]').getAttribute('aria-valuetext')").startswith("step 2 of")


def test_a_click_on_the_bars_goes_to_their_step(page: Tab) -> None:
    open_sample(page, "toy/0 · 2")
    steps = page.js("Number(document.querySelector('input[type=range]').max)")
    box = "(document.querySelector('.strip').getBoundingClientRect())"
    page.js(f"document.querySelector('.strip').dispatchEvent(new MouseEvent('click', {{clientX: {box}.x + {box}.width * 0.5}}))")
    assert f"step {steps // 2 + 1} / {steps}" in text(page, ".readout")


def test_doubt_is_shaded_and_the_order_too(page: Tab) -> None:
    open_sample(page, "toy/2 · 2")
    colours = "new Set([...document.querySelectorAll('.tok')].map((node) => getComputedStyle(node).backgroundColor)).size"
    assert page.js(colours) > 4
    page.press("c")
    assert page.js("document.querySelector('.tokens').dataset.shade") == "order"
    assert "first" in text(page, ".scale")
    page.press("c")
    page.wait(f"{colours} === 1")


def test_an_edit_is_shown_when_it_happens(page: Tab) -> None:
    open_sample(page, "toy/2 · 1")
    assert "step 6 edit at token 1: 7 → 6" in text(page, ".events")
    page.js("document.querySelector('.events button').click()")
    assert tokens(page)[0] == "6"
    assert page.js("document.querySelector('.tok').classList.contains('edited')")
    page.press("ArrowLeft")
    assert tokens(page)[0] == "7"


def test_a_token_that_is_masked_again_disappears_and_comes_back(page: Tab) -> None:
    open_sample(page, "toy/2 · 2")
    readings = []
    page.press("Home")
    for _ in range(10):
        page.press("ArrowRight")
        readings.append(tokens(page)[3])
    # Fixed in step 1, masked again in step 4, fixed once more in step 7.
    assert readings == ["=", "=", "=", None, None, None, "=", "=", "=", "="]
    assert "step 7 unmask at token 4: mask → =" in text(page, ".events")


def test_step_rewards_stand_where_they_were_earned(page: Tab) -> None:
    open_sample(page, "toy/0 · 1")
    assert page.js("[...document.querySelectorAll('.gain')].map((node) => node.lastChild.textContent)") == ["+0.5", "-1"]
    marked = "[...document.querySelectorAll('.stepped-up')].map((node) => node.textContent).join('')"
    assert page.js(marked) == "6*7=42"


def test_a_verdict_shows_what_was_compared(page: Tab) -> None:
    open_sample(page, "toy/1 · 1")
    verdict = text(page, ".verdict")
    assert "41" in verdict
    assert "41 is not 42" in verdict
    assert page.js("[...document.querySelectorAll('.verdict mark')].map((node) => node.textContent)") == ["1", "2"]


def test_a_failed_test_shows_its_input_and_the_difference(page: Tab) -> None:
    open_sample(page, "toy/4")
    verdict = text(page, ".verdict")
    assert "number 2" in verdict
    assert "2 2" in verdict
    assert "expected '4'" in verdict
    assert "got '5'" in verdict


def test_hostile_output_is_text_and_nothing_else(page: Tab) -> None:
    open_sample(page, "toy/3")
    assert page.js("typeof window.pwned") == "undefined"
    assert page.js("document.querySelectorAll('img, .tokens b').length") == 0
    assert HOSTILE in page.js("document.querySelector('.tokens').textContent")
    policy = page.js("document.querySelector('meta[http-equiv]').content")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_no_injected_script_would_run(browser: Browser, folder: Path) -> None:
    tab = browser.open((folder / "a" / "report.html").as_uri())
    tab.js("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.pwned = 3'}))")
    tab.js("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.pwned = 4\">')")
    tab.wait("true")
    assert tab.js("typeof window.pwned") == "undefined"
    assert any("Content Security Policy" in line for line in tab.complaints())
    tab.close()


def test_the_keyboard_is_enough(page: Tab) -> None:
    open_sample(page, "toy/0 · 1")
    page.press("j")
    page.wait("document.querySelector('.detail-head h3').textContent.includes('sample 2')")
    page.press("k")
    page.wait("document.querySelector('.detail-head h3').textContent.includes('sample 1')")
    page.press("?")
    assert page.js("document.querySelector('#help').open")
    page.press("Escape")
    assert not page.js("document.querySelector('#help').open")
    page.js("document.querySelector('.tokens').focus()")
    page.press("ArrowRight")
    assert "token 1 · block 1 · fixed in step 2 · confidence 1.00" in text(page, ".inspect")
    reached = set()
    page.js("document.activeElement.blur(); window.scrollTo(0, 0)")
    for _ in range(60):
        page.press("Tab")
        reached.add(page.js("document.activeElement.className || document.activeElement.id || document.activeElement.tagName"))
    assert {"skip", "theme-button", "chip", "row", "play", "tokens"} <= reached


@pytest.mark.parametrize("dark", [False, True])
def test_the_theme_follows_the_system_and_can_be_chosen(browser: Browser, folder: Path, dark: bool) -> None:
    for tab in opened(browser, folder / "a" / "report.html", dark=dark):
        brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => a + Number(b), 0) / 3"
        assert (tab.js(brightness) < 60) == dark
        tab.press("t")
        assert tab.js(brightness) > 200
        tab.press("t")
        assert tab.js(brightness) < 60
        tab.press("t")
        assert tab.js("document.documentElement.dataset.theme") == "auto"


LOW_CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const over = (top, under) => top.slice(0, 3).map((x, i) => x * top[3] + under[i] * (1 - top[3]));
  const light = (rgb) => rgb.map((x) => x / 255).map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => { const layers = []; for (let at = node; at; at = at.parentElement) {
      layers.push(rgba(getComputedStyle(at).backgroundColor)); }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]); };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const style = getComputedStyle(node);
    const text = walker.currentNode.textContent.trim();
    if (!text || !node.checkVisibility() || node.closest('.sr, script, .masked, :disabled, dialog')) continue;
    const back = behind(node);
    const colour = node.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const [one, two] = [light(over(rgba(colour), back)), light(back)].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (two + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${node.getAttribute('class')}: ${text.slice(0, 30)}`);
  }
  return [...new Set(found)];
})()"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["a/report.html", "b/compare-a.html"])
def test_all_text_can_be_read_in_both_themes(browser: Browser, folder: Path, name: str, dark: bool) -> None:
    for tab in opened(browser, folder / name, dark=dark):
        open_sample(tab, "toy/2 · 1")
        tab.js("document.querySelectorAll('details').forEach((node) => (node.open = true))")
        for _ in range(2):
            tab.js("new Promise((done) => setTimeout(done, 250))")  # colours change gradually
            assert tab.js(LOW_CONTRAST) == []
            tab.press("c")


def test_everything_that_can_be_operated_has_a_name(pair: Tab) -> None:
    open_sample(pair, "toy/2 · 1")
    tree = pair.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "link", "combobox", "searchbox", "slider", "image", "heading", "region")
    named = [node for node in tree if not node.get("ignored") and node["role"]["value"] in roles]
    assert len(named) > 40
    assert [node["role"]["value"] for node in named if not node.get("name", {}).get("value")] == []


def test_two_runs_are_shown_side_by_side(pair: Tab) -> None:
    scores = text(pair, "#scores")
    assert "B − A" in scores
    assert "sign test p =" in scores
    assert "The runs differ in seed." in scores
    choose(pair, "flipped or not", "solved in B only")
    assert shown_rows(pair) == ["toy/1 · 1", "toy/1 · 2", "toy/4"]
    open_sample(pair, "toy/1 · 1")
    assert pair.js("document.querySelectorAll('.player').length") == 2
    assert "41" in text(pair, ".side.a .verdict")
    assert "42" in text(pair, ".side.b .verdict")
    pair.press("Home")
    assert set(tokens(pair)) == {None}
    pair.press("ArrowRight")
    assert text(pair, ".side.a .readout").startswith("step 1 /")
    assert text(pair, ".side.b .readout").startswith("step 1 /")


def test_a_phone_shows_the_list_and_then_the_sample(browser: Browser, folder: Path) -> None:
    for tab in opened(browser, folder / "a" / "report.html", width=390, height=844):
        assert tab.js("document.documentElement.scrollWidth") == 390
        visible = "document.querySelector('{}').checkVisibility()"
        assert not tab.js(visible.format("#detail"))
        open_sample(tab, "toy/1 · 2")
        assert tab.js(visible.format("#detail"))
        assert not tab.js(visible.format(".list"))
        assert tab.js("document.documentElement.scrollWidth") == 390
        tab.js("document.querySelector('.back').click()")
        assert tab.js(visible.format(".list"))


def test_samples_beside_the_page_are_loaded_when_they_are_looked_at(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "INLINE", 2_000)
    made = [[WRONG if i % 3 else RIGHT] for i in range(350)]
    made[290] = [replace(WRONG, text=HOSTILE)]
    run = make_run(tmp_path / "a run's", made)
    assert main(["report", str(run)]) == 0
    files = sorted(path.name for path in (run / "report-files").iterdir())
    assert files == ["0.js", "1.js", "2.js", "3.js"]
    for tab in opened(browser, run / "report.html"):
        assert "1–100 of 350" in text(tab, ".count")
        tab.js("document.querySelector('[aria-label=\"Next page of samples\"]').click()")
        open_sample(tab, "toy/150")
        assert sum("report-files" in url for url in tab.requests()) == 2
        tab.js("const s = document.querySelector('input[type=search]'); s.value = 'bold'; s.dispatchEvent(new Event('input'))")
        tab.wait("document.querySelectorAll('#rows .row').length === 1")
        assert shown_rows(tab) == ["toy/290"]
        assert tab.js("typeof window.pwned") == "undefined"


def test_a_missing_file_beside_the_page_is_named(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "INLINE", 2_000)
    run = make_run(tmp_path / "a", [[WRONG]] * 250)
    assert main(["report", str(run)]) == 0
    (run / "report-files" / "2.js").unlink()
    tab = browser.open((run / "report.html").as_uri() + "#sample-250")
    assert "report-files/2.js is missing" in text(tab, "#detail")
    tab.close()


def test_a_link_opens_its_sample(browser: Browser, folder: Path) -> None:
    tab = browser.open((folder / "a" / "report.html").as_uri() + "#sample-4")
    assert "toy/1 · sample 2" in text(tab, ".detail-head h3")
    tab.close()


def test_a_training_run_shows_its_curves(browser: Browser, tmp_path: Path) -> None:
    lines = [{"step": i, "loss": 1 / (i + 1), "reward": i / 40, "kl": None, "note": "<b>"} for i in range(40)]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"step": 40, "rew')
    assert main(["report", str(tmp_path)]) == 0
    for tab in opened(browser, tmp_path / "report.html"):
        titles = tab.js("[...document.querySelectorAll('.curves h3')].map((node) => node.firstChild.textContent)")
        assert titles == ["reward", "loss"]
        label = tab.js("document.querySelector('.curves svg').getAttribute('aria-label')")
        assert label == "reward over steps 0 to 39: from 0 to 0.975, at last 0.975"


def test_two_training_runs_share_their_charts(browser: Browser, tmp_path: Path) -> None:
    for name, slope in (("one", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        lines = [{"step": i, "reward": i * slope} for i in range(5)]
        (tmp_path / name / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert main(["report", str(tmp_path / "one"), str(tmp_path / "other")]) == 0
    for tab in opened(browser, tmp_path / "other" / "compare-one.html"):
        assert tab.js("document.querySelectorAll('.curves figure').length") == 1
        assert tab.js("document.querySelectorAll('.curves .line-a, .curves .line-b').length") == 2
        assert "4 · 8" in text(tab, ".curves h3")


def test_without_a_tokenizer_the_page_says_so_and_shows_ids(browser: Browser, tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [[RIGHT]], model=replace(MODEL, id="nowhere/to-be-found"))
    assert main(["report", str(run)]) == 0
    for tab in opened(browser, run / "report.html"):
        assert "tokenizer of nowhere/to-be-found is not on this machine" in text(tab, ".note")
        assert f"[{STOP}]" in tokens(tab)
        assert RIGHT.text in tab.js("document.querySelector('.side').textContent")
