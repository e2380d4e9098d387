"""“About you”: what an annotator may tell of themselves for the data set, and takes back with one click.

Nobody else sees one person's answers on any page: they leave in exports alone, by the rules of `formats/published`.
"""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from annotator import access
from annotator.formats.published.per_rater import SMALLEST
from annotator.forms.profile import CONSENT, ProfileForm
from annotator.models import Profile, Project


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def my_profile(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    rater = access.rater_of(request, project)
    profile = Profile.objects.filter(rater=rater).first()
    if request.method != "POST":
        return _page(request, project, profile, ProfileForm(profile=profile))
    form = ProfileForm(request.POST, profile=profile)
    if not form.is_valid():
        return _page(request, project, profile, form, 422)
    (profile or Profile(rater=rater)).agree(form.about, form.cleaned_data["words"])
    messages.success(request, _("Saved, with the words you agreed to. You can withdraw here at any time."))
    return redirect("my_profile", project.pk)


def _page(
    request: HttpRequest, project: Project, profile: Profile | None, form: ProfileForm, status: int = 200
) -> HttpResponse:
    context = {
        "project": project,
        "tab": "annotate",
        "profile": profile,
        "form": form,
        "words": CONSENT,
        "smallest": SMALLEST,
    }
    return render(request, "profile/profile.html", context, status=status)


@login_required
@require_POST
def my_profile_withdraw(request: HttpRequest, project_id: int) -> HttpResponse:
    """Twice is once: what was withdrawn stays so."""
    project = access.project_or_404(request, project_id, access.ANNOTATORS)
    profile = Profile.objects.agreed().filter(rater=access.rater_of(request, project)).first()
    if profile:
        profile.withdraw()
        messages.success(
            request, _("Withdrawn. Your answers are deleted here, and no export that holds them is given out any more.")
        )
    return redirect("my_profile", project.pk)
