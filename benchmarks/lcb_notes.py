"""Known faults of LiveCodeBench problems, by question id (upstream ERRATA.md and later reports).

They are shown as notes on a result and change no official verdict. Which of them have a checker that accepts every right output
is said in `lcb_checkers`.
"""

_SEVERAL = "several outputs are right; the official rule accepts only the one stored"
_INTERACTIVE = "interactive: no program can pass these tests"
_BAD_TESTS = "faulty tests: right programs fail"

NOTES: dict[str, str] = {
    **dict.fromkeys(
        (
            *("abc311_c", "abc326_d", "abc327_b", "abc333_e", "abc343_a", "abc343_e", "abc362_c", "arc185_c"),
            "3194",  # find-words-containing-character
            "3221",  # find-the-peaks
            "3453",  # generate-binary-strings-without-adjacent-zeros
        ),
        _SEVERAL,
    ),
    **dict.fromkeys(("abc337_e", "abc355_e"), _INTERACTIVE),
    **dict.fromkeys(
        (
            *("abc350_c", "arc189_a"),
            "3308",  # apply-operations-to-make-string-empty
            "3363",  # most-frequent-ids
        ),
        _BAD_TESTS,
    ),
}
