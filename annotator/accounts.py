from __future__ import annotations

from datetime import timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from annotator.models import User


class ClosedAccountAdapter(DefaultAccountAdapter):
    """People are invited by a lead or the administrator; nobody signs up."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def post_login(self, request: HttpRequest, user: User, **more: Any) -> HttpResponse:
        """The language a person once chose goes with them to every browser."""
        response = super().post_login(request, user, **more)
        if user.language in dict(settings.LANGUAGES):
            keep(response, settings.LANGUAGE_COOKIE_NAME, user.language)
        return response


def keep(response: HttpResponse, name: str, value: str) -> None:
    """A choice this browser remembers for a year."""
    response.set_cookie(
        name,
        value,
        max_age=timedelta(days=365),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
