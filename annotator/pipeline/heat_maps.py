"""Heat maps: which tokens of either response a labeler's verdict came from, kept with its judgment."""

from __future__ import annotations

from collections.abc import Mapping

from annotator.models import HeatMap, Judgment, LabelerVersion

# For A and for B: (start, end, value) in code points of the text.
Spans = tuple[tuple[int, int, float], ...]
# A value's digits that can be seen in a colour or a table; the rest would only fill the disk.
DIGITS = 4


def store(version: LabelerVersion, by_comparison: Mapping[int, tuple[Spans, Spans]]) -> None:
    """Keep the maps of judgments that were just stored, in the caller's transaction; one that is there stays."""
    if not by_comparison:
        return
    judgments = Judgment.objects.filter(
        rater__labeler_version=version, comparison__in=list(by_comparison), is_current=True, heat_map=None
    )
    HeatMap.objects.bulk_create(
        [
            HeatMap(
                judgment_id=judgment,
                side_a=_rows(by_comparison[comparison][0]),
                side_b=_rows(by_comparison[comparison][1]),
            )
            for judgment, comparison in judgments.values_list("pk", "comparison_id")
        ],
        ignore_conflicts=True,
    )


def _rows(spans: Spans) -> list[list[float]]:
    """Without marks, which have no width."""
    return [[start, end, round(value, DIGITS)] for start, end, value in spans if end > start]
