"""Protocols as data: reading a definition, checking an answer against it, and the presets.

Form, validation and exports are derived from the same `Definition`, so a protocol is added by data alone.
Sign: negative means A. `preference` = level / highest level.
"""

from annotator.protocols.answers import Answer, check, length
from annotator.protocols.definition import (
    ASKED,
    CONFIDENCE,
    RANKINGS,
    SIDES,
    Aspect,
    Attribute,
    Choice,
    Definition,
    Level,
    SpanKinds,
    read,
)
from annotator.protocols.faults import Fault, faults
from annotator.protocols.order import SWAPPED, inverse, mirror, on_screen
from annotator.protocols.presets import FLAGS, PRESETS
from annotator.protocols.refusal import AnswerInvalid

__all__ = [
    "ASKED",
    "CONFIDENCE",
    "FLAGS",
    "PRESETS",
    "RANKINGS",
    "SIDES",
    "SWAPPED",
    "Answer",
    "AnswerInvalid",
    "Aspect",
    "Attribute",
    "Choice",
    "Definition",
    "Fault",
    "Level",
    "SpanKinds",
    "check",
    "faults",
    "inverse",
    "length",
    "mirror",
    "on_screen",
    "read",
]
