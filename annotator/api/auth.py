"""Who asks, and what they may: a bearer token with a scope, and its person's role in the project at this moment."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja.security import HttpBearer

from annotator import access
from annotator.api.problems import Refused
from annotator.models import Membership, Project, Token
from annotator.pipeline import tokens

Scope = Token.Scope


class Scoped(HttpBearer):
    """Lets tokens in that have one of `scopes`. Cookies are never looked at, so no other site can ask in our name."""

    def __init__(self, *scopes: str) -> None:
        super().__init__()
        self.scopes = scopes

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        found = tokens.find(token.strip())
        if found is None:
            raise Refused(401, _("The token is unknown, revoked or over. Make a new one."), WWW_Authenticate="Bearer")
        if not set(self.scopes) & set(found.scopes):
            words = _("The token has no scope %(scopes)s.") % {"scopes": " / ".join(self.scopes)}
            raise Refused(403, words)
        request.user = found.user
        return found


READ = Scoped(Scope.READ)
INGEST = Scoped(Scope.INGEST)
EXPORT = Scoped(Scope.EXPORT)
ROUTE = Scoped(Scope.ROUTE)
LABEL = Scoped(Scope.LABEL)
# Runs are asked for by name, and by the plan that is approved.
STOP = Scoped(Scope.LABEL, Scope.ROUTE)
WEBHOOKS = Scoped(Scope.WEBHOOKS)
# Whoever may ask for work may follow it.
FOLLOW = Scoped(Scope.READ, Scope.INGEST, Scope.EXPORT, Scope.ROUTE, Scope.LABEL)
WORK = Scoped(Scope.INGEST, Scope.EXPORT, Scope.ROUTE, Scope.LABEL)


def token_of(request: HttpRequest) -> Token:
    token: Token = request.auth  # type: ignore[attr-defined]
    return token


def project_of(request: HttpRequest, project_id: int, roles: tuple[str, ...] = access.READERS) -> Project:
    """The project, when the token reaches it and its person has one of `roles` there now.

    Raises Refused: 404 for a project that is not theirs, 403 for one where their role does not suffice.
    """
    token = token_of(request)
    mine = Membership.objects.filter(user=token.user, project=project_id).select_related("project").first()
    if mine is None or token.project_id not in (None, project_id):
        raise Refused(404, _("There is no such project, or it is not yours."))
    if mine.role not in roles:
        words = _("Your role in this project is %(role)s, which may not do this.")
        raise Refused(403, words % {"role": mine.get_role_display()})
    return mine.project
