"""The annotator's seat over HTTP. The page is `templates/annotate/`, its script `static/workbench.js`.

Everything a page sends and shows is in ON-SCREEN order: a level below 0 and side `a` mean the response shown first
(left, letter A). `pipeline.judge` turns it into the comparison's own order. No model name is in any context below.

Templates
    annotate/workbench.html    the whole page; includes `fragment`, which is one of the next two
    annotate/_comparison.html  one comparison with its form
    annotate/_queue_empty.html why there is none

Context of `_comparison.html`
    project     Project
    assignment  Assignment: `pk`, `leased_until`, `active_ms` (ms already counted), `draft_saved_at`
    turns, documents  the prompt as HTML and the documents it came with ("" without): `rendering.rendered_parts(prompt)`
    sides       A and B, or all responses (up to 8) where they are ranked, in on-screen order: Side(letter "A", "B" …,
                html, text as stored)
    left, right the first two of them
    criterion   by what the better one is to be told, "" where the protocol's question says all
    warning     kinds of harm the texts touch, in words; they are covered until the annotator wants to see them
    harms       the same as (kind, words)
    protocol    Protocol row (`pk`, `version`); send its pk back as `protocol`
    definition  protocols.Definition
    given       the draft or the refused answer: {} or the nested shape below (what controls start with)
    form        forms.answer.build(definition, given), made when asked for
    error       None, or Refusal(field, reason): field is "level", "justification", "aspects.helpful", "client_id" …
    undo        None, or Undo(assignment_id, until): the last judgment, while it can be taken back
    ahead       True when this is the comparison after the one on screen (leased as prefetched, not opened)
Context of `_queue_empty.html`: project, reason (words), undo, ahead False.
Context of `workbench.html`: all of its fragment's, and tab "annotate", fragment (template name), done_today (int),
    returns (int: own judgments sent back and not looked at again), break_after (minutes).

Addresses (all but the first are under /assignments/<assignment_id>/; one that is not mine is 404; POST needs the
CSRF token; without a session they redirect to the login page, which a script sees as `response.redirected`)
    GET  annotate   /projects/<project_id>/annotate/  the page: my open lease if I have one, else a new one. An htmx
                    request gets the fragment alone.
    POST judgment   an answer; form-encoded or JSON. 200: the fragment of the next comparison, or of the empty queue.
                    422: this comparison's fragment again, with `error` and `given`. Sent twice with one client_id it
                    is stored once and answered the same way.
                    With `showing=<id of the prefetched assignment the page has put on screen already>` the reply is
                    the comparison after that one (and after those in `having=<ids, by comma or as a list>`), header
                    `Seat-Fragment: ahead` (204 when there is none: ask `prefetch` later); when the shown one had been
                    taken over meanwhile: its replacement with `Seat-Fragment: current`, to be put on screen; `empty`
                    when guidelines must be read before anything else.
                    One request a judgment is enough this way. With `alone=true` it is only stored: 204.
                    Header `Seat-Note: first-answer-stands` when an earlier answer of this person to it counts instead.
    POST draft      the same fields, any missing. 200 {"saved_at": ISO time}; 409 when it was judged or lost meanwhile.
    POST skip       reason (may be empty). 200: next fragment, as `judgment` (takes `showing` too).
    POST opt-out    kind (repeated, of `Harm`; none: those of this comparison). As `skip`; nothing of these kinds is
                    offered to this person again until they change it on their statistics page.
    POST flag       reason (422 when empty), and=skip to skip it as well. 204, or as `skip`.
    POST undo       200: this comparison's fragment with the answer as `given`; 409 (text) when the 10 s are over.
    POST open       the prefetched comparison is on screen now: 204; 409 with the fragment to show instead when it
                    had been taken over.
    GET  prefetch   the comparison after this one and after those of ?having=<ids>, `ahead`; 204 when there is nothing
                    to fetch ahead now.
Every fragment reply has `Seat-Fragment: current | ahead | empty` and, but for `empty`, `Seat-Assignment: <id>`.

Fields of an answer, form-encoded
    client_id (UUID, made once per comparison on screen), active_ms (int), protocol (pk),
    outcome (level | neither_valid | cannot_judge; default level), level (int), confidence (1-3),
    aspect.<key>.level, aspect.<key>.confidence, aspect.<key>.reasons (repeated),
    attribute.<key>.<side>, reasons (repeated), justification, flags (repeated), feedback.<side>, edit.side, edit.text,
    ranking.rank.<side>, ranking.best, ranking.worst, spans (JSON, by script)
or as JSON, which is also the shape of `given` and of a stored draft:
    {"client_id", "active_ms", "protocol", "showing", "outcome", "level", "confidence",
     "aspects": {key: {"level", "confidence", "reasons": [key]}}, "attributes": {key: {"a", "b"}},
     "reasons": [key], "justification", "flags": [key], "feedback": {side: str}, "edit": {"side", "text"},
     "spans": [{"side", "start", "end", "type", "severity", "comment"}], "having": [id],
     "ranking": {"ranks": [int]} or {"best", "worst"} (places from 0), "typed": {"keys", "pasted", "ms"}}
`typed` says how the words came to be; it is kept with the judgment (`provenance`) and is no part of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.functional import SimpleLazyObject
from django.utils.timezone import localtime, now
from django.utils.translation import gettext as _
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_POST, require_safe

from annotator import access, protocols
from annotator.forms import answer, seat
from annotator.models import Assignment, Harm, Judgment, Project, Protocol, Rater, Return, Standards
from annotator.pipeline import admission, assign, judge
from annotator.readings import screen

REASON_MAX = 2_000

# An assignment with what every request needs of its project; the other columns are fetched when asked for.
_OWN = (
    Assignment.objects.select_related("project", "rater")
    .defer("project__guidelines", "project__description", "project__provenance", "project__created_at")
    .defer("rater__source", "rater__external_id", "rater__created_at")
    .annotate(newest_protocol=screen.NEWEST_PROTOCOL)
)


@dataclass(frozen=True)
class Refusal:
    field: str
    reason: str


@dataclass(frozen=True)
class Undo:
    assignment_id: int
    until: datetime


# What is loaded before the first judgment is compressed; replies to judgments are not, to keep their server time.
@gzip_page
@login_required
@require_safe
def annotate(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    rater = access.rater_of(request, project)
    assignment = assign.next_assignment(project, rater, resume=True)
    context = _context(project, rater, assignment, undo=_last_undo(rater))
    if request.htmx:  # type: ignore[attr-defined]
        return _fragment(request, context)
    hindrance = context.get("hindrance")
    if hindrance and hindrance.kind in admission.LEARNED:
        return redirect(hindrance.url)
    return _marked(render(request, "annotate/workbench.html", _page(context, rater)), context)


@login_required
@require_POST
def judgment(request: HttpRequest, assignment_id: int) -> HttpResponse:
    assignment = _mine(request, assignment_id)
    protocol = current = _version(assignment.newest_protocol)  # type: ignore[attr-defined]  # annotated
    sent = seat.Sent()
    try:
        sent = seat.read(request)
        if sent.client_id is None:
            raise protocols.AnswerInvalid("client_id", _("is missing; load the page again"))
        if sent.protocol_id not in (None, current.pk):
            protocol = _protocol(assignment, sent.protocol_id) or current
        stored = judge.submit_judgment(
            assignment,
            sent.given,
            client_id=sent.client_id,
            active_ms=sent.active_ms,
            protocol=protocol,
            typed=sent.typed,
        )
    except protocols.AnswerInvalid as invalid:
        error = Refusal(invalid.field, invalid.reason)
        context = _context(
            assignment.project, assignment.rater, assignment, protocol=protocol, given=sent.given, error=error
        )
        return _fragment(request, context, status=422)
    following = _following(request, assignment, sent, _undo_of(stored))
    if _stands_first(stored, sent):
        following["Seat-Note"] = "first-answer-stands"
    return following


@login_required
@require_POST
def draft(request: HttpRequest, assignment_id: int) -> HttpResponse:
    assignment = _mine(request, assignment_id)
    try:
        sent = seat.read(request)
    except protocols.AnswerInvalid as invalid:
        return JsonResponse({"error": {"field": invalid.field, "reason": invalid.reason}}, status=422)
    definition = _definition_of(assignment.newest_protocol)  # type: ignore[attr-defined]  # annotated
    saved = assign.save_draft(assignment, seat.known(sent.given, definition), sent.active_ms)
    if saved is None:
        return JsonResponse({"error": {"reason": _("This comparison is no longer open for you.")}}, status=409)
    return JsonResponse({"saved_at": saved.isoformat()})


@login_required
@require_POST
def skip(request: HttpRequest, assignment_id: int) -> HttpResponse:
    assignment = _mine(request, assignment_id)
    assign.skip(assignment, _reason(request))
    return _following(request, assignment, _page_has(request), None)


@login_required
@require_POST
def opt_out(request: HttpRequest, assignment_id: int) -> HttpResponse:
    assignment = _mine(request, assignment_id)
    kinds = [kind for kind in request.POST.getlist("kind") if kind in Harm.values] or assignment.comparison.harms
    assign.opt_out(assignment.rater, kinds)
    return _following(request, assignment, _page_has(request), None)


@login_required
@require_POST
def flag(request: HttpRequest, assignment_id: int) -> HttpResponse:
    assignment = _mine(request, assignment_id)
    reason = _reason(request)
    if not reason:
        return JsonResponse({"error": {"field": "reason", "reason": _("say what is wrong with it")}}, status=422)
    assign.flag(assignment, reason)
    if request.POST.get("and") != "skip":
        return HttpResponse(status=204)
    assign.skip(assignment, reason)
    return _following(request, assignment, _page_has(request), None)


@login_required
@require_POST
def undo(request: HttpRequest, assignment_id: int) -> HttpResponse:
    assignment = _mine(request, assignment_id)
    try:
        judge.undo(assignment)
    except judge.UndoTooLate:
        return HttpResponse(
            _("It is too late to undo this judgment."), status=409, content_type="text/plain; charset=utf-8"
        )
    return _fragment(request, _context(assignment.project, assignment.rater, assignment))


@login_required
@require_POST
def open_ahead(request: HttpRequest, assignment_id: int) -> HttpResponse:
    assignment = _mine(request, assignment_id)
    if assignment.opened_at is None and _is_held_back(assignment):
        return _fragment(request, _context(assignment.project, assignment.rater, None), status=409)
    if assign.open_now(assignment, assignment.project):
        return HttpResponse(status=204)
    instead = assign.next_assignment(assignment.project, assignment.rater)
    return _fragment(request, _context(assignment.project, assignment.rater, instead), status=409)


@gzip_page
@login_required
@require_safe
def prefetch(request: HttpRequest, assignment_id: int) -> HttpResponse:
    assignment = _mine(request, assignment_id)
    return _ahead(request, assignment, seat.ids(request.GET.get("having")), None)


# Versions are immutable, so each is read from the database once a process.
@lru_cache(maxsize=256)
def _version(protocol_id: int) -> Protocol:
    return Protocol.objects.get(pk=protocol_id)


def _protocol(assignment: Assignment, protocol_id: int | None) -> Protocol | None:
    """The version that was on screen, when the page says which: one that was in force since the lease was made."""
    versions = assignment.project.protocols
    asked = versions.filter(pk=protocol_id).first() if protocol_id is not None else None
    if asked is None:
        return None
    successor = versions.filter(version__gt=asked.version).order_by("version").first()
    return asked if successor is None or successor.created_at >= assignment.created_at else None


def _mine(request: HttpRequest, assignment_id: int) -> Assignment:
    """The user's own assignment in a project where they may annotate; 404 otherwise."""
    return get_object_or_404(
        _OWN,
        pk=assignment_id,
        rater__user=request.user,
        project__memberships__user=request.user,
        project__memberships__role__in=access.ANNOTATORS,
    )


