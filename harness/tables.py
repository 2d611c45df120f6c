"""Tables on the terminal: results of a run, lists of what there is."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .judge import ScoreResult
from .results import TaskResult
from .statistics import Estimate


def print_results(results: Sequence[TaskResult]) -> None:
    """Print the score table of a run."""
    table = Table(title=f"{results[0].model.id} ({results[0].model.fingerprint}), seed {results[0].seed}", title_justify="left")
    for name in ("task", "problems x samples", "score", "95% interval", "statuses", "tokens/step", "tokens/s"):
        table.add_column(name, justify="left" if name in ("task", "statuses") else "right")
    for result in results:
        table.add_row(*_cells(result))
    console().print(table)
    print_parts(results)
    for result in results:
        if result.samples > 1:
            console().print(f"{result.task}: {at_k(result)}", highlight=False)
        console().print(f"{result.task}: {describe(result)}", style="dim", highlight=False)


def print_parts(results: Sequence[TaskResult | ScoreResult]) -> None:
    """Print the scores of parts and the further metrics, if there are any."""
    rows = [
        (result.task or "", part, f"{100 * value:.1f}")
        for result in results
        for part, value in (*result.breakdown.items(), *result.metrics.items())
    ]
    if not rows:
        return
    table = Table(title="parts", title_justify="left")
    for name in ("task", "part", "score"):
        table.add_column(name, justify="right" if name == "score" else "left")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def at_k(result: TaskResult) -> str:
    """avg@k, pass@k and maj@k, in percent."""
    average = {} if result.score is None else {str(result.samples): result.score.mean}
    named = (("avg", average), ("pass", result.pass_at_k), ("maj", result.maj_at_k))
    return ", ".join(f"{name}@{k} {100 * value:.1f}" for name, values in named for k, value in values.items())


def describe(result: TaskResult) -> str:
    """Under which conditions a score was got, in one line."""
    decode = result.decode
    rule: str = decode.remasking if decode.algorithm == "block" else decode.algorithm
    rule = f"{rule} {decode.threshold}" if rule in ("dynamic", "threshold") else rule
    steps = "" if decode.steps_per_block is None else f", {decode.steps_per_block} steps"
    known = f"{rule}, block {decode.block_size}{steps}"
    return (
        f"metric {result.metric}; decode {known if result.model.family != 'remote' else 'the endpoint decides'}, "
        f"temperature {decode.temperature:g}, "
        f"at most {decode.max_new_tokens} tokens; data {result.data_revision[:40] or 'unversioned'}; "
        f"verifier {result.verifier.name} {result.verifier.version[:60]}"
    )


def _cells(result: TaskResult) -> tuple[str, ...]:
    statuses = ", ".join(f"{name} {count}" for name, count in result.statuses.items())
    speed = "-" if result.tokens_per_second is None else f"{result.tokens_per_second:.0f}"
    size = f"{result.problems} x {result.samples}"
    return (
        result.task,
        size,
        *score_cells(result.score),
        statuses,
        f"{result.tokens_per_step:.2f}" if result.tokens_per_step else "-",
        speed,
    )


def score_cells(score: Estimate | None) -> tuple[str, str]:
    """A score with its standard error and its interval, in percent."""
    if score is None:
        return "-", "-"
    error = "" if score.se is None else f" ± {100 * score.se:.1f}"
    interval = "-" if score.low is None or score.high is None else f"{100 * score.low:.1f} to {100 * score.high:.1f}"
    return f"{100 * score.mean:.1f}{error}", interval


def print_score(result: ScoreResult) -> None:
    """Print what a scoring found."""
    table = Table(title=result.source, title_justify="left")
    for name in ("judged by", "problems", "completions", "score", "95% interval", "statuses"):
        table.add_column(name)
    statuses = ", ".join(f"{name} {count}" for name, count in result.statuses.items())
    judge = f"{result.task}: {result.verifier.name}" if result.task else result.verifier.name
    table.add_row(judge, f"{result.problems:,}", f"{result.completions:,}", *score_cells(result.score), statuses)
    console().print(table)
    print_parts([result])


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
