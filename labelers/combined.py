"""Several labelers as one labeler. What combines them (`labelers.ensemble`) is its owner's business; here it judges."""

from __future__ import annotations

from collections.abc import Sequence

from labelers.base import Outcome, Pair, Verdict
from labelers.proxy import Proxy


class Combined(Proxy):
    """`predict` gives P(B is better) of the members together, NaN where one that is needed has not judged."""

    CODE_VERSION = 1

    def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """As a proxy does; what its members have not judged is no abstention but an error: it may be had later."""
        missing = Verdict(Outcome.ERROR, provenance={"error": "a member has not judged this comparison"})
        verdicts = super().judge(pairs)
        return [missing if verdict.outcome == Outcome.ABSTAIN else verdict for verdict in verdicts]
