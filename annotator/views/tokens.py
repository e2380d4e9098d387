"""Tokens of the person who is logged in: make one, see it once, revoke it."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotator.forms.tokens import TokenForm
from annotator.models import Token, User
from annotator.pipeline import tokens as steps

SHOWN = 200


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """GET: one's tokens and the form. POST: make one; its text stands on the page that answers, and nowhere else."""
    user = request.user
    assert isinstance(user, User)
    form = TokenForm(request.POST if request.method == "POST" else None, user)
    if not (form.is_bound and form.is_valid()):
        return _page(request, user, form, status=422 if form.is_bound else 200)
    asked = form.cleaned_data
    made, text = steps.make(user, asked["name"], asked["scopes"], project=asked["project"], lasts=asked["lasts"])
    return _page(request, user, TokenForm(None, user), made=made, text=text)


def _page(request: HttpRequest, user: User, form: TokenForm, status: int = 200, **made: object) -> HttpResponse:
    newest = Token.objects.filter(user=user).select_related("project").order_by("-pk")[:SHOWN]
    rows = [{"token": token, "scopes": [Token.Scope(scope).label for scope in token.scopes]} for token in newest]
    context = {"form": form, "rows": rows, "now": now(), **made}
    return render(request, "tokens/tokens.html", context, status=status)


@login_required
@require_POST
def token_revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)
    token = get_object_or_404(Token.objects.filter(user=user), pk=token_id)
    steps.revoke(token, user)
    messages.success(request, _("“%(name)s” is revoked: programs that use it are refused.") % {"name": token.name})
    return redirect("tokens")
