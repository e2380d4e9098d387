"""Amounts as files and answers say them: digits, whatever their size."""

import csv
import io
import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator import money
from annotator.api.ledger import AccountOut
from annotator.api.once import _content
from annotator.api.site import api
from annotator.models import Account
from annotator.views.sheets import sheet
from tests.api.program import lead_program
from tests.builders import make_project

# As the columns hold them: eighteen digits, eight of them after the point.
AMOUNTS = st.integers(-(10**18) + 1, 10**18 - 1).map(lambda number: Decimal(number).scaleb(-8)) | st.just(
    Decimal("0E-8")
)
DIGITS = re.compile(r"-?[0-9]+\.[0-9]{8}")


@given(AMOUNTS)
def test_an_amount_is_digits_and_the_same_number_wherever_it_is_written(amount):
    account = AccountOut(currency="EUR", cap=amount, spent=amount, reserved=amount, available=amount)
    answered = json.loads(api.renderer.render(None, account, response_status=200))
    _status, kept = _content(account)
    rows = list(csv.reader(io.StringIO(sheet("amounts", ["amount"], [[amount]]).content.decode())))
    for written in (money.plain(amount), answered["spent"], kept["spent"], rows[1][0]):
        assert DIGITS.fullmatch(written) and Decimal(written) == amount


@pytest.mark.django_db
def test_an_account_that_has_spent_nothing_says_so_in_digits():
    project = make_project()
    Account.objects.update_or_create(project=project, defaults={"cap": 0})
    told = lead_program(project).get(f"/projects/{project.pk}/budget").json()
    assert (told["spent"], told["reserved"]) == ("0.00000000", "0.00000000")
