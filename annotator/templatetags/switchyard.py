"""What every page needs: the tabs a role may see, money and numbers in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import template
from django.contrib.auth.models import AnonymousUser
from django.urls import NoReverseMatch, reverse
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from annotator import access
from annotator.models import Project, Role, User

register = template.Library()

# (context's `tab`, URL name, words, roles that see it)
TABS = (
    ("board", "board", _("Board"), access.READERS),
    ("comparisons", "comparisons", _("Comparisons"), access.READERS),
    ("guidelines", "guidelines", _("Guidelines"), access.MEMBERS),
    ("protocol", "protocol", _("Protocol"), access.READERS),
    ("reviews", "reviews", _("Reviews"), access.REVIEWERS),
    ("people", "people", _("People"), access.LEADS),
    ("quality", "quality", _("Quality"), access.LEADS),
    ("labelers", "labelers", _("Labelers"), access.READERS),
    ("plan", "plans", _("Plan"), access.READERS),
    ("exports", "exports", _("Exports"), access.READERS),
    ("settings", "project_settings", _("Settings"), access.LEADS),
    ("annotate", "annotate", _("Annotate"), access.ANNOTATORS),
)


def role_in(user: User | AnonymousUser, project: Project) -> str:
    """The user's role in the project, "" when there is none."""
    if not user.is_authenticated:
        return ""
    return project.memberships.filter(user=user).values_list("role", flat=True).first() or ""


@register.inclusion_tag("_tabs.html")
def project_tabs(user: User | AnonymousUser, project: Project, tab: str) -> dict[str, Any]:
    role = role_in(user, project)
    tabs = []
    for key, name, words, roles in TABS:
        if role not in roles:
            continue
        try:
            tabs.append({"url": reverse(name, args=[project.pk]), "words": words, "is_here": key == tab})
        except NoReverseMatch:
            continue
    return {"tabs": tabs}


@register.filter
def isolated(name: str) -> str:
    """A name that keeps its direction to itself where no element can: in a <title>."""
    return f"\u2068{name}\u2069"


@register.simple_tag
def is_lead(user: User | AnonymousUser, project: Project) -> bool:
    """Whether to show what only leads may do; the views check again."""
    return role_in(user, project) == Role.LEAD


@register.filter
def money(amount: Decimal | float | str | None, currency: str = "") -> str:
    """An amount as people read it: thousands apart, two places, more only below a cent; then the currency."""
    if amount is None or amount == "":
        return "–"
    value = Decimal(str(amount))
    places = 2 if value == 0 or abs(value) >= Decimal("0.01") else 6
    words = number_format(value.quantize(Decimal(1).scaleb(-places)), places, use_l10n=True, force_grouping=True)
    return f"{words.rstrip('0') if places == 6 else words} {currency}".strip()


@register.filter
def price(amount: Decimal | float | str | None) -> str:
    """A unit price: four places, six where four would hide it."""
    if amount is None or amount == "":
        return "–"
    value = Decimal(str(amount))
    places = 4 if value == value.quantize(Decimal("0.0001")) else 6
    return number_format(value.quantize(Decimal(1).scaleb(-places)), places, use_l10n=True)


@register.filter
def count(number: int | None) -> str:
    return "–" if number is None else number_format(number, use_l10n=True, force_grouping=True)


@register.filter
def share(fraction: float | None) -> str:
    """A share in percent; a share that is not zero is never shown as zero."""
    if fraction is None:
        return "–"
    if 0 < fraction < 0.005:
        return "< 1%"
    return f"{100 * fraction:.0f}%"


@register.filter
def score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


@register.filter
def points(share_of_one: float | None) -> str:
    """A difference of two shares in percentage points, with its sign."""
    return "–" if share_of_one is None else f"{100 * share_of_one:+.1f}".replace("-", "−")


@register.filter
def minutes(milliseconds: float | None) -> str:
    """A duration as minutes:seconds."""
    if milliseconds is None:
        return "–"
    whole = round(milliseconds / 1000)
    return f"{whole // 60}:{whole % 60:02d}"


@register.filter
def hours(milliseconds: float | None) -> str:
    """A long duration as hours:minutes."""
    if milliseconds is None:
        return "–"
    whole = round(milliseconds / 60_000)
    return f"{whole // 60}:{whole % 60:02d}"


@register.filter
def at(mapping: dict[str, Any], key: str) -> Any:
    return mapping.get(key)