def _following(request: HttpRequest, done: Assignment, page: seat.Sent, undo: Undo | None) -> HttpResponse:
    """What the page needs after `done`: the next comparison, or the one after that when it shows the next already."""
    if page.alone:
        return HttpResponse(status=204)
    project, rater = done.project, done.rater
    if page.showing is not None:
        shown = Assignment.objects.filter(pk=page.showing, rater=rater).first()
        if shown and assign.open_now(shown, project):
            ahead = _ahead(request, done, page.having, undo)
            return ahead if ahead.status_code == 200 else _to_be_read_first(request, done, undo) or ahead
    return _fragment(request, _context(project, rater, assign.next_assignment(project, rater), undo=undo))


def _to_be_read_first(request: HttpRequest, done: Assignment, undo: Undo | None) -> HttpResponse | None:
    """What must be read or passed, and a pause, come even before the comparison that the page has on screen already."""
    if not _is_held_back(done):
        return None
    return _fragment(request, _context(done.project, done.rater, None, undo=undo))


def _is_held_back(assignment: Assignment) -> bool:
    """A day's limit counts what was fetched ahead already, so it holds nothing of that back."""
    hindrance = admission.hindrance(assignment.project, assignment.rater)
    return hindrance is not None and hindrance.kind != "cap"


def _ahead(request: HttpRequest, done: Assignment, having: tuple[int, ...], undo: Undo | None) -> HttpResponse:
    ahead = assign.next_assignment(done.project, done.rater, prefetch=True, having=having)
    if ahead is None:
        return HttpResponse(status=204)
    return _fragment(request, {**_context(done.project, done.rater, ahead, undo=undo), "ahead": True})


