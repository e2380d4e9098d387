from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from annotator import money
from annotator.models import Route

# A plan stores what all votes on one comparison cost together, which is more than the price of one.
MOST_A_COMPARISON = money.largest(Route, "price")
# Both orders are asked and tokens are paid on top of calls: well below what a comparison may cost.
MOST_OF_A_LABELER = Decimal(100_000)


def check_people(form: forms.BaseForm, cleaned: dict[str, Any]) -> dict[str, Any]:
    """`cleaned`, with an error at the price when the votes on one comparison would cost more than a plan can store."""
    price, votes = cleaned.get("price_per_judgment"), cleaned.get("votes")
    if price is not None and votes and price * votes > MOST_A_COMPARISON:
        message = _("%(votes)s votes at this price are more than %(most)s a comparison, the most that can be stored.")
        form.add_error("price_per_judgment", message % {"votes": votes, "most": int(MOST_A_COMPARISON)})
    return cleaned
