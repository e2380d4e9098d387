"""How the responses and the prompt are laid out: lists, code, maths, tables, headings, emphasis, links."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from routing.features.registry import Pair, difference, each, either, feature, more, reading_prompt, yes


@feature(more("list lines", "as many list lines in both"), signed=True)
def list_lines_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """List lines (bulleted or numbered) in B minus A. Unit: lines, signed."""
    return difference(pairs, lambda response: response.list_lines)


@feature(yes("a response has a list", "no lists"))
def lists_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response has a list line, else 0."""
    return either(pairs, lambda response: response.list_lines)


@feature(more("code pieces", "as much code in both"), signed=True)
def code_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Fenced blocks and inline code in B minus A. Unit: pieces, signed."""
    return difference(pairs, lambda response: response.code)


@feature(yes("a response has code", "no code"))
def code_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response has fenced or inline code, else 0."""
    return either(pairs, lambda response: response.code)


@feature(more("formulas", "as many formulas in both"), signed=True)
def maths_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """TeX formulas in B minus A. Unit: formulas, signed."""
    return difference(pairs, lambda response: response.maths)


@feature(yes("a response has formulas", "no formulas"))
def maths_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response has a TeX formula, else 0."""
    return either(pairs, lambda response: response.maths)


@feature(more("tables", "as many tables in both"), signed=True)
def tables_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Markdown tables in B minus A. Unit: tables, signed."""
    return difference(pairs, lambda response: response.tables)


@feature(yes("a response has a table", "no tables"))
def tables_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response has a Markdown table, else 0."""
    return either(pairs, lambda response: response.tables)


@feature(more("headings", "as many headings in both"), signed=True)
def headings_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Markdown headings in B minus A. Unit: headings, signed."""
    return difference(pairs, lambda response: response.headings)


@feature(yes("a response has headings", "no headings"))
def headings_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response has a Markdown heading, else 0."""
    return either(pairs, lambda response: response.headings)


@feature(yes("code in the prompt", "no code in the prompt"))
def prompt_code(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when the prompt has fenced or inline code, else 0."""
    return each(pairs, lambda pair: float(reading_prompt(pair).code > 0))


@feature(yes("formulas in the prompt", "no formulas in the prompt"))
def prompt_maths(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when the prompt has a TeX formula, else 0."""
    return each(pairs, lambda pair: float(reading_prompt(pair).maths > 0))


@feature(more("bold passages", "as many bold passages in both"), signed=True)
def emphasis_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Bold passages of Markdown in B minus A. Unit: passages, signed."""
    return difference(pairs, lambda response: response.emphasis)


@feature(more("links", "as many links in both"), signed=True)
def links_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Web addresses in B minus A. Unit: addresses, signed."""
    return difference(pairs, lambda response: response.links)
