"""What a signed link leads to."""

from __future__ import annotations

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotator.readings import links
from annotator.sending import send


@never_cache
@require_safe
def linked_download(request: HttpRequest, token: str) -> HttpResponseBase:
    """What a signed link leads to, for anybody who has it; one that is too old or withdrawn does not exist."""
    found = links.follow(token)
    if found is None:
        raise Http404
    return send(request, found.export, found.name)
