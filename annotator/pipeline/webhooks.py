"""Webhooks: what happened is written down in the transaction that makes it true, then told until it is taken.

A delivery is a row, so nothing is lost: a worker takes the due ones by pushing their next attempt away, posts them, and
stores how that went. One that dies between posting and storing leaves a delivery that is posted again, with the same
key; receivers tell a second one by it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import secrets
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import responses
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.utils.http import parse_http_date_safe
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from annotator.models import Delivery, Project, User, Webhook
from annotator.pipeline import keys, work
from labelers import endpoint
from labelers.transport import Transport

TASK = "annotator.pipeline.webhooks.run_deliveries"
# The event of a lead who tries a webhook; every webhook takes it.
TEST = "test"
PREFIX = "swh_"
# Seconds for one attempt with all of it, and bytes of an answer that may come at all; only its head is read.
TIMEOUT, MOST = 10.0, 64 * 2**10
# As many are posted at once, of as many webhooks: one that hangs keeps the others waiting for TIMEOUT at most.
AT_ONCE = 8
# What a worker that dies keeps to itself: its deliveries are due again after that.
LEASE = timedelta(minutes=2)
# Pauses grow from the first to the longest; with JITTER of them added at random, 12 attempts take about two days.
FIRST, LONGEST, GROWTH, JITTER = 10.0, 6 * 3600.0, 6, 0.2
ATTEMPTS = 12
# A receiver may ask for a longer pause (Retry-After), up to this many seconds.
LONGEST_ASKED = 24 * 3600.0
# Ended deliveries are kept for so long; those given up longer, for they may still be sent again.
KEPT = {Delivery.State.DELIVERED: timedelta(days=30), Delivery.State.GIVEN_UP: timedelta(days=90)}
# As many of each are removed in one round of the tick.
SWEPT = 5000
# Judgments that become final within that time are told together.
GATHERED = timedelta(seconds=10)
# Of a project: each is a call for every event.
MOST_WEBHOOKS = 20
# Given up so often in a row, a webhook is shown as failing.
FAILING = 3


def announce(project: Project, event: str, data: Mapping[str, Any], *, told: Collection[int] = ()) -> int:
    """Tell the project's webhooks what happened, in the transaction that makes it true; gives how many are told.

    `data`: ids, counts and links, never texts. Webhooks in `told` are left out. To be called late in the transaction.
    """
    made = Delivery.objects.announce(project.pk, event, data, told=told)
    if made:
        transaction.on_commit(lambda: work.nudge(TASK))
    return made


def announce_judgments(project_id: int, ids: Sequence[int]) -> None:
    """These judgments became final. Told together with those of the same seconds, not one by one.

    In the transaction that takes them in, one at a time in the site (`aggregate`).
    """
    event = Webhook.Event.JUDGED
    if not Webhook.objects.filter(project=project_id, is_active=True, events__contains=[event]).exists():
        return
    data = {
        **{"judgments": len(ids), "first": min(ids), "last": max(ids)},
        "url": f"/api/v1/projects/{project_id}/judgments?after={min(ids) - 1}",
    }
    # What was tried already, or may be at this moment, keeps its content: receivers know it by its key.
    gathering = Delivery.objects.filter(
        **{"webhook__project": project_id, "webhook__is_active": True, "event": event},
        **{"state": Delivery.State.WAITING, "attempts": 0, "error": "", "status": None},
    )
    told = set()
    for delivery in gathering.select_for_update(of=("self",), skip_locked=True):
        if delivery.webhook_id not in told:
            told.add(delivery.webhook_id)
            delivery.payload = _together(delivery.payload, data)
            delivery.save(update_fields=["payload"])
    Delivery.objects.announce(project_id, event, data, wait=GATHERED, told=told)


def _together(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    first = one if one["first"] <= other["first"] else other
    return {
        "judgments": one["judgments"] + other["judgments"],
        "first": first["first"],
        "last": max(one["last"], other["last"]),
        "url": first["url"],
    }


# Webhooks


@sensitive_variables("secret")
def add(project: Project, url: str, events: Sequence[str], by: User | None) -> tuple[Webhook, str]:
    """(the webhook, its secret). The secret is sealed and shown by no page again. Raises StepRefused.

    The address is checked as far as it says itself where it leads; its host's name is looked up at every attempt.
    """
    try:
        _check_written(url)
    except endpoint.EndpointRefused as refusal:
        words = _("This address cannot be used: %(reason)s") % {"reason": refusal}
        raise work.StepRefused(words, errors=[{"line": None, "field": "url", "reason": str(refusal)}]) from None
    if project.webhooks.count() >= MOST_WEBHOOKS:
        raise work.StepRefused(_("A project has at most %(n)s webhooks; remove one first.") % {"n": MOST_WEBHOOKS})
    secret = PREFIX + secrets.token_urlsafe(32)
    chosen = [event for event in Webhook.Event.values if event in events]
    webhook = Webhook.objects.create(project=project, url=url, events=chosen, sealed=keys.seal(secret), created_by=by)
    return webhook, secret


def check(url: str) -> tuple[str, ...]:
    """The addresses behind `url`, looked up now. Raises EndpointRefused where the site may not call it."""
    _check_written(url)
    parts = urlsplit(url)
    # A query says what to do there, not where it is.
    plain = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return endpoint.check(plain, allow_private=settings.LABELER_PRIVATE_ENDPOINTS)


def _check_written(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise endpoint.EndpointRefused(f"{url!r} is not an address: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise endpoint.EndpointRefused("give an address that begins with https:// or http://")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise endpoint.EndpointRefused("leave user name, password and everything from # on out of the address")


@transaction.atomic
def remove(webhook: Webhook) -> None:
    """Forget the webhook and its deliveries. Waits for what is announcing to it at this moment."""
    for locked in Webhook.objects.filter(pk=webhook.pk).select_for_update():
        locked.delete()


def switch(webhook: Webhook, on: bool) -> None:
    """Off: it is told nothing that happens from now on; what waits is kept and goes out when it is on again.

    Waits for what is announcing to it at this moment.
    """
    Webhook.objects.filter(pk=webhook.pk).update(is_active=on)
    if on:
        transaction.on_commit(lambda: work.nudge(TASK))


@transaction.atomic
def send_test(webhook: Webhook) -> Delivery:
    """A delivery of the event `test` to this webhook, due at once."""
    delivery = Delivery.objects.create(
        webhook=webhook, event=TEST, key=uuid.uuid4(), payload={"webhook": webhook.pk}, next_at=now()
    )
    transaction.on_commit(lambda: work.nudge(TASK))
    return delivery


@transaction.atomic
def send_again(delivery: Delivery) -> None:
    """From the beginning, with the same key and content, whatever became of it before."""
    Delivery.objects.filter(pk=delivery.pk).update(state=Delivery.State.WAITING, attempts=0, next_at=now())
    delivery.refresh_from_db()
    transaction.on_commit(lambda: work.nudge(TASK))


def is_failing(webhook: Webhook) -> bool:
    """Whether the last deliveries that ended were all given up."""
    ended = webhook.deliveries.exclude(state=Delivery.State.WAITING).order_by("-pk")
    states = list(ended.values_list("state", flat=True)[:FAILING])
    return len(states) == FAILING and set(states) == {Delivery.State.GIVEN_UP}


# Deliveries


@dataclass(frozen=True)
class Outcome:
    """The receiver's status, or what kept the call from arriving, in words."""

    status: int | None
    error: str = ""
    # Seconds that the receiver asked to be left alone for.
    rest: float = 0.0

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def body(delivery: Delivery) -> bytes:
    """What is posted: the same bytes at every attempt."""
    content = {
        "event": delivery.event,
        "delivery": str(delivery.key),
        "project": delivery.webhook.project_id,
        "created_at": delivery.created_at.isoformat(),
        "data": delivery.payload,
    }
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


