"""Questions about trees, and other forms of them: what comparison by type needs to know before it compares."""

from .judging import Answer
from .texts import words
from .tree import Node, has, num, symbols, walk


def spelled(node: Node) -> str:
    """Words as they were written: letters in a row may have been read as a product."""
    if node.kind == "mul":
        parts = [spelled(arg) for arg in node.args]
        return "".join(parts) if all(parts) else ""
    return str(node.value) if node.kind in ("text", "sym", "const") else ""


def digits_and_base(node: Node) -> str:
    """`FF_{16}` may have been read as a product of symbols."""
    if node.kind == "base":
        return f"{node.value[0]}_{node.value[1]}"
    return spelled(node).upper()


def as_solutions(node: Node) -> Node:
    r"""Solutions that name their variable once or each time: `x = 2, -2`, `x = 2 \text{ or } x = 3`, `x = \pm 2`."""
    if node.kind == "rel" and node.value == ("=",) and node.args[0].kind == "sym" and has(node.args[1], "pm", "mp"):
        return node.args[1]
    if node.kind != "list" or node.args[0].kind != "rel" or node.args[0].args[0].kind != "sym":
        return node
    name = node.args[0].args[0]
    named = [item for item in node.args if item.kind == "rel"]
    if any(item.value != ("=",) or item.args[0] != name for item in named):
        return node
    return Node("list", tuple(item.args[1] if item.kind == "rel" else item for item in node.args), node.value)


def differently_named(node: Node) -> bool:
    """Tell whether this is a list of equations that name different things: `x = 1, y = 2` (but not `x_1 = 1, x_2 = 2`)."""
    named = [item.args[0] for item in node.args if item.kind == "rel"] if node.kind == "list" else []
    return len({str(name.value).partition("_")[0] for name in named if name.kind == "sym"}) > 1


def as_set(node: Node) -> Node:
    """Read "all real numbers" as the real line, and "no solution" as the empty set."""
    if node.kind != "text":
        return node
    said = words(str(node.value))
    if said in ("no solution", "empty set"):
        return Node("group", (), "{}")
    return Node("sym", value="bbR") if said == "all real numbers" else node


def difference(left: Node, right: Node) -> Node:
    """Return left - right."""
    return left if right == num(0) else Node("add", (left, Node("neg", (right,))))


def ascending(node: Node) -> Node:
    """Write `c > b > a` as `a < b < c`."""
    if all(operator in (">", ">=") for operator in node.value):
        return Node("rel", node.args[::-1], tuple(operator.replace(">", "<") for operator in node.value[::-1]))
    return node


def to_less(node: Node) -> tuple[str, Node]:
    """Write an inequality as `side < 0` or `side <= 0` (or `side != 0`)."""
    (operator,), (left, right) = node.value, node.args
    if operator in (">", ">="):
        left, right, operator = right, left, operator.replace(">", "<")
    return operator, difference(left, right)


def is_constant(node: Node) -> bool:
    """Tell whether no symbol, unknown function or word occurs."""
    return not symbols(node) and not has(node, "apply", "text")


def is_label(node: Node) -> bool:
    """A name for a value: a symbol, `f(2)`, `AB`, `a + b`, `(x, y)`, words. Nothing with a number of its own in it."""
    names = [part.value for part in walk(node) if part.kind == "sym"]
    if len(set(names)) < len(names):
        return False
    if node.kind == "group" and node.value == "()":
        names = [arg.value for arg in node.args]
        # (y, x) = (2, 3) is another point than (2, 3); other letters have no order.
        return all(arg.kind == "sym" for arg in node.args) and (not set(names) <= set("xyz") or names == sorted(names))
    if node.kind in ("apply", "text"):
        return True
    return bool(names) and node.kind != "neg" and not has(node, "num", "rel", "group", "list", "const")


def is_expression(node: Node) -> bool:
    """Tell whether nothing but an expression occurs."""
    return not any(
        part.kind in ("group", "list", "matrix", "text", "unit", "rel", "apply", "cases", "ratio") for part in walk(node)
    )


def is_unordered(node: Node) -> bool:
    """Tell whether this is a list of solutions or a set."""
    return node.kind == "list" or (node.kind == "group" and node.value == "{}")


def is_tuple(node: Node) -> bool:
    """Tell whether this is a bracket of several things that is not a set."""
    return node.kind == "group" and node.value != "{}"


