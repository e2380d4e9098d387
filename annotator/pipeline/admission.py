"""Who gets work now: what a person must have read and passed, whether they are paused, and how much a day may hold.

Asked before anything is handed out, ahead of time or not. An answer to what is on screen already is always taken.
One query, by primary keys and small partial indexes: nothing in it grows with the project. The day is the server's
(`TIME_ZONE`), as everywhere else on the pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.urls import reverse
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import Project, Rater, Standards
from annotator.models.judgments import NOT_FIRST

# Where the person goes from here, by kind of hindrance; what only time ends has no page.
PAGES = {
    "paused": "my_statistics",
    "guidelines": "guidelines_read",
    "tutorial": "onboarding",
    "qualification": "onboarding",
}
# What a person does about by reading or practising: whoever comes to work is led there at once.
LEARNED = ("guidelines", "tutorial", "qualification")


@dataclass(frozen=True)
class Hindrance:
    """Why somebody gets no work: `kind` (a key of PAGES, or "cap"), in words, and the page that helps ("" if none)."""

    kind: str
    words: str
    url: str


@dataclass(frozen=True)
class Admission:
    """What is known before something is handed out. `left_today` is None where the day has no cap."""

    hindrance: Hindrance | None
    left_today: int | None
    # When the whole queue was last found to hold nothing for them, and nothing was found since.
    nothing_left_at: datetime | None
    gold_share: float
    repeat_share: float
    repeat_after: int


# What a project without a row of its own asks for.
_DEFAULTS = Standards()

# Columns of a project without standards are null: it has the defaults. The judgments of today are counted only where
# there is a cap, and are at most about as many.
_ASKED = """
    SELECT standards.id, standing.paused_at, standing.pause_reason,
           coalesce(standing.acknowledged, 0), coalesce(standing.certified, 0), standing.tutorial_done_at,
           (SELECT max(g.version) FROM annotator_guidelines g
            WHERE g.project_id = rater.project_id AND g.must_acknowledge),
           standards.tutorial_required AND standing.tutorial_done_at IS NULL AND EXISTS (
               SELECT FROM annotator_gold gold WHERE gold.project_id = rater.project_id
               AND gold.use = 'tutorial' AND gold.retired_at IS NULL),
           standards.qualification_required, standards.recertify, standards.daily_cap,
           CASE WHEN standards.daily_cap IS NULL THEN 0 ELSE (
               SELECT count(*) FROM annotator_judgment j
               WHERE j.rater_id = rater.id AND j.created_at >= %(midnight)s AND j.assignment_id IS NOT NULL
                 AND j.purpose <> 'review' AND NOT j.provenance ?| %(not_first)s::text[]) END,
           CASE WHEN EXISTS (
               SELECT FROM annotator_gold gold WHERE gold.project_id = rater.project_id
               AND gold.use = 'hidden' AND gold.retired_at IS NULL)
           THEN coalesce(standards.gold_share, %(gold_share)s) ELSE 0.0 END,
           standards.repeat_share, standards.repeat_after, standing.nothing_left_at,
           coalesce(standards.gold_feedback, true)
    FROM annotator_rater rater
    LEFT JOIN annotator_standards standards ON standards.project_id = rater.project_id
    LEFT JOIN annotator_standing standing ON standing.rater_id = rater.id
    WHERE rater.id = %(rater)s
"""


@dataclass(frozen=True)
class _Found:
    standards: int | None
    paused_at: datetime | None
    pause_reason: str | None
    acknowledged: int
    certified: int
    tutorial_done_at: datetime | None
    # The newest guidelines that must be acknowledged; None when there are none.
    guidelines: int | None
    tutorial_waits: bool | None
    qualification_required: bool | None
    recertify: bool | None
    daily_cap: int | None
    done_today: int
    # 0 where the project has no hidden gold.
    gold_share: float
    repeat_share: float | None
    repeat_after: int | None
    nothing_left_at: datetime | None
    gold_feedback: bool


def ask(rater: Rater) -> Admission:
    """Everything about handing work to `rater`, in one query."""
    midnight = localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    with connection.cursor() as cursor:
        asked: dict[str, Any] = {
            "rater": rater.pk,
            "midnight": midnight,
            "gold_share": _DEFAULTS.gold_share,
            "not_first": NOT_FIRST,
        }
        cursor.execute(_ASKED, asked)
        found = _Found(*cursor.fetchone())
    kind = _kind(found)
    left = None if found.daily_cap is None else max(found.daily_cap - found.done_today, 0)
    hindrance = _hindrance(rater.project_id, kind, found) if kind else None
    repeats = (found.repeat_share or 0.0, found.repeat_after or 0)
    if found.standards is None:
        repeats = (_DEFAULTS.repeat_share, _DEFAULTS.repeat_after)
    return Admission(hindrance, left, found.nothing_left_at, found.gold_share, *repeats)


def hindrance(project: Project, rater: Rater) -> Hindrance | None:
    """What stands between `rater` and the next comparison of `project`, the first of several; None when nothing."""
    return ask(rater).hindrance


def _kind(found: _Found) -> str:
    if found.paused_at:
        return "paused"
    if found.guidelines and found.acknowledged < found.guidelines:
        return "guidelines"
    if found.tutorial_waits:
        return "tutorial"
    newest = found.guidelines if found.recertify else None
    if found.qualification_required and found.certified < (newest or 1):
        return "qualification"
    if found.daily_cap is not None and found.done_today >= found.daily_cap:
        return "cap"
    return ""


def _hindrance(project_id: int, kind: str, found: _Found) -> Hindrance:
    page = PAGES.get(kind)
    return Hindrance(kind, _words(kind, found), reverse(page, args=[project_id]) if page else "")


def _words(kind: str, found: _Found) -> str:
    if kind == "paused":
        return found.pause_reason or paused_by_gold(told=found.gold_feedback)
    if kind == "guidelines":
        return _("The guidelines have changed. Read what is new before you go on.")
    if kind == "tutorial":
        return _("Before your first comparison there is a short tutorial.")
    if kind == "qualification" and found.certified:
        return _("The guidelines have changed, so everybody qualifies once more before going on.")
    if kind == "qualification":
        return _("Before you start, judge a few comparisons whose answer is known.")
    said = ngettext(
        "You have reached today's limit of %(n)s judgment. Thank you; there is more tomorrow.",
        "You have reached today's limit of %(n)s judgments. Thank you; there is more tomorrow.",
        found.daily_cap or 0,
    )
    return said % {"n": found.daily_cap}


def paused_by_gold(*, told: bool) -> str:
    """What a person reads whom their answers to gold comparisons have paused; `told`: they may see which these were."""
    if told:
        return _(
            "Several of your answers differ from the ones this project is sure of, so your work here rests for now. "
            "What you have judged is kept. Look at those comparisons, read the guidelines again, and ask the lead to "
            "let you go on."
        )
    return _(
        "Several of your answers differ from the ones this project is sure of, so your work here rests for now. "
        "What you have judged is kept. Read the guidelines again, and ask the lead to look at your answers with you "
        "and to let you go on."
    )
