"""Start: a new project with everything the other steps count on: protocol, recipe, account, free labelers, a lead."""

from __future__ import annotations

from decimal import Decimal

from django.db import transaction

from annotator import protocols
from annotator.models import Labeler, Membership, Project, Protocol, Role, User
from annotator.pipeline import aggregate, ledger
from annotator.pipeline import guidelines as versions

# Labelers that cost nothing and are hard to beat on biased data: what every dearer one is compared with.
FREE_LABELERS = ("longest", "shortest", "random", "relevance")


def create_project(
    name: str,
    *,
    lead: User,
    preset: str = "plain",
    description: str = "",
    guidelines: str = "",
    provenance: str = "",
    currency: str = "USD",
    price_per_judgment: Decimal = Decimal(0),
    votes: int = 1,
    cap: Decimal = Decimal(0),
) -> Project:
    """Make a project of `lead`'s with the protocol `preset`, its hard budget `cap`, and the free labelers.

    Raises KeyError for an unknown preset.
    """
    definition = protocols.PRESETS[preset]
    with transaction.atomic():
        project = Project.objects.create(
            name=name,
            description=description,
            guidelines=guidelines,
            provenance=provenance,
            currency=currency,
            price_per_judgment=price_per_judgment,
            votes=votes,
        )
        Protocol.objects.create(project=project, version=1, preset=preset, definition=definition)
        versions.first_version(project, lead)
        Membership.objects.create(project=project, user=lead, role=Role.LEAD)
        aggregate.default_recipe(project)
        ledger.account_of(project)
        if cap:
            ledger.set_cap(project, cap)
        for kind in FREE_LABELERS:
            Labeler.objects.create(project=project, name=kind, kind=f"null_{kind}")
    return project
