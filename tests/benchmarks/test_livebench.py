"""LiveBench: what a release holds, how scores add up, and what each scorer accepts under either rule."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unmask.benchmarks import breakdown, load_benchmark, verifier_of
from unmask.benchmarks.base import gold_text
from unmask.benchmarks.livebench import coding
from unmask.benchmarks.livebench.instructions import CHECKS, count_sentences
from unmask.benchmarks.livebench.tables import TableError, read_table, same_table
from unmask.benchmarks.livebench.task import CATEGORY, LIVEBENCH
from unmask.benchmarks.livebench.text import between
from unmask.benchmarks.livebench.verifier import SCORERS, LiveBenchVerifier
from unmask.rewards.errors import InputError
from unmask.rewards.records import Completion, Message, Problem

Write = Callable[..., Path]
HERE = ["math", "reasoning", "data_analysis", "instruction_following"]


def question(task: str, gold: str, text: str = "?", subtask: str = "", release: str = "2024-11-25", **more: Any) -> Problem:
    reference = {"task": task, "ground_truth": gold, "subtask": subtask, "release": release, "instructions": [], **more}
    return Problem(id="q", task="livebench", prompt=(Message("user", text),), reference=reference)


def score(problem: Problem, answer: str, rule: Any = "default") -> float | None:
    return LiveBenchVerifier(rule)(problem, Completion(answer)).reward


@pytest.mark.parametrize(
    ("release", "sizes"),
    [
        ("2024-06-24", {"AMPS_Hard": 100, "math_comp": 96, "olympiad": 36, "spatial": 0, "zebra_puzzle": 50}),
        ("2024-11-25", {"AMPS_Hard": 100, "math_comp": 96, "olympiad": 36, "spatial": 50, "zebra_puzzle": 50}),
    ],
)
def test_a_release_holds_what_was_released_and_not_removed(release: str, sizes: dict[str, int], shared: Path) -> None:
    problems = load_benchmark(f"livebench@{release}", shared, only=HERE).load()
    found = [problem.metadata["task"] for problem in problems]
    assert {task: found.count(task) for task in sizes} == sizes
    assert len(problems) == (682 if release == "2024-06-24" else 732)


def test_refreshed_tasks_hold_other_questions_in_a_later_release(shared: Path) -> None:
    old, new = (load_benchmark(f"livebench@{day}", shared, only=["zebra_puzzle"]).load() for day in ("2024-08-31", "2024-11-25"))
    assert not {problem.id for problem in old} & {problem.id for problem in new}


def test_data_that_is_not_here_is_named(shared: Path) -> None:
    with pytest.raises(InputError, match="connections"):
        load_benchmark("livebench", shared).load()
    with pytest.raises(InputError, match=r"download livebench/language .*--data PATH"):
        load_benchmark("livebench", only=["typos"]).load()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"release": "2025-04-25"}, "no public release"),
        ({"only": ["maths"]}, "did you mean 'math'"),
        ({"rule": "strict"}, "neither default nor official"),
    ],
)
def test_releases_tasks_and_rules_that_do_not_exist_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        verifier_of(load_benchmark("livebench", **options))


def test_every_public_task_has_a_scorer() -> None:
    assert {*SCORERS, *coding.TASKS} == set(CATEGORY)
    assert len(CATEGORY) == 18


CODING = {
    "question_id": "q1",
    "task": "LCB_generation",
    "turns": ["Add two numbers."],
    "livebench_release_date": "2024-06-24",
    "livebench_removal_date": "",
    "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]),
    "private_test_cases": json.dumps([{"input": "5 6\n", "output": "11\n", "testtype": "stdin"}]),
    "original_json": {"metadata": "{}", "starter_code": ""},
}
BEGUN = "a, b = map(int, input().split())"


def coding_problem(task: str, folder: Path, write_jsonl: Write, **changes: Any) -> Problem:
    write_jsonl(folder / f"livebench/coding__{task}.jsonl", {**CODING, "task": task, **changes})
    (problem,) = load_benchmark("livebench", folder, only=[task]).load()
    return problem


def test_a_coding_task_runs_the_program(tmp_path: Path, write_jsonl: Write, sandboxed: None) -> None:
    problem = coding_problem("LCB_generation", tmp_path, write_jsonl)
    assert "3" not in json.dumps({key: value for key, value in problem.reference.items() if key != "tests_file"})
    assert score(problem, f"```python\n{BEGUN}\nprint(a + b)\n```") == 1.0
    assert score(problem, f"```python\n{BEGUN}\nprint(3)\n```") == 0.0
    assert score(problem, "a + b") == 0.0


def test_a_completion_is_put_after_its_beginning(tmp_path: Path, write_jsonl: Write, sandboxed: None) -> None:
    problem = coding_problem("coding_completion", tmp_path, write_jsonl, partial_solution=BEGUN)
    assert score(problem, "```python\nprint(a + b)\n```") == 1.0
    assert score(problem, f"```python\n{BEGUN}\nprint(a + b)\n```") == 1.0


def test_a_coding_row_that_is_malformed_names_the_field(tmp_path: Path, write_jsonl: Write) -> None:
    with pytest.raises(InputError, match="line 1: field 'original_json': expected an object"):
        coding_problem("LCB_generation", tmp_path, write_jsonl, original_json=None)


@pytest.mark.parametrize("release", ["2024-06-24", "2024-11-25"])
@pytest.mark.parametrize("rule", ["default", "official"])
def test_every_gold_answer_passes_and_silence_fails(rule: str, release: str, shared: Path) -> None:
    task = load_benchmark(f"livebench@{release}", shared, only=HERE[:3], rule=rule)
    verify = verifier_of(task)
    for problem in task.load():
        old = problem.metadata["task"] == "zebra_puzzle" and release < "2024-11-25"
        if rule == "official" and old and not re.fullmatch(r"\w+", problem.reference["ground_truth"]):
            continue  # upstream's fault: it reads one word only
        assert verify(problem, Completion(gold_text(task, problem) or "")).reward == 1.0, problem.id
        silence = verify(problem, Completion(""))
        assert silence.reward == 0.0
        assert silence.status in ("unparsed", "wrong")


@pytest.mark.parametrize(
    "text", ["<solution>" * 20_000, "**" * 50_001, "```python" * 20_000, r"\boxed{" * 20_000, "a, " * 50_000]
)
@pytest.mark.parametrize("task", ["zebra_puzzle", "web_of_lies_v2", "connections", "tablejoin", "math_comp", "cta", "spatial"])
def test_long_answers_of_nothing_but_marks_are_read_in_linear_time(task: str, text: str) -> None:
    start = time.process_time()
    score(question(task, "{'a': 'b'}" if task == "tablejoin" else "B", subtask="smc"), text)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("text", "across", "found"),
    [
        ("<a>1</a> <a>2</a>", False, ["1", "2"]),
        ("<a>1\n</a> <a>2</a>", False, ["2"]),
        ("<a>1\n</a> <a>2</a>", True, ["1\n", "2"]),
        ("<a><a>1</a>", False, ["<a>1"]),
        ("<a>1", True, []),
        ("</a><a>", True, []),
    ],
)
def test_marks_are_paired_as_a_lazy_expression_pairs_them(text: str, across: bool, found: list[str]) -> None:
    assert between(text, "<a>", "</a>", across) == found == re.findall("<a>(.*?)</a>", text, re.S if across else 0)


def test_thinking_is_no_answer(shared: Path) -> None:
    assert score(question("spatial", "3"), "<think>**3**</think> **4**") == 0.0


def test_scores_add_up_over_tasks_and_categories_not_questions() -> None:
    counts = {"cta": 1, "tablejoin": 3, "spatial": 2}
    problems = [
        Problem(id=f"{task}{n}", task="x", prompt=(), reference=None, metadata={"task": task, "category": CATEGORY[task]})
        for task, count in counts.items()
        for n in range(count)
    ]
    scores = {"cta0": 1.0, "tablejoin0": 0.0, "tablejoin1": 0.0, "tablejoin2": 0.6, "spatial0": 1.0, "spatial1": 0.0}
    found = breakdown(load_benchmark("livebench"), problems, scores)
    assert found["data_analysis/tablejoin"] == pytest.approx(0.2)
    assert found["data_analysis"] == pytest.approx(0.6)
    assert found["reasoning"] == 0.5
    assert found["average"] == pytest.approx(0.55)
    weights = LIVEBENCH.weights(problems)
    assert sum(weight for _, weight in weights.values()) == pytest.approx(1)
    assert sum(weights[problem][1] * score for problem, score in scores.items()) == pytest.approx(found["average"])
    assert weights["tablejoin1"][0] == "data_analysis/tablejoin"


@pytest.mark.parametrize(
    ("answer", "default", "official"),
    [
        ("thus 025", 1.0, 1.0),
        (r"thus $\boxed{25}$", 1.0, 0.0),
        ("thus 1025", 0.0, 1.0),  # upstream looks for a substring
        ("not 025 but 026", 0.0, 1.0),  # upstream takes any of the last 50 characters
        ("thus 26", 0.0, 0.0),
    ],
)
def test_an_aime_answer_is_a_number_and_no_substring(answer: str, default: float, official: float) -> None:
    problem = question("math_comp", "025", subtask="aime_i_2024")
    assert (score(problem, answer), score(problem, answer, "official")) == (default, official)


@pytest.mark.parametrize(
    ("answer", "default", "official"),
    [
        ("BBBBB", 1.0, 1.0),
        ("<solution>BBBBB</solution>", 1.0, 1.0),
        (r"\boxed{\text{B}}", 1.0, 1.0),
        ("So it is 15.", 1.0, 1.0),
        ("So it is 150.", 0.0, 1.0),  # upstream looks for a substring
        ("The answer is (B)", 1.0, 1.0),
        ("AAAA BBBB CCCC DDDD EEEE", 0.0, 1.0),  # all letters, so that one is right
        ("CCCCC", 0.0, 0.0),
        ("BBBBB no, CCCCC", 0.0, 1.0),
    ],
)
def test_an_amc_answer_is_the_letter_that_the_model_commits_to(answer: str, default: float, official: float) -> None:
    text = r"What? $\textbf{(A) }13\qquad\textbf{(B) }15\qquad\textbf{(C) }17\qquad\textbf{(D) }19\qquad\textbf{(E) }21$"
    problem = question("math_comp", "B", text, subtask="smc")
    assert (score(problem, answer), score(problem, answer, "official")) == (default, official)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Answer: 1,6,7", 1.0),
        ("**Answer:** 1, 6, 7", 1.0),
        ("answer:\n1, 6, 7.", 1.0),
        (r"\boxed{1,6,7}", 1.0),
        ("I think\n1, 6, 7", 1.0),
        ("Answer: 1,7,6", 1 / 3),
        ("Answer: <expression 1>, <expression 6>, 2", 2 / 3),
        ("Answer: 1,6,7,2", 0.75),
        ("no idea", 0.0),
    ],
)
def test_an_olympiad_answer_scores_by_edit_distance(answer: str, expected: float) -> None:
    assert score(question("olympiad", "1,6,7"), answer) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (r"$\boxed{\frac{1}{2} x^2 + C}$", 1.0),
        (r"$F(x) = \boxed{0.5x^2}$", 1.0),
        (r"so $y = \dfrac{x^2}{2}$", 1.0),
        (r"$\boxed{x^2}$", 0.0),
        ("nothing", 0.0),
    ],
)
def test_an_amps_answer_is_compared_as_an_expression(answer: str, expected: float) -> None:
    assert score(question("AMPS_Hard", r"\frac{x^2}{2}"), answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("**no, yes, yes**", 1.0),
        ("**no**, then **yes**, then **yes**", 1.0),
        (r"\boxed{no, yes, yes}", 1.0),
        ("<solution>no, yes, yes</solution>", 1.0),
        ("it is no, yes, yes", 1.0),
        ("**yes, yes, yes**", 0.0),
        ("no yes", 0.0),
    ],
)
def test_a_web_of_lies_needs_all_three(answer: str, expected: float) -> None:
    assert score(question("web_of_lies_v2", "no, yes, yes"), answer) == expected


@pytest.mark.parametrize(
    ("answer", "default", "official"),
    [
        ("<solution>1, filmmaking, police officer</solution>", 1.0, 1.0),
        ("<solution>1, filmmaking, cook</solution>", 1 / 3, 1 / 3),
        ("<solution>position 1, film-making, cook</solution>", 1 / 6, 1 / 6),
        ("<solution>10, filmmaking, police-officer</solution>", 1 / 3, 1.0),  # upstream: "1" is in "10"
        ("So:\n1, filmmaking, police-officer", 1.0, 1.0),
        ("<solution>1</solution> <solution>filmmaking, police-officer</solution>", 1.0, 1.0),
    ],
)
def test_a_zebra_answer_scores_whole_and_parts(answer: str, default: float, official: float) -> None:
    problem = question("zebra_puzzle", "1, filmmaking, police-officer")
    assert score(problem, answer) == pytest.approx(default)
    assert score(problem, answer, "official") == pytest.approx(official)


def test_an_old_zebra_question_has_one_answer() -> None:
    old = question("zebra_puzzle", "fantasy movies", release="2024-06-24")
    assert (score(old, "***fantasy***"), score(old, "***fantasy***", "official")) == (1.0, 1.0)
    assert (score(old, "***fantasy movies***"), score(old, "***fantasy movies***", "official")) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("3", "**3**", 1.0),
        ("3", "**three**", 1.0),
        ("3", "**3** since **a** or **b**", 1.0),
        ("3", "**3** **a** **b** **c**", 0.0),
        ("triangle", "**equilateral triangle**", 1.0),
        ("triangle", "**circle square triangle**", 0.0),
        ("3", r"\boxed{3}", 1.0),
    ],
)
def test_a_spatial_answer_is_one_of_the_last_three_bold_phrases(gold: str, answer: str, expected: float) -> None:
    assert score(question("spatial", gold), answer) == expected


@pytest.mark.parametrize(
    ("answer", "default", "official"),
    [
        ("id", 1.0, 1.0),
        ("'ID'.", 1.0, 1.0),
        ("grid", 0.0, 1.0),
        ("The class is\n\nid", 1.0, 1.0),
        (r"\boxed{\text{id}}", 1.0, 1.0),
    ],
)
def test_a_column_type_is_a_name_and_no_suffix(answer: str, default: float, official: float) -> None:
    problem = question("cta", "id")
    assert (score(problem, answer), score(problem, answer, "official")) == (default, official)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("{'a': 'x', 'b': 'y'}", 1.0),
        ("```python\n{'a': 'x',\n 'b': 'y'}\n```", 1.0),
        ("<solution>{'a': 'x', 'b': 'y'}</solution>", 1.0),
        ("{'a': 'x'}", 0.67),
        ("{'a': 'x', 'b': 'z'}", 0.5),
        ("{'a': 'x', 'b': 'y', 'c': 'z'}", 0.8),
        ("__import__('os')", 0.0),
        ("{" * 5000, 0.0),
    ],
)
def test_a_join_scores_by_f1_over_pairs(answer: str, expected: float) -> None:
    assert score(question("tablejoin", "{'a': 'x', 'b': 'y'}"), answer) == expected


def test_every_table_converts_to_its_gold_table(shared: Path) -> None:
    for problem in load_benchmark("livebench", shared, only=["tablereformat"]).load():
        text = problem.prompt[0].content
        asked = re.search(r"from (\w+) format to (\w+) format", text)
        assert asked
        table = text.split("Input Table:", 1)[1].rsplit("Output:", 1)[0].strip()
        gold = read_table(asked[2].lower(), problem.reference["ground_truth"])
        assert same_table(read_table(asked[1].lower(), table), gold), problem.id


CSV_TASK = "Please convert the Input Table from JSON format to CSV format. Please respond only with the table."


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("a,b\n1,x\n2.0,y", 1.0),
        ("```csv\na,b\n1,x\n2,y\n```", 1.0),
        ("Here is the table:\na,b\n1,x\n2,y", 1.0),
        ("a,b\n1,x\n2,y\n\nI hope this helps", 1.0),
        ("b,a\nx,1\ny,2", 1.0),
        ("a,b\n1,x", 0.0),
        ("a,b\n1,x\n2,z", 0.0),
        ("a,b\n1,x\n3,y", 0.0),
        ("", 0.0),
    ],
)
def test_a_converted_table_has_to_have_every_cell(answer: str, expected: float) -> None:
    assert score(question("tablereformat", "a,b\n1,x\n2,y\n", CSV_TASK), answer) == expected


@pytest.mark.parametrize("text", ["[1, 2]", "3", "{", "[[[[" * 10000])
def test_what_is_no_table_is_no_table(text: str) -> None:
    with pytest.raises(TableError):
        read_table("json", text)


def test_connections_scores_groups() -> None:
    problem = question("connections", "a,b,c,d,e,f,g,h")
    assert score(problem, "<solution>d,c,b,a,e,f,g,h</solution>") == 1.0
    assert score(problem, "<solution>a,b,c,d,e,f,g,x</solution>") == 0.5
    assert score(problem, "<solution>a,b,c,d,\ne,f,g,h</solution>") == 1.0
    assert score(problem, "a,b,c,d,e,f,g,h") == 0.0
    old = question("connections", "a,b,c,d,e,f,g,h", release="2024-06-24")
    assert score(old, "**a,b,c,x,e,f,g,h** or **x**") == 0.5


def test_typos_has_to_hold_the_gold_text() -> None:
    problem = question("typos", "We saw it. It ran.")
    assert score(problem, "<solution>We saw it.\nIt ran.</solution>") == 1.0
    assert score(problem, "We saw it. It ran.") == 1.0
    assert score(problem, "<solution>We sow it. It ran.</solution>") == 0.0


def test_plots_score_by_the_order_of_sentences() -> None:
    problem = question("plot_unscrambling", "A man wakes. He eats bread. Night falls.")
    assert score(problem, "<PLOT_SUMMARY>A man wakes. He eats bread. Night falls.") == 1.0
    assert score(problem, "<PLOT_SUMMARY>He eats bread. A man wakes. Night falls.") == pytest.approx(1 / 3)


FOLLOWED: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["sun", "hat"]}, "A Sunny hat", "sun only"),
    ("keywords:forbidden_words", {"forbidden_words": ["sun"]}, "sunny", "the Sun"),
    ("startend:end_checker", {"end_phrase": "The end."}, 'so. the end."', "the end. Really"),
    ("startend:quotation", {}, ' "quoted" ', '"open'),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "text\nP.P.S one more", "P.S. one more"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "text\nP.S. one more", "ps one more"),
    ("detectable_format:title", {}, "<<A title>>\ntext", "<< >>"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1\na\nSection 2\nb",
        "Section 1",
    ),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n* b\n* c"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:constrained_response", {}, "Well. My answer is maybe.", "maybe"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "two words", "now three words"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "now three words", "two words"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two!", "Mr. Smith came."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "hall"},
        "a\n\n'Hall, b",
        "hall\n\nb",
    ),
    ("combination:two_responses", {}, "one\n******\ntwo", "same\n******\nsame"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. It", "It. Say it."),
]


@pytest.mark.parametrize(("kind", "kwargs", "good", "bad"), FOLLOWED)
def test_an_instruction_is_followed_or_not(kind: str, kwargs: dict[str, Any], good: str, bad: str) -> None:
    assert CHECKS[kind](good, kwargs)
    assert not CHECKS[kind](bad, kwargs)


def test_every_kind_of_instruction_is_tested() -> None:
    assert {kind for kind, *_ in FOLLOWED} == set(CHECKS)


def test_following_half_the_instructions_scores_a_quarter() -> None:
    instructions = [{"id": "detectable_format:title", "kwargs": {}}, {"id": "startend:quotation", "kwargs": {}}]
    problem = question("paraphrase", "", instructions=instructions)
    assert score(problem, "<<T>> text") == 0.25
    assert score(problem, '"<<T>> text"') == 1.0
    assert score(problem, "") == 0.0


@pytest.mark.parametrize(
    ("text", "count"),
    [("One.", 1), ("One. Two? Three!", 3), ("Dr. No met J. Bond. He won.", 2), ("It cost 3.50 today. Fine.", 2), ("", 0)],
)
def test_sentences_are_counted(text: str, count: int) -> None:
    assert count_sentences(text) == count


def test_a_row_with_an_unknown_instruction_names_it(tmp_path: Path, write_jsonl: Write) -> None:
    row = {
        "question_id": "1",
        "task": "summarize",
        "turns": ["?"],
        "livebench_release_date": "2024-11-25",
        "livebench_removal_date": "",
        "instruction_id_list": ["detectable_format:titel"],
        "kwargs": [{}],
    }
    data = write_jsonl(tmp_path / "livebench/instruction_following__summarize.jsonl", row)
    with pytest.raises(InputError, match=r"line 1: field 'instruction_id_list'.*did you mean 'detectable_format:title'"):
        load_benchmark("livebench", data.parent.parent, only=["summarize"]).load()
