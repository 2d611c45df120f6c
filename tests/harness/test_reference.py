"""Decoding equals the recordings of the original implementations: tokens, step maps or events, states and pass counts.

The logits are `test_reference_models`' business.
Reads every folder of the shared recordings, or the small set that is shipped where they are not; `--reference DIR` reads that
folder, or the folders in it, instead. `-k table -s` prints what was compared.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from unmask.harness.records import Rollout
from unmask.harness.replay import replay_states
from unmask.harness.tables import print_rows

from .recordings import Case, cases, folders, model_of, run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    found = [folder for folder in folders(metafunc.config.getoption("--reference")) if model_type(folder) != "diffusion_gemma"]
    if "case" in metafunc.fixturenames:
        every = [case for folder in found for case in cases(folder)]
        metafunc.parametrize("case", every, ids=[f"{case.folder.name}-{case.name}" for case in every])


def model_type(folder: Path) -> str:
    import json

    return str(json.loads((folder / "config.json").read_text("utf-8"))["model_type"])


@cache
def decoded(case_id: tuple[Path, str]) -> Rollout:
    return run(next(case for case in cases(case_id[0]) if case.name == case_id[1]))


def rollout_of(case: Case) -> Rollout:
    return decoded((case.folder, case.name))


def differences(case: Case, rollout: Rollout) -> list[str]:
    """What of a rollout is not as recorded; what lies behind an early stop was not recorded either."""
    expected, n = case.expected, len(rollout.token_ids)
    steps, passes = expected["step_map"], rollout.forward_passes
    stored, events = expected["stored"], expected["events"]
    checks = {
        "tokens": list(rollout.token_ids)[: len(expected["tokens"])] == expected["tokens"][:n],
        "step map": steps is None or list(rollout.step_map)[: len(steps)] == steps[:n],
        "denoising passes": expected["denoise"] in (None, passes.denoise),
        "storing passes": stored in (None, passes.prefill + passes.cache),
        "events": events is None or events_of(rollout, len(expected["tokens"])) == sorted(events),
    }
    return [name for name, equal in checks.items() if not equal]


def events_of(rollout: Rollout, recorded: int) -> list[list[Any]]:
    """The rollout's events in the form of the recordings.

    They list first fixings as well, and of the very last pass only what it did to the `recorded` tokens that were returned.
    """
    first: dict[int, int] = {event.position: event.old for event in reversed(rollout.events)}
    mask, last = model_mask(rollout), rollout.forward_passes.denoise - 1
    fixed: list[list[Any]] = [
        [step, i, mask, first.get(i, token), "unmask"]
        for i, (step, token) in enumerate(zip(rollout.step_map, rollout.token_ids, strict=True))
        if step >= 0
    ]
    later: list[list[Any]] = [[e.step, e.position, e.old, e.new, e.kind] for e in rollout.events]
    return sorted(event for event in fixed + later if event[0] != last or event[1] < recorded)


def model_mask(rollout: Rollout) -> int:
    return model_of(Path(rollout.model.id)).checkpoint.mask_id


def test_the_decoder_gives_what_the_original_gave(case: Case) -> None:
    assert differences(case, rollout_of(case)) == []


def test_the_record_gives_the_states_that_the_original_saw(case: Case) -> None:
    rollout, mask = rollout_of(case), model_of(case.folder).checkpoint.mask_id
    trace, history = case.expected["trace"], case.expected["history"]
    states = list(replay_states(rollout, mask))
    if case.decode.overshoot == "overwrite" and any(event.position < 0 for event in rollout.events):
        pytest.skip("the case overwrites its prompt")
    assert len(states) == rollout.forward_passes.denoise
    if trace is not None:
        recorded = [entry.get("input", entry.get("block")) for entry in trace if not entry.get("store_kv")]
        assert [list(state.tokens[state.start : state.end]) for state in states] == recorded[: len(states)]
    if history is not None:
        shown = [list(state.tokens[len(rollout.prompt_ids) :]) for state in states]
        after = [*shown[1:], list(rollout.token_ids)]
        assert after == history[: len(after)]


def test_the_table_of_all_cases(request: pytest.FixtureRequest) -> None:
    rows = []
    for folder in folders(request.config.getoption("--reference")):
        if model_type(folder) == "diffusion_gemma":
            continue
        for case in cases(folder):
            found = differences(case, rollout_of(case))
            rows.append((folder.name, case.decoder, case.name, "equal" if not found else f"differs: {', '.join(found)}"))
    print_rows(("recorded", "decoder", "case", "result"), rows)
    assert rows
    assert {row[-1] for row in rows} == {"equal"}