def _context(
    project: Project,
    rater: Rater,
    assignment: Assignment | None,
    *,
    undo: Undo | None = None,
    protocol: Protocol | None = None,
    given: dict[str, Any] | None = None,
    error: Refusal | None = None,
) -> dict[str, Any]:
    context = {"project": project, "undo": undo, "ahead": False}
    if assignment is None:
        hindrance = admission.hindrance(project, rater)
        return {**context, "assignment": None, "hindrance": hindrance, "reason": assign.queue_state(project, rater)}
    shown = screen.read(assignment.comparison_id, a_first=assignment.a_first, shown_order=assignment.shown_order)
    protocol = protocol or _version(shown.newest_protocol)
    given = given or assignment.draft
    return {
        **context,
        "assignment": assignment,
        **on_screen(shown, _definition_of(protocol.pk), given),
        "protocol": protocol,
        "error": error,
    }


def on_screen(shown: screen.Screen, definition: protocols.Definition, given: dict[str, Any]) -> dict[str, Any]:
    """What `_comparison.html` shows of a comparison, whoever shows it."""
    sides = shown.sides if definition.ranks else shown.pair
    return {
        "turns": shown.turns,
        "documents": shown.documents,
        "sides": sides,
        "left": sides[0],
        "right": sides[1],
        "criterion": shown.criterion,
        "warning": shown.warning,
        "harms": tuple(zip(shown.harms, shown.warning, strict=True)),
        "definition": definition,
        "given": given,
        "form": SimpleLazyObject(lambda: answer.build(definition, given, len(sides))),
    }


