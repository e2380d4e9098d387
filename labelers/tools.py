"""What programs find in a response, as evidence for a judge: sums that are right or wrong, code that runs or not.

Off unless a judge asks for it, and only where labelers are called (workers, notebooks): code is run, sealed off as
`labelers.sandbox` says. Findings hold numbers and our own words, and of a response nothing
but its sums.
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from labelers import sandbox
from labelers.sandbox import SandboxRefused

__all__ = ["TOOLS", "SandboxRefused", "arithmetic", "code", "findings", "report"]

# Of each response so many sums and pieces of code are looked at.
MOST_SUMS, MOST_CODE = 12, 4

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_SUM = re.compile(
    rf"(?<![\w.,)])(?P<sum>\(*-?{_NUMBER}(?:\)*\s*(?:[-+*/^×÷·−]|\*\*)\s*\(*-?{_NUMBER})+\)*)"
    rf"\s*(?P<sign>=|≈)\s*(?P<said>[-−]?{_NUMBER})(?![\w%]|[.,]\d|\s*[-+*/^×÷·−(]\s*[\w(])"
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_BEFORE = re.compile(r"[-+*/^×÷·−=(]\s*$")
_FENCED = re.compile(r"^```[ \t]*(?:python3?|py)[ \t]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE | re.IGNORECASE)
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "^": "@", ",": ""})
_OPERATORS: dict[type[ast.AST], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
# Beyond these a power is not worked out.
_MOST_DIGITS, _MOST_EXPONENT = 20, 64


def findings(text: str, tools: Sequence[str]) -> str:
    """What the named tools say of one response, a line each; "" where there is nothing to check.

    Raises SandboxRefused where code cannot be sealed off on this machine, KeyError for a tool there is not.
    """
    return "\n".join(line for name in tools for line in TOOLS[name](text))


def report(a: str, b: str) -> str:
    """The findings about a pair's responses as they are stored."""
    return json.dumps({"a": a, "b": b}, ensure_ascii=False)


def arithmetic(text: str) -> list[str]:
    """Sums that the response works out ("12 * 12 = 146"), checked exactly; `≈` and decimals within their rounding.

    Only whole sums between numbers: what is part of a formula with letters, or cannot be read surely, is left alone.
    """
    lines = []
    for match in _SUM.finditer(text):
        if _BEFORE.search(text, 0, match.start()) or _DATE.fullmatch(match["sum"]):
            continue
        value = _worked_out(match["sum"])
        if value is None:
            continue
        said = match["said"].translate(_SIGNS)
        claim = f"{match['sum']} {match['sign']} {match['said']}"
        right = abs(value - Fraction(said)) <= (_rounding(said) if match["sign"] == "≈" or "." in said else 0)
        lines.append(f"- {claim}: {'right' if right else f'wrong, it is {_shown(value)}'}")
        if len(lines) == MOST_SUMS:
            break
    return lines


def code(text: str) -> list[str]:
    """Fenced Python: whether it compiles, and whether its own doctests and asserts pass. Without any it is not run."""
    pieces = [match[1] for match in _FENCED.finditer(text)][:MOST_CODE]
    return [f"- Python code {number}: {_told(sandbox.check(piece))}" for number, piece in enumerate(pieces, 1)]


TOOLS: dict[str, Callable[[str], list[str]]] = {"calculator": arithmetic, "code": code}


def _told(found: sandbox.Found) -> str:
    if found.ended:
        return f"stopped: {found.ended}"
    if not found.compiles:
        return f"does not compile ({found.error or 'SyntaxError'})"
    if not found.checks:
        return "compiles; it has no checks of its own"
    if found.error == "ModuleNotFoundError":
        return "compiles; not run, it needs a module that is not here"
    failed = f", then {found.error}" if found.error else ""
    return f"compiles; {found.passed} of {found.checks} of its own checks pass{failed}"


def _worked_out(expression: str) -> Fraction | None:
    """The exact value; None for what is no sum of numbers, divides by zero or grows too large."""
    written = expression.translate(_SIGNS).replace("@", "**")
    try:
        # A leading zero is no Python number; it is a number to people.
        tree = ast.parse(re.sub(r"(?<![\d.])0+(?=\d)", "", written), mode="eval")
        return _value(tree.body, written)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return None


def _value(node: ast.expr, written: str) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Fraction(ast.get_source_segment(written, node) or str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, written)
    if not isinstance(node, ast.BinOp):
        raise ValueError("not a sum")
    left, right = _value(node.left, written), _value(node.right, written)
    if isinstance(node.op, ast.Pow):
        if right.denominator != 1 or abs(right) > _MOST_EXPONENT or len(str(left)) > _MOST_DIGITS:
            raise ValueError("too large")
        return left ** int(right)
    return _OPERATORS[type(node.op)](left, right)


def _rounding(said: str) -> Fraction:
    """Half a unit of the last place that is written."""
    return Fraction(1, 2 * 10 ** len(said.partition(".")[2]))


def _shown(value: Fraction) -> str:
    return f"{value}" if value.denominator == 1 and len(str(value)) <= 40 else f"{float(value):.6g}"
