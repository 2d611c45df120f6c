"""What `unmask doctor` says about the sandbox: every backend tried on this machine, as plain data."""

from typing import Any

from .choose import NAMES, STRENGTH, prove


def report(image: str | None = None) -> list[dict[str, Any]]:
    """Try each backend. Takes a few seconds.

    Returns rows `{"backend", "works", "chosen", "why", "probes"}`, strongest first: `probes` is a list of
    `{"name", "held", "seen"}`, empty when the backend could not be started, and `why` then says what is missing. `chosen` is
    True for the one that "auto" takes.
    """
    rows = [_row(name, image) for name in NAMES]
    for row in rows:
        if row["works"] and row["backend"] in STRENGTH:
            row["chosen"] = True
            break
    return rows


def _row(name: str, image: str | None) -> dict[str, Any]:
    probes, problem = prove(name, image)
    failed = [probe.name for probe in probes if not probe.held]
    isolates = name in STRENGTH
    if problem:
        why = problem
    elif not isolates:
        why = "limits only, no isolation; taken only when asked for by name. Does not stop: " + ", ".join(failed)
    else:
        why = "does not hold: " + ", ".join(failed) if failed else "all probes held"
    works = bool(probes) and (not failed or (not isolates and "runs a program" not in failed))
    rows = [{"name": probe.name, "held": probe.held, "seen": probe.seen} for probe in probes]
    return {"backend": name, "works": works, "chosen": False, "why": why, "probes": rows}
