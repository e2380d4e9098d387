"""Files of batch interfaces: asking for one, downloading it, uploading what came back, giving up what did not."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access, readings
from annotator.forms.batches import FileForm, ResultsForm
from annotator.models import BatchFile, Labeler, Project
from annotator.pipeline import batches as step
from annotator.pipeline import disclosures, ledger, versions
from annotator.pipeline.work import StepRefused


def _judge_or_404(project: Project, labeler_id: int) -> Labeler:
    return get_object_or_404(project.labelers.judging().select_related("project"), pk=labeler_id)


def _file_or_404(request: HttpRequest, project_id: int, labeler_id: int, file_id: int) -> BatchFile:
    project = access.project_or_404(request, project_id, access.LEADS)
    files = BatchFile.objects.select_related("labeler_version__labeler__project", "reservation")
    mine = files.filter(labeler_version__labeler__project=project, labeler_version__labeler=labeler_id)
    return get_object_or_404(mine, pk=file_id)


@login_required
@require_http_methods(["GET", "POST"])
def batches(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    labeler = _judge_or_404(project, labeler_id)
    if labeler.kind != versions.JUDGE:
        messages.error(request, _("Only judges behind an address can be asked by file."))
        return redirect("labeler", project.pk, labeler.pk)
    form = FileForm(request.POST if request.method == "POST" else None, is_free=labeler.is_free)
    if request.method == "POST" and form.is_valid():
        try:
            _file, job = step.request_file(labeler, **form.cleaned_data, by=request.user)  # type: ignore[arg-type]
        except StepRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect("job", project.pk, job.pk)
    context = {
        "project": project,
        "tab": "labelers",
        "labeler": labeler,
        "form": form,
        "rows": readings.batches.rows(labeler),
        "free": ledger.available(project),
        "missing": disclosures.missing(labeler),
        "results": ResultsForm(),
    }
    return render(request, "labelers/batches.html", context, status=422 if request.method == "POST" else 200)


@login_required
@require_safe
def batch_download(request: HttpRequest, project_id: int, labeler_id: int, file_id: int) -> HttpResponseBase:
    """The file, written while it is sent: it holds what is still out."""
    file = _file_or_404(request, project_id, labeler_id, file_id)
    labeler = file.labeler_version.labeler
    if file.state == BatchFile.State.PREPARING:
        messages.error(request, _("This file is not out."))
        return redirect("labeler_batches", project_id, labeler_id)
    if disclosures.missing(labeler, file.labeler_version):
        messages.error(request, _("Nothing may leave for this endpoint: allow it first."))
        return redirect("labeler_disclosure", project_id, labeler.pk)
    answer = StreamingHttpResponse(step.lines(file), content_type="application/jsonl")
    answer.headers["Content-Disposition"] = f'attachment; filename="requests-{file.pk}.jsonl"'
    return answer


@login_required
@require_POST
def batch_results(request: HttpRequest, project_id: int, labeler_id: int, file_id: int) -> HttpResponse:
    """What came back, stored aside; a worker checks it and takes it in."""
    file = _file_or_404(request, project_id, labeler_id, file_id)
    form = ResultsForm(request.POST, request.FILES)
    if file.state != BatchFile.State.OUT or not form.is_valid():
        words = _("Choose the results file.") if file.state == BatchFile.State.OUT else _("This file is not out.")
        messages.error(request, words)
        return redirect("labeler_batches", project_id, labeler_id)
    address = default_storage.save(f"batches/{project_id}/{uuid.uuid4()}.jsonl", form.cleaned_data["file"])
    job = step.request_results(file, address, by=request.user)  # type: ignore[arg-type]
    return redirect("job", project_id, job.pk)


@login_required
@require_POST
def batch_close(request: HttpRequest, project_id: int, labeler_id: int, file_id: int) -> HttpResponse:
    file = _file_or_404(request, project_id, labeler_id, file_id)
    over = step.close(file)
    words = ngettext(
        "%(n)s call was given up; its money is free.", "%(n)s calls were given up; their money is free.", over
    )
    messages.success(request, words % {"n": over})
    return redirect("labeler_batches", project_id, labeler_id)
