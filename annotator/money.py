"""Amounts of money: as people type them, held against the columns they are stored in, and as files and answers say."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from django.db.models import DecimalField, Model
from django.utils.translation import gettext as _


def largest(model: type[Model], name: str) -> Decimal:
    """The greatest number that column `name` of `model` holds; PostgreSQL refuses more with an error of its own."""
    column = model._meta.get_field(name)
    if not isinstance(column, DecimalField):
        raise TypeError(f"{model.__name__}.{name} does not hold decimal numbers")
    return (10 ** Decimal(column.max_digits) - 1).scaleb(-column.decimal_places)


def plain(value: Decimal) -> str:
    """The number in digits, as exact as it is: str() would write small ones and zeros as "1E-7" and "0E-8"."""
    return format(value, "f")


def amount(text: str | Decimal, most: Decimal) -> Decimal:
    """The amount written in `text`. Raises ValueError, in words for its writer, unless it is from 0 to `most`."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0:
        raise ValueError(_("“%(text)s” is not an amount of money, write e.g. 250.00") % {"text": text})
    if value > most:
        raise ValueError(
            _("%(text)s is too much, at most %(most)s can be stored") % {"text": text, "most": plain(most)}
        )
    return value