@sensitive_variables("secret")
def sign(secret: str, timestamp: str, content: bytes) -> str:
    """The header Switchyard-Signature: over the time as well, so that an old call cannot be played again."""
    signed = hmac.new(secret.encode(), timestamp.encode() + b"." + content, hashlib.sha256)
    return f"v1={signed.hexdigest()}"


def claim() -> list[Delivery]:
    """Take due deliveries, at most one of each webhook; nobody else gets them before LEASE is over."""
    heads = Delivery.objects.due().order_by("webhook_id", "next_at", "pk").distinct("webhook_id")
    with transaction.atomic():
        due = Delivery.objects.due().filter(pk__in=list(heads.values_list("pk", flat=True)))
        locked = due.order_by("next_at", "pk").select_for_update(of=("self",), skip_locked=True)
        taken = list(locked.select_related("webhook")[:AT_ONCE])
        for delivery in taken:
            delivery.attempts, delivery.next_at = delivery.attempts + 1, now() + LEASE
        Delivery.objects.bulk_update(taken, ["attempts", "next_at"])
    return taken


def deliver(deliveries: Sequence[Delivery]) -> None:
    """Post claimed deliveries, all at once, and store what came of each."""
    letters = [_letter(delivery) for delivery in deliveries]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:
        # Threads only post: what is stored is stored here.
        for delivery, outcome in zip(deliveries, threads.map(_post, letters), strict=True):
            store(delivery, outcome)


