"""The faults of one Python file: what a slip of the hand could have written in place of what stands there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

SWAPS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "/", ast.Mod: "*", ast.Pow: "*",
    ast.And: "or", ast.Or: "and", ast.BitOr: "&", ast.BitAnd: "|",
}  # fmt: skip


class Fault(NamedTuple):
    """One replacement in a file's text."""

    line: int
    start: int  # offsets in the UTF-8 text
    end: int
    new: str

    def planted(self, source: bytes) -> bytes:
        """The file with the fault."""
        return source[: self.start] + self.new.encode() + source[self.end :]


def faults(source: bytes) -> list[Fault]:
    """Swapped operators, negated conditions, numbers one too large, flags turned round, statements left out."""
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))

    def at(line: int, column: int) -> int:
        return lines[line - 1] + column

    def whole(node: ast.expr | ast.stmt, new: str) -> Fault:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return Fault(node.lineno, at(node.lineno, node.col_offset), at(node.end_lineno, node.end_col_offset), new)

    def between(left: ast.expr, right: ast.expr, operator: ast.AST) -> Fault:
        """Of an operator stands only what lies between its sides; brackets there are kept."""
        assert left.end_lineno is not None and left.end_col_offset is not None
        start, end = at(left.end_lineno, left.end_col_offset), at(right.lineno, right.col_offset)
        gap = source[start:end].decode()
        brackets = [gap.count(bracket) for bracket in ")("]
        return Fault(left.end_lineno, start, end, f"{')' * brackets[0]} {SWAPS[type(operator)]} {'(' * brackets[1]}")

    def of(node: ast.AST) -> Iterator[Fault]:
        if isinstance(node, ast.Compare):
            yield between(node.left, node.comparators[0], node.ops[0])
        elif isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
            yield between(node.left, node.right, node.op)
        elif isinstance(node, ast.BoolOp):
            yield between(node.values[0], node.values[1], node.op)
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield whole(node, str(not node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            yield whole(node, repr(node.value + 1))
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            yield whole(node.test, f"(not ({ast.unparse(node.test)}))")
        elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            yield whole(node, "pass")
        elif isinstance(node, ast.Return) and ast.unparse(node) not in ("return", "return None"):
            yield whole(node, "return None")

    return sorted({fault for node in _acting(ast.parse(source)) for fault in of(node)})


def _acting(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: no annotations, no texts of messages, no imports for the type checker alone."""
    for name, value in ast.iter_fields(tree):
        if name in (
            "annotation",
            "returns",
            "decorator_list",
            "bases",
            "keywords" if isinstance(tree, ast.ClassDef) else "",
        ):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.JoinedStr | ast.Raise | ast.Assert | ast.Import | ast.ImportFrom):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if isinstance(node, ast.keyword) and node.arg == "strict":  # of zip: an assertion
                continue
            if isinstance(node, ast.AST):
                yield node
                yield from _acting(node)
