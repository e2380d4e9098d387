"""The protocol of a project: what it asks, its versions and what changed between them, and the lead's editor.

The editor's form is sent whole with every button: `do` is "publish", "json" or "rows" (the other view of the same),
or what happens to a row ("aspects.add", "aspects.1.up": see forms/protocol_tree.py). `base` is the version that is
revised, `preset` where it came from. htmx gets the fragment `_form.html` and the preview beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access
from annotator import protocols as rules
from annotator.forms import protocol_editor, protocol_tree
from annotator.forms.imports import PRESET_WORDS
from annotator.models import Project, Protocol
from annotator.pipeline import publish
from annotator.protocols import PRESETS, Fault
from annotator.readings import protocols as reading
from annotator.readings import screen
from annotator.views.annotate import on_screen


class Edited(NamedTuple):
    """What is in the editor: a definition with its faults, as rows (`tree`) or as the JSON that was `written`."""

    definition: Any
    faults: list[Fault]
    tree: protocol_tree.Tree | None
    written: str
    preset: str
    base: int
    focus: str = ""


@login_required
@require_safe
def protocol(request: HttpRequest, project_id: int) -> HttpResponse:
    """The version in force (or `version`), all versions, and what `new` asks otherwise than `old`."""
    project = access.project_or_404(request, project_id, access.READERS)
    versions = list(project.protocols.select_related("created_by").order_by("-version"))
    shown, old, new = (_of(versions, request.GET.get(name, "")) for name in ("version", "old", "new"))
    shown = shown or (versions[0] if versions else None)
    context = {
        "project": project,
        "tab": "protocol",
        "versions": versions,
        "shown": shown,
        "summary": reading.summary(rules.read(shown.definition)) if shown else [],
        "old": old,
        "new": new,
        "changes": reading.changes(rules.read(old.definition), rules.read(new.definition)) if old and new else None,
    }
    return render(request, "protocols/protocol.html", context)


def _of(versions: list[Protocol], number: str) -> Protocol | None:
    return next((each for each in versions if str(each.version) == number), None)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def protocol_edit(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    if request.method != "POST":
        return _editor(request, project, _begun(request, project))
    edited, do = _sent(request), request.POST.get("do", "")
    if do == "publish":
        return _publish(request, project, edited)
    if do in ("json", "rows"):
        edited = _other_view(edited, do)
    elif edited.tree is not None:
        focus = protocol_tree.changed(edited.tree, do)
        definition = protocol_tree.definition_of(edited.tree)
        # A row just added is empty, and nobody needs to be told.
        edited = edited._replace(focus=focus, definition=definition, faults=[])
    return _editor(request, project, edited)


@login_required
@require_POST
def protocol_preview(request: HttpRequest, project_id: int) -> HttpResponse:
    """What annotators would see, and what would change; nothing is stored."""
    project = access.project_or_404(request, project_id, access.LEADS)
    edited = _sent(request)
    return render(request, "protocols/_preview.html", _shown(project, edited))


def _begun(request: HttpRequest, project: Project) -> Edited:
    """A preset, an earlier version, or the one in force."""
    newest = project.protocols.order_by("-version").first()
    base, preset = newest.version if newest else 0, request.GET.get("from", "")
    chosen = newest
    if request.GET.get("version"):
        chosen = _of(list(project.protocols.all()), request.GET["version"])
        if chosen is None:
            raise Http404
    if preset in PRESETS or chosen is None:
        preset = preset if preset in PRESETS else "plain"
        return _in_rows(PRESETS[preset], preset, base)
    return _in_rows(chosen.definition, chosen.preset, base)


def _in_rows(definition: dict[str, Any], preset: str, base: int) -> Edited:
    return Edited(definition, [], protocol_tree.tree_of(rules.read(definition)), "", preset, base)


def _sent(request: HttpRequest) -> Edited:
    given = request.POST
    preset = given.get("preset", "") if given.get("preset") in PRESETS else "own"
    base = int(given["base"]) if given.get("base", "").isdecimal() and len(given["base"]) < 9 else 0
    if "written" in given:
        definition, faults = protocol_tree.read_json(given["written"])
        return Edited(definition, faults, None, given["written"], preset, base)
    tree = protocol_tree.tree_sent(given)
    definition = protocol_tree.definition_of(tree)
    return Edited(definition, rules.faults(definition), tree, "", preset, base)


def _other_view(edited: Edited, wanted: str) -> Edited:
    """JSON that cannot be read as rows stays JSON, with what is wrong with it."""
    if wanted == "json":
        return edited._replace(tree=None, written=protocol_tree.as_json(edited.definition))
    if edited.faults:
        return edited
    return _in_rows(edited.definition, edited.preset, edited.base)


def _publish(request: HttpRequest, project: Project, edited: Edited) -> HttpResponse:
    if edited.definition is None:
        return _editor(request, project, edited, 422)
    try:
        made = publish.publish(
            project,
            edited.definition,
            preset=edited.preset,
            author=request.user,  # type: ignore[arg-type]
            base=edited.base,
        )
    except publish.Unfit as unfit:
        return _editor(request, project, edited._replace(faults=unfit.faults), 422)
    except publish.Outdated as outdated:
        words = _(
            "%(who)s published version %(n)d meanwhile; the changes below are against it. Look, then publish again."
        )
        who = outdated.newest.created_by or _("Somebody")
        fault = Fault("", "", words % {"who": who, "n": outdated.newest.version})
        return _editor(request, project, edited._replace(faults=[fault], base=outdated.newest.version), 422)
    if made.version == edited.base:
        messages.info(request, _("Nothing was changed: version %(n)d asks the same.") % {"n": made.version})
    else:
        words = _("Version %(n)d is published: annotators are asked by it from their next comparison on.")
        messages.success(request, words % {"n": made.version})
    return redirect("protocol", project.pk)


def _editor(request: HttpRequest, project: Project, edited: Edited, status: int = 200) -> HttpResponse:
    context = _shown(project, edited)
    whole = not request.htmx  # type: ignore[attr-defined]
    return render(request, f"protocols/{'edit' if whole else '_swap'}.html", context, status=status)


def _shown(project: Project, edited: Edited) -> dict[str, Any]:
    newest = project.protocols.order_by("-version").first()
    fit = not rules.faults(edited.definition)
    return {
        "project": project,
        "tab": "protocol",
        "edited": edited,
        "presets": [(name, PRESET_WORDS.get(name, name)) for name in PRESETS],
        "newest": newest,
        "sections": protocol_editor.sections(edited.tree, edited.faults, edited.focus) if edited.tree else [],
        "faults": [(fault, protocol_editor.identifier(fault.path) if fault.path else "") for fault in edited.faults],
        "running": reading.running(project, newest),
        "seen": _seen(project, edited.definition) if fit else None,
        "changes": reading.changes(rules.read(newest.definition), rules.read(edited.definition))
        if fit and newest
        else [],
        "scale_changed": bool(fit and newest and _scale(newest.definition) != _scale(edited.definition)),
    }


def _scale(definition: dict[str, Any]) -> list[int]:
    return [level.value for level in rules.read(definition).levels]


def _seen(project: Project, stored: dict[str, Any]) -> dict[str, Any] | None:
    """The sample comparison as the seat shows it; None while the project has none."""
    definition = rules.read(stored)
    found = reading.sample(project, definition)
    if found is None:
        return {"definition": definition, "sides": (), "given": {}}
    shown = screen.read(found, a_first=True)
    return on_screen(shown, definition, {})
