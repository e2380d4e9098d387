from __future__ import annotations


class AnswerInvalid(Exception):
    """An answer that the protocol does not allow. `field` names the question, the message says what is missing."""

    def __init__(self, field_name: str, reason: str) -> None:
        super().__init__(f"{field_name}: {reason}")
        self.field = field_name
        self.reason = reason