@lru_cache(maxsize=256)
def _definition_of(protocol_id: int) -> protocols.Definition:
    return protocols.read(_version(protocol_id).definition)


def _fragment(request: HttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    if request.method == "POST" and request.headers.get("Sec-Fetch-Mode") == "navigate":
        return _whole_page(request, context, status)
    return _marked(render(request, _template(context), context, status=status), context)


def _whole_page(request: HttpRequest, context: dict[str, Any], status: int) -> HttpResponse:
    """A form sent by a browser without scripts: the page itself, not a piece of it."""
    if status == 200:
        return redirect("annotate", context["project"].pk)
    rater = context["assignment"].rater
    return _marked(render(request, "annotate/workbench.html", _page(context, rater), status=status), context)


def _page(context: dict[str, Any], rater: Rater) -> dict[str, Any]:
    return {
        **context,
        "tab": "annotate",
        "fragment": _template(context),
        "done_today": _done_today(rater),
        "returns": Return.objects.filter(rater=rater, answered_at=None).count(),
        "break_after": Standards.of(context["project"]).break_after_minutes,
    }


def _template(context: dict[str, Any]) -> str:
    return "annotate/_comparison.html" if context["assignment"] else "annotate/_queue_empty.html"


def _marked(response: HttpResponse, context: dict[str, Any]) -> HttpResponse:
    assignment = context["assignment"]
    response["Seat-Fragment"] = "empty" if assignment is None else "ahead" if context["ahead"] else "current"
    if assignment is not None:
        response["Seat-Assignment"] = str(assignment.pk)
    response["Cache-Control"] = "no-store"
    return response


def _stands_first(stored: Judgment, sent: seat.Sent) -> bool:
    """Another device had answered before: what was sent is kept, and does not count. Sent again it is found itself."""
    return stored.client_id != sent.client_id or "second_answer_to" in stored.provenance


def _undo_of(stored: Judgment) -> Undo | None:
    if stored.assignment_id is None or not stored.is_current or stored.effective_at <= now():
        return None
    return Undo(stored.assignment_id, stored.effective_at)


def _last_undo(rater: Rater) -> Undo | None:
    """After a reload the last judgment can still be taken back."""
    last = Judgment.objects.filter(rater=rater).order_by("-created_at").first()
    return _undo_of(last) if last else None


def _done_today(rater: Rater) -> int:
    midnight = localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    return Judgment.objects.filter(rater=rater, created_at__gte=midnight).given_in_seat().count()


def _reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "").replace("\x00", "").strip()[:REASON_MAX]


def _page_has(request: HttpRequest) -> seat.Sent:
    showing = seat.ids(request.POST.get("showing"))
    return seat.Sent(
        showing=showing[0] if showing else None,
        having=seat.ids(request.POST.get("having")),
        alone=request.POST.get("alone") == "true",
    )
