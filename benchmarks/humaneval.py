"""HumanEval: 164 functions to complete from signature and docstring (openai/human-eval).

The tests of a task are one `check(candidate)`, run beside the candidate and not with it. An answer may be the whole function or
its body; imports and helpers of the question stand before it. Official limit: 3 seconds a task.
"""

from .coding import CodeBenchmark, as_answer
from .rows import Row
from .rowset import Item
from .sources import Hub, Source

PROMPT = "You need to complete this code:\n{problem}\n" + CodeBenchmark.prompt_template.partition("{problem}\n")[2]


def read(row: Row) -> Item:
    """Read a row of the official file or of the hub set."""
    prompt, entry = row.text("prompt"), row.text("entry_point")
    reference = {
        "style": "assert",
        "tests": ["check(candidate)"],
        "setup": row.text("test"),
        "entry": entry,
        "prefix": prompt,
        "prelude": False,
        "limits": {"cpu_seconds": 3.0},
    }
    solution = row.first("canonical_solution")
    return Item(prompt, reference, {"entry_point": entry}, None if solution is None else as_answer(prompt + str(solution)))


HUMANEVAL = CodeBenchmark(
    name="humaneval",
    description="Python functions to complete from signature and docstring",
    size=164,
    sources={
        "test": Source(
            stem="code/HumanEval",
            hub=Hub("openai/openai_humaneval", "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544", "test"),
            embedded="humaneval.jsonl.gz",
            sha256="1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
        )
    },
    read=read,
    prompt_template=PROMPT,
    max_new_tokens=1024,
    notes=("Public since 2021: in the training data of nearly every model.",),
)