@sensitive_variables("secret")
def _letter(delivery: Delivery) -> tuple[str, bytes, dict[str, str]] | Outcome:
    """(address, body, headers), or why there is none."""
    try:
        secret = keys.open_sealed(delivery.webhook.sealed)
    except work.StepRefused:
        return Outcome(None, _("Its secret cannot be opened: the site's encryption keys have changed. Add it anew."))
    content, timestamp = body(delivery), str(int(now().timestamp()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Switchyard",
        "Switchyard-Event": delivery.event,
        "Switchyard-Delivery": str(delivery.key),
        "Switchyard-Timestamp": timestamp,
        "Switchyard-Signature": sign(secret, timestamp, content),
    }
    return delivery.webhook.url, content, headers


def _post(letter: tuple[str, bytes, dict[str, str]] | Outcome) -> Outcome:
    """One attempt. It connects to addresses that were checked, follows no redirect, reads status and Retry-After."""
    if isinstance(letter, Outcome):
        return letter
    url, content, headers = letter
    try:
        transport = Transport(check(url), most=MOST, verify=url.lower().startswith("https:"))
        with (
            httpx2.Client(transport=transport, timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", url, content=content, headers=headers) as answer,
        ):
            return _answered(answer.status_code, answer.headers.get("retry-after", ""))
    except endpoint.EndpointRefused as refusal:
        return Outcome(None, _("not sent: %(reason)s") % {"reason": refusal})
    except httpx2.TimeoutException:
        return Outcome(None, _("no answer within %(n)s seconds") % {"n": f"{TIMEOUT:g}"})
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        return Outcome(None, _("not reached: %(reason)s") % {"reason": str(error) or type(error).__name__})


def _answered(status: int, retry_after: str = "") -> Outcome:
    if 200 <= status < 300:
        return Outcome(status)
    if 300 <= status < 400:
        return Outcome(status, _("answered with a redirect (%(status)s), which is not followed") % {"status": status})
    named = f"{status} {responses.get(status, '')}".strip()
    return Outcome(status, _("answered %(status)s") % {"status": named}, _rest(retry_after))


def _rest(retry_after: str) -> float:
    """Seconds of a Retry-After, a number or a date (RFC 9110, 10.2.3), LONGEST_ASKED at most; 0 for anything else."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), LONGEST_ASKED)
    when = parse_http_date_safe(text)
    return min(max(0.0, when - time.time()), LONGEST_ASKED) if when else 0.0


def store(delivery: Delivery, outcome: Outcome) -> None:
    """Store how an attempt went, unless its lease is over, or it was sent again meanwhile."""
    mine = Delivery.objects.filter(pk=delivery.pk, state=Delivery.State.WAITING, next_at=delivery.next_at)
    said: dict[str, Any] = {"status": outcome.status, "error": outcome.error[:300]}
    if outcome.is_taken:
        mine.update(state=Delivery.State.DELIVERED, delivered_at=now(), **said)
    elif delivery.attempts >= ATTEMPTS:
        mine.update(state=Delivery.State.GIVEN_UP, **said)
    else:
        mine.update(next_at=_next(delivery.attempts, outcome.rest), **said)


def _next(attempts: int, rest: float = 0.0) -> datetime:
    """Our own pause, or the one that the receiver asked for where that is longer."""
    pause = max(rest, min(LONGEST, FIRST * GROWTH ** (attempts - 1)))
    return now() + timedelta(seconds=pause * (1 + JITTER * random.random()))


def forget_ended() -> int:
    """For the tick: remove ended deliveries that are older than KEPT, so many at once; gives how many.

    Age is counted from when it was taken, or from the last attempt at one that was given up.
    """
    gone = 0
    for state, kept in KEPT.items():
        old = Delivery.objects.filter(state=state, next_at__lt=now() - kept).order_by("pk")
        gone += Delivery.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:SWEPT]), state=state).delete()[0]
    return gone


@shared_task(name=TASK)
def run_deliveries() -> int:
    """Send what is due until nothing is; gives how many attempts were made."""
    done = 0
    while taken := claim():
        deliver(taken)
        done += len(taken)
    return done
