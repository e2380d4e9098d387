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
# And so many of its characters, up to the end of a line.
MOST_TEXT = 50_000

# Possessive and with an end to what may repeat: from wherever a search begins, it goes on for so many terms and never
# back, so a text takes time in proportion to its length.
_NUMBER = r"\d{1,40}+(?:,\d{3}){0,12}+(?:\.\d{1,40}+)?+"
_OPERATOR = r"(?:\*\*|[-+*/^×÷·−])"
_SUM = re.compile(
    rf"(?<![\w.,)])(?P<sum>\({{0,20}}+-?{_NUMBER}"
    rf"(?:\){{0,20}}+\s*+{_OPERATOR}\s*+\({{0,20}}+-?{_NUMBER}){{1,40}}+\){{0,20}}+)"
    rf"\s*+(?P<sign>=|≈)\s*+(?P<said>[-−]?{_NUMBER})(?![\w%]|[.,]\d|\s*+[-+*/^×÷·−(]\s*+[\w(])"
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
# What a sum does not follow: it is the rest of a longer one.
_BEFORE = tuple("-+*/^×÷·−=(")
_PYTHON = ("python", "python3", "py")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "^": "@", ",": ""})
_OPERATORS: dict[type[ast.AST], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
# Beyond these a power is not worked out, and nothing whose numerator or denominator is longer: what is left is a float.
_MOST_DIGITS, _MOST_EXPONENT, _MOST_BITS = 20, 64, 1000


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
    text = _looked_at(text)
    for match in _SUM.finditer(text):
        before = text[max(match.start() - 20, 0) : match.start()].rstrip()
        if before.endswith(_BEFORE) or _DATE.fullmatch(match["sum"]):
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
    pieces = _pieces(_looked_at(text))[:MOST_CODE]
    return [f"- Python code {number}: {_told(sandbox.check(piece))}" for number, piece in enumerate(pieces, 1)]


TOOLS: dict[str, Callable[[str], list[str]]] = {"calculator": arithmetic, "code": code}


def _looked_at(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT].rpartition("\n")[0]


def _pieces(text: str) -> list[str]:
    """What stands between a line "```python" and the next "```"; nothing of a fence that is not closed."""
    found: list[str] = []
    piece: list[str] | None = None
    for line in text.split("\n"):
        fence = line[3:].strip(" \t\r").lower() if line.startswith("```") else None
        if piece is None:
            piece = [] if fence in _PYTHON else None
        elif fence == "":
            found.append("\n".join([*piece, ""]))
            piece = None
        else:
            piece.append(line)
    return found


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
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr, written: str) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Fraction(ast.get_source_segment(written, node) or str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, written)
    if not isinstance(node, ast.BinOp):
        raise ValueError("not a sum")
    left, right = _value(node.left, written), _value(node.right, written)
    if not isinstance(node.op, ast.Pow):
        return _short(_OPERATORS[type(node.op)](left, right))
    if right.denominator != 1 or abs(right) > _MOST_EXPONENT or len(str(left)) > _MOST_DIGITS:
        raise ValueError("too large")
    return _short(left ** int(right))


def _short(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MOST_BITS:
        raise ValueError("too large")
    return value


def _rounding(said: str) -> Fraction:
    """Half a unit of the last place that is written."""
    return Fraction(1, 2 * 10 ** len(said.partition(".")[2]))


def _shown(value: Fraction) -> str:
    return f"{value}" if value.denominator == 1 and len(str(value)) <= 40 else f"{float(value):.6g}"
