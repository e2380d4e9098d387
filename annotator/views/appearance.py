"""How pages look and speak: colours are a choice of this browser, the language one of the person."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from annotator.accounts import keep
from annotator.models import User

THEMES = ("light", "dark")


@login_required
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    response = _back(request)
    if request.POST.get("theme") in THEMES:
        keep(response, "theme", request.POST["theme"])
    else:
        response.delete_cookie("theme")
    return response


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Also for people who have not logged in: they must be able to read the login page."""
    response, chosen = _back(request), request.POST.get("language", "")
    if chosen in dict(settings.LANGUAGES):
        keep(response, settings.LANGUAGE_COOKIE_NAME, chosen)
        if request.user.is_authenticated:
            User.objects.filter(pk=request.user.pk).update(language=chosen)
    return response


def _back(request: HttpRequest) -> HttpResponse:
    following = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(following, {request.get_host()}, require_https=request.is_secure())
    return redirect(following if is_ours else "projects")
