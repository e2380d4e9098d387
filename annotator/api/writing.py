"""What answers are written in: JSON whose amounts are digits, in every answer and in those that are kept."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ninja.renderers import JSONRenderer
from ninja.responses import NinjaJSONEncoder

from annotator import money


class Encoder(NinjaJSONEncoder):
    """Decimal numbers as text of digits: other languages' readers of amounts take no "0E-8"."""

    def default(self, o: Any) -> Any:
        return money.plain(o) if isinstance(o, Decimal) else super().default(o)


class Answers(JSONRenderer):
    encoder_class = Encoder
