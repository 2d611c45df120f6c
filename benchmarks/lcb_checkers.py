"""Checkers for LiveCodeBench problems that have several right answers, where upstream stores and accepts only one.

Each is a program with `check(stdin, output, expected)`, or `check(arguments, value, expected)` for functions, run in a sandbox
of its own. The default rule uses them, the official one does not. Of the problems that upstream's ERRATA.md names, `abc327_b`
needs none (its answer is unique), and `abc333_e` has none: a stored output of the copy at hand breaks the statement itself.
"""

from collections.abc import Mapping

_ANY_ORDER = """
def check(arguments, value, expected):
    return isinstance(value, (list, tuple)) and len(value) == len(expected) and sorted(value) == sorted(expected)
"""

_CYCLE = """
def check(stdin, output, expected):
    numbers = list(map(int, stdin.split()))
    goal = [0] + numbers[1:numbers[0] + 1]
    lines = output.split("\\n")
    count, cycle = int(lines[0]), list(map(int, lines[1].split()))
    if count != len(cycle) or count < 2 or len(set(cycle)) != count or any(line.strip() for line in lines[2:]):
        return False
    if not all(1 <= vertex <= numbers[0] for vertex in cycle):
        return False
    return all(goal[cycle[i]] == cycle[(i + 1) % count] for i in range(count))
"""

_GRID = """
def check(stdin, output, expected):
    size, rows, columns = stdin.split()
    grid = output.split()
    if expected.split()[0] == "No" or grid[0] == "No":
        return grid == expected.split()
    if grid[0] != "Yes" or len(grid) != int(size) + 1:
        return False
    grid = grid[1:]
    turned = ["".join(line) for line in zip(*grid)]
    lines = list(zip(grid, rows)) + list(zip(turned, columns))
    if any(len(line) != int(size) for line in grid):
        return False
    return all(sorted(line.replace(".", "")) == list("ABC") and line.replace(".", "")[0] == first for line, first in lines)
"""

_NOT_THE_SUM = """
def check(stdin, output, expected):
    a, b = map(int, stdin.split())
    words = output.split()
    return len(words) == 1 and words[0].isdigit() and 0 <= int(words[0]) <= 9 and int(words[0]) != a + b
"""

_CUBES = """
from itertools import combinations

def shared(cubes):
    volume = 1
    for axis in range(3):
        low, high = max(cube[axis] for cube in cubes), min(cube[axis] + 7 for cube in cubes)
        volume *= max(0, high - low)
    return volume

def check(stdin, output, expected):
    words = output.split()
    if expected.split()[0] == "No" or words[0] == "No":
        return words == expected.split()
    numbers = list(map(int, words[1:]))
    if words[0] != "Yes" or len(numbers) != 9 or any(abs(number) > 100 for number in numbers):
        return False
    cubes = [numbers[i:i + 3] for i in (0, 3, 6)]
    three = shared(cubes)
    two = sum(shared(pair) for pair in combinations(cubes, 2)) - 3 * three
    one = 3 * 7 ** 3 - 2 * two - 3 * three
    return [one, two, three] == list(map(int, stdin.split()))
"""

_ZERO_SUM = """
def check(stdin, output, expected):
    numbers = list(map(int, stdin.split()))
    pairs = list(zip(numbers[1::2], numbers[2::2]))
    words = output.split()
    if expected.split()[0] == "No" or words[0] == "No":
        return words == expected.split()
    chosen = list(map(int, words[1:]))
    if words[0] != "Yes" or len(chosen) != len(pairs) or sum(chosen) != 0:
        return False
    return all(low <= number <= high for number, (low, high) in zip(chosen, pairs))
"""

_TRIPLE = """
def check(stdin, output, expected):
    numbers = list(map(int, stdin.split()))
    count, total, values = numbers[0], numbers[1], numbers[2:]
    words = list(map(int, output.split()))
    if expected.split() == ["-1"] or words == [-1]:
        return words == [-1] and expected.split() == ["-1"]
    if len(words) != 3 or not 1 <= words[0] < words[1] < words[2] <= count:
        return False
    return sum(values[place - 1] for place in words) == total
"""

CHECKERS: Mapping[str, str] = {
    "3194": _ANY_ORDER,  # find-words-containing-character
    "3221": _ANY_ORDER,  # find-the-peaks
    "3453": _ANY_ORDER,  # generate-binary-strings-without-adjacent-zeros
    "abc311_c": _CYCLE,
    "abc326_d": _GRID,
    "abc343_a": _NOT_THE_SUM,
    "abc343_e": _CUBES,
    "abc362_c": _ZERO_SUM,
    "arc185_c": _TRIPLE,
}
