"""One rule for every order that costs money: what was confirmed, and what the budget has."""

from decimal import Decimal

import pytest
from django import forms

from annotator.pipeline import ledger
from annotator.views import spending
from tests.builders import make_project

pytestmark = pytest.mark.django_db


class Order(forms.Form):
    most = forms.DecimalField(required=False)


@pytest.mark.parametrize(
    ("confirmed", "most", "refused"),
    [
        ("2", "2", ""),
        ("", "0", ""),
        ("1.99", "2", "more than you confirmed"),
        ("", "2", "more than you confirmed"),
        ("9", "5.01", "The budget does not cover it"),
    ],
)
def test_an_order_is_held_against_what_was_confirmed_and_what_there_is(confirmed, most, refused):
    project = make_project()
    ledger.set_cap(project, Decimal(5))
    form = Order({"most": confirmed})
    assert form.is_valid()
    assert spending.may_cost(form, Decimal(most), project) == (not refused)
    assert refused in str(form.non_field_errors())
