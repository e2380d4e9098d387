"""A file that is one JSON list, read element by element: what Label Studio, Argilla and doccano write.

Memory holds the element that is being read and one piece of the file, however long the list is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from annotator.formats.rows import RowInvalid

# A longer element is not a row of text for people to judge; in characters.
LONGEST = 64 * 2**20
# No token but a string is longer: an error so near to the end of what was read may mean that the rest is missing.
LONGEST_TOKEN = 16
SPACE = " \t\r\n"

Numbered = tuple[int, dict[str, Any] | RowInvalid]


class ListBroken(ValueError):
    """The file stops being a JSON list; the message says where. What follows cannot be told apart into rows."""


def rows(pieces: Iterator[str]) -> Iterator[Numbered]:
    """(place in the list from 1, row) of every element; one that is no object comes as the RowInvalid that says so."""
    scan = _Scan(pieces)
    if scan.next() != "[":
        raise ListBroken(f"the file is not a JSON list: {scan.here()}")
    scan.at += 1
    place = 0
    while scan.next() != "]" or place:
        place += 1
        yield place, scan.element(place)
        after = scan.next()
        scan.at += 1
        if after == "]":
            break
        if after != ",":
            found = "the file ends" if not after else f"{after!r} follows"
            raise ListBroken(f"after row {place} there is no comma: {found} at {scan.here(-1)}")
    else:
        scan.at += 1
    if scan.next():
        raise ListBroken(f"something stands behind the end of the list: {scan.here()}")


class _Scan:
    """A window on the text that moves on; `at` is where in it the reading stands."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self.pieces = pieces
        self.text = ""
        self.at = 0
        # Of the first character of `text`, both from 1.
        self.line, self.column = 1, 1
        self.constants: list[str] = []
        self.decoder = json.JSONDecoder(parse_constant=self.constants.append)

    def next(self) -> str:
        """The next character that is no white space, not yet taken; "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in SPACE:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more(1):
                return ""

    def element(self, place: int) -> dict[str, Any] | RowInvalid:
        self.next()
        self.constants.clear()
        value = self._value(place)
        if self.constants:
            return RowInvalid("", f"is not valid JSON: {self.constants[0]} is not JSON")
        return value if isinstance(value, dict) else RowInvalid("", "is not a JSON object")

    def _value(self, place: int) -> Any:
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                ahead = error.pos - self.at
                is_cut = error.pos >= len(self.text) - LONGEST_TOKEN or error.msg.startswith("Unterminated")
                if not is_cut or not self._more(len(self.text) - self.at, place):
                    reason = f"row {place} is not valid JSON: {error.msg} at {self.here(ahead)}"
                    raise ListBroken(reason) from None
            except RecursionError:
                raise ListBroken(f"row {place} is nested too deeply: {self.here()}") from None
            else:
                # A number may go on in the next piece.
                if end < len(self.text) or isinstance(value, dict | list) or not self._more(1, place):
                    self.at = end
                    return value

    def _more(self, least: int, place: int = 0) -> bool:
        """Read at least so many characters more and forget what was taken; False at the end of the file.

        An element is tried again when what is known of it has doubled, so a long one costs twice its length.
        """
        self._forget()
        if len(self.text) > LONGEST:
            raise ListBroken(f"row {place} is longer than {LONGEST // 2**20} MB: {self.here()}")
        parts, got = [self.text], 0
        while got < least and (piece := next(self.pieces, None)) is not None:
            parts.append(piece)
            got += len(piece)
        self.text = "".join(parts)
        return got > 0

    def _forget(self) -> None:
        self.line, self.column = self._position(self.at)
        self.text, self.at = self.text[self.at :], 0

    def _position(self, at: int) -> tuple[int, int]:
        lines = self.text.count("\n", 0, at)
        column = at - self.text.rfind("\n", 0, at) if lines else self.column + at
        return self.line + lines, column

    def here(self, ahead: int = 0) -> str:
        line, column = self._position(min(self.at + ahead, len(self.text)))
        return f"line {line}, column {column}"
