"""Keys of endpoints: sealed as soon as they are typed, opened only where a call is made, sent only where they belong.

Sealed with Fernet (AES-128-CBC, HMAC-SHA256). The newest of the site's keys seals and every one of them opens, so keys
can be changed while the site runs: put the new one first, then `manage.py rotate_keys`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from annotator.models import Credential, Labeler, LabelerVersion, Project, Push, User, Webhook
from annotator.pipeline.work import StepRefused
from labelers import endpoint
from labelers.keys import sendable

# Keys of today's deployments stay readable as long as this word does not change.
PURPOSE = b"switchyard: keys of endpoints"


@dataclass(frozen=True)
class Key:
    """The key a lead chose: one just typed, or one that is stored. It never shows itself."""

    typed: str = field(default="", repr=False)
    stored: Credential | None = None


NO_KEY = Key()


@sensitive_variables()
def seal(text: str) -> bytes:
    """`text` encrypted with the site's newest key."""
    return _box().encrypt(text.encode())


@sensitive_variables()
def open_sealed(sealed: bytes | memoryview) -> str:
    """What was sealed. Raises StepRefused when none of the site's keys opens it."""
    try:
        return _box().decrypt(bytes(sealed)).decode()
    except InvalidToken:
        raise StepRefused(
            _(
                "A stored key cannot be opened: the site's encryption keys have changed. The operator can bring the "
                "old one back at the end of ENCRYPTION_KEYS; else enter the key of the endpoint again."
            )
        ) from None


@sensitive_variables("text", "key")
def store(project: Project, base_url: str, text: str, *, by: User | None) -> Credential:
    """Keep a key for the endpoint at `base_url` and nothing else.

    Raises StepRefused where it would travel in clear, and for what cannot be a key.
    """
    check_way(base_url)
    key = _sendable(text)
    place = endpoint.place(base_url)
    number = project.credentials.order_by("-id").values_list("id", flat=True).first() or 0
    return Credential.objects.create(
        project=project, name=f"{place} {number + 1}", place=place, sealed=seal(key), created_by=by
    )


@sensitive_variables()
def give(labeler: Labeler, version: LabelerVersion, key: Key, by: User | None) -> None:
    """Set the labeler's key, or a candidate's: the one in use keeps its own. In the caller's transaction.

    One that nobody uses any more is forgotten.
    """
    own = addresses(version.parameters)
    credential = store(labeler.project, own[0], key.typed, by=by) if key.typed else key.stored
    holder = labeler if version.accepted_at else version
    holder.credential = credential
    holder.save(update_fields=["credential"])
    forget_unused(labeler.project)


def key_for(version: LabelerVersion, base_url: str) -> str:
    """The key to send to `base_url`, one of the version's endpoints; "" where it has none there.

    A candidate has its own, all that were taken into use have their labeler's.

    For workers, at call time. Raises StepRefused when the key was entered for a place that this version does not call
    (its endpoint has changed), or cannot be opened.
    """
    credential = version.labeler.credential if version.accepted_at else version.credential
    place = endpoint.place(base_url)
    if credential is None or (credential.place != place and credential.place in places(version)):
        return ""
    if credential.place != place:
        raise StepRefused(
            _("The key of %(name)s was entered for %(place)s and is not sent to %(other)s; enter one for it.")
            % {"name": version.labeler.name, "place": credential.place, "other": place}
        )
    check_way(base_url)
    return _sendable(open_sealed(credential.sealed))


@sensitive_variables("text")
def _sendable(text: str) -> str:
    """The key in `text`. Raises StepRefused, in words that do not hold it."""
    try:
        return sendable(text)
    except ValueError:
        raise StepRefused(_("This is no key: a key is made of visible ASCII characters, without spaces.")) from None


def check_way(base_url: str) -> None:
    """Raises StepRefused where somebody on the way could read a key, unless the operator allows it."""
    if endpoint.keeps_secrets(base_url) or settings.LABELER_KEYS_UNENCRYPTED:
        return
    raise StepRefused(
        _(
            "A key is not sent to %(place)s without encryption: give an address that begins with https://. The "
            "operator of this site can allow it: LABELER_KEYS_UNENCRYPTED=yes."
        )
        % {"place": endpoint.place(base_url)}
    )


def places(version: LabelerVersion) -> list[str]:
    """Host and port of every endpoint a version calls, each once, in a fixed order."""
    return sorted({endpoint.place(url) for url in addresses(version.parameters)})


def addresses(parameters: Mapping[str, Any]) -> list[str]:
    """Every endpoint in a version's parameters, in the order in which they stand there."""
    return list(dict.fromkeys(_addresses(parameters)))


def forget_unused(project: Project) -> int:
    """Delete the project's keys that no labeler, no candidate and no push uses any more; gives how many."""
    pushed = Push.objects.filter(credential=OuterRef("pk"))
    return project.credentials.filter(~Exists(pushed), labelers=None, candidates=None).delete()[0]


@transaction.atomic
@sensitive_variables()
def rotate() -> int:
    """Seal every stored key anew with the newest key; gives how many. Raises StepRefused, then nothing has changed."""
    return _seal_anew(Credential.objects.all()) + _seal_anew(Webhook.objects.all())


def _seal_anew(stored: QuerySet[Any]) -> int:
    rows = list(stored.select_for_update().order_by("pk"))
    for row in rows:
        row.sealed = seal(open_sealed(row.sealed))
    stored.bulk_update(rows, ["sealed"])
    return len(rows)


def _addresses(value: Any) -> Iterator[str]:
    """Every base_url in a version's parameters: a judge has one, a pair of models may have two."""
    if isinstance(value, Mapping):
        if isinstance(value.get("base_url"), str) and value["base_url"]:
            yield value["base_url"]
        for inner in value.values():
            yield from _addresses(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _addresses(inner)


def _box() -> MultiFernet:
    """Without ENCRYPTION_KEYS the secret key serves; with them it still opens what it sealed before."""
    return MultiFernet([_fernet(secret) for secret in (*settings.ENCRYPTION_KEYS, settings.SECRET_KEY)])


@cache
def _fernet(secret: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
