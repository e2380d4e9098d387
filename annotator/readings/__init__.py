"""What lead pages and exports read: one file a subject, from the database to what a page or a file says; no writes.

Views, commands and steps import readings, never the other way round.
"""

from annotator.readings import (
    batches,
    board,
    charts,
    comparison,
    datasets,
    disclosures,
    filters,
    heat_maps,
    labeler_versions,
    labelers,
    own,
    performance,
    plan,
    plan_review,
    planner,
    quality,
    runs,
)

__all__ = [
    "batches",
    "board",
    "charts",
    "comparison",
    "datasets",
    "disclosures",
    "filters",
    "heat_maps",
    "labeler_versions",
    "labelers",
    "own",
    "performance",
    "plan",
    "plan_review",
    "planner",
    "quality",
    "runs",
]