def matching(allowed: list[list[bool]]) -> bool:
    """Tell whether rows and columns of a square table can be paired off (augmenting paths)."""
    partner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, possible in enumerate(allowed[row]):
            if possible and column not in seen:
                seen.add(column)
                if column not in partner or place(partner[column], seen):
                    partner[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(allowed)))


def members(node: Node) -> list[Node]:
    """Return the members of a list or set (of anything else: itself), plus-minus signs expanded."""
    members = node.args if is_unordered(node) else (node,)
    return [signed for member in members for signed in signs(member)]


def signs(node: Node) -> list[Node]:
    """The two values of an expression with plus-minus signs in it, which all go together."""
    if not has(node, "pm", "mp"):
        return [node]
    return [_choose(node, "pm"), _choose(node, "mp")]


def _choose(node: Node, plus: str) -> Node:
    args = tuple(_choose(arg, plus) for arg in node.args)
    if node.kind not in ("pm", "mp"):
        return Node(node.kind, args, node.value)
    last = args[-1] if node.kind == plus else Node("neg", (args[-1],))
    return last if len(args) == 1 else Node("add", (args[0], last))


def is_matrix(node: Node) -> bool:
    """Tell whether this is a matrix or arithmetic with one."""
    return node.kind == "matrix" or (node.kind in ("neg", "add", "mul", "div") and has(node, "matrix"))


def as_matrix(node: Node) -> Node:
    """`[[1, 2], [3, 4]]` is a matrix, and so are sums and multiples of matrices."""
    if node.kind in ("neg", "add", "mul", "div"):
        return _matrix_arithmetic(node)
    rows = node.args
    if (
        node.kind == "group"
        and node.value in ("[]", "()")
        and rows
        and all(row.kind == "group" and row.value == node.value for row in rows)
    ):
        return Node("matrix", tuple(Node("row", row.args) for row in rows))
    return node


def _matrix_arithmetic(node: Node) -> Node:
    parts = [as_matrix(arg) for arg in node.args]
    matrices = [part for part in parts if part.kind == "matrix"]
    if node.kind == "add" and len(matrices) == 2 and shape(matrices[0]) == shape(matrices[1]):
        rows = [
            Node("row", tuple(Node("add", cells) for cells in zip(left.args, right.args, strict=True)))
            for left, right in zip(matrices[0].args, matrices[1].args, strict=True)
        ]
        return Node("matrix", tuple(rows))
    if len(matrices) != 1 or node.kind == "add" or (node.kind == "div" and parts[1].kind == "matrix"):
        return node
    place = parts.index(matrices[0])

    def cell(inner: Node) -> Node:
        return Node(node.kind, tuple(inner if n == place else part for n, part in enumerate(parts)))

    return Node("matrix", tuple(Node("row", tuple(cell(inner) for inner in row.args)) for row in matrices[0].args))


def shape(matrix: Node) -> list[int]:
    """Return the length of every row."""
    return [len(row.args) for row in matrix.args]


def row_as_tuple(row: Node) -> Node:
    """Return a row as a tuple."""
    return Node("group", row.args, "()")


def fraction(node: Node) -> tuple[Node, ...]:
    """Return numerator and denominator."""
    return node.args if node.kind == "div" else (node, num(1))


def same_time(gold: Node, answer: Node) -> Answer:
    """Compare times of day; a half of the day that one side leaves out may be either."""
    clocks = [_clock(side) for side in (gold, answer)]
    if None in clocks:
        return False
    (mine, my_half), (yours, your_half) = clocks  # type: ignore[misc]
    if my_half and your_half:
        return bool(mine == yours and my_half == your_half)
    half = my_half or your_half
    marked, bare = (mine, yours) if my_half else (yours, mine)
    afternoon = (marked[0] % 12 + (12 if half == "p" else 0), *marked[1:])
    return bool(bare in (marked, afternoon))


def _clock(node: Node) -> tuple[tuple[int, ...], str] | None:
    """(hours, minutes, seconds) and "a", "p" or nothing."""
    if node.kind not in ("ratio", "time") or not 2 <= len(node.args) <= 3 or any(arg.kind != "num" for arg in node.args):
        return None
    values = [int(arg.value.value) for arg in node.args]
    return (*values, *[0] * (3 - len(values))), str(node.value or "")
