"""Tokens: a person's leave for a program to act for them. The site keeps a digest; the token itself is shown once."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Q
from django.utils.timezone import now

from annotator.models import KeptAnswer, Project, Token, User

logger = logging.getLogger(__name__)

PREFIX = "sw_"
# Characters of it, the prefix among them, by which its owner knows it again.
SHOWN = 10
# `last_used_at` is written at most so often: a program that asks a thousand times a minute writes once.
USED_EVERY = timedelta(minutes=1)
# How long the same request with the same key gets the same answer.
ANSWERS_KEPT = timedelta(days=7)


def make(
    user: User,
    name: str,
    scopes: Sequence[str],
    *,
    project: Project | None = None,
    lasts: timedelta | None = None,
) -> tuple[Token, str]:
    """(the stored token, its text). The text is nowhere else: whoever loses it makes another one."""
    text = PREFIX + secrets.token_urlsafe(32)
    token = Token.objects.create(
        user=user,
        project=project,
        name=name,
        start=text[:SHOWN],
        digest=digest(text),
        scopes=list(scopes),
        expires_at=now() + lasts if lasts else None,
    )
    logger.info("%s made token %s (%s)", user.get_username(), token.pk, ", ".join(scopes))
    return token, text


def digest(text: str) -> str:
    """What is stored: sha256. 32 random bytes need no salt and no slow hash, and are found by index in one step."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def find(text: str) -> Token | None:
    """The token, when it is in force and its person's account is open.

    It is looked up by digest, so how long the search takes tells nothing about the text of a token that exists.
    """
    token = Token.objects.select_related("user").filter(digest=digest(text), revoked_at=None).first()
    if token is None or not token.user.is_active or (token.expires_at and token.expires_at <= now()):
        return None
    _note_use(token)
    return token


def _note_use(token: Token) -> None:
    before = now() - USED_EVERY
    if token.last_used_at is None or token.last_used_at < before:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=before)
        Token.objects.filter(stale, pk=token.pk).update(last_used_at=now())


def revoke(token: Token, by: User) -> None:
    """From now on it opens nothing. The row stays, so that one can see what there was."""
    if Token.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now()):
        logger.info("%s revoked token %s of %s", by.get_username(), token.pk, token.user.get_username())


def forget_answers() -> int:
    """Remove kept answers that are too old to be asked for again; gives how many."""
    return KeptAnswer.objects.filter(created_at__lt=now() - ANSWERS_KEPT).delete()[0]
