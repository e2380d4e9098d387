"""What lead pages and exports read: one file a subject, from the database to what a page or a file says; no writes.

Views, commands and steps import readings, never the other way round.
"""

from annotator.readings import board, charts, comparison, disclosures, heat_maps, labelers, own, plan, quality

__all__ = ["board", "charts", "comparison", "disclosures", "heat_maps", "labelers", "own", "plan", "quality"]
