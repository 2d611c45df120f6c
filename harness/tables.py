"""Tables on the terminal: results of a run, lists of what there is."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .results import TaskResult


def print_results(results: Sequence[TaskResult]) -> None:
    """Print the score table of a run."""
    table = Table(title=f"{results[0].model.id} ({results[0].model.fingerprint}), seed {results[0].seed}", title_justify="left")
    for name in ("task", "problems x samples", "score", "95% interval", "statuses", "tokens/step", "tokens/s"):
        table.add_column(name, justify="left" if name in ("task", "statuses") else "right")
    for result in results:
        table.add_row(*_cells(result))
    console().print(table)
    for result in results:
        console().print(f"{result.task}: {describe(result)}", style="dim", highlight=False)


def describe(result: TaskResult) -> str:
    """Under which conditions a score was got, in one line."""
    decode = result.decode
    rule = f"{decode.remasking} {decode.threshold}" if decode.remasking == "dynamic" else decode.remasking
    return (
        f"decode {rule}, block {decode.block_size}, {decode.steps_per_block} steps, temperature {decode.temperature:g}, "
        f"at most {decode.max_new_tokens} tokens; data {result.data_revision[:40] or 'unversioned'}; "
        f"verifier {result.verifier.name} {result.verifier.version[:24]}"
    )


def _cells(result: TaskResult) -> tuple[str, ...]:
    score = result.score
    value = "-" if score is None else f"{100 * score.mean:.1f}"
    error = "" if score is None or score.se is None else f" ± {100 * score.se:.1f}"
    interval = (
        "-" if score is None or score.low is None or score.high is None else f"{100 * score.low:.1f} to {100 * score.high:.1f}"
    )
    statuses = ", ".join(f"{name} {count}" for name, count in result.statuses.items())
    speed = "-" if result.tokens_per_second is None else f"{result.tokens_per_second:.0f}"
    size = f"{result.problems} x {result.samples}"
    return result.task, size, f"{value}{error}", interval, statuses, f"{result.tokens_per_step:.2f}", speed


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a plain table."""
    table = Table()
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def console() -> Console:
    """A console as wide as the terminal, and 120 columns where the output is no terminal."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=120)
