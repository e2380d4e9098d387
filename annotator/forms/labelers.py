from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.core.validators import MaxValueValidator, RegexValidator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from annotator.forms.prices import MOST_OF_A_LABELER
from annotator.models import Credential, Labeler, Project, Route
from annotator.pipeline import keys, versions
from annotator.pipeline.work import StepRefused
from labelers import endpoint
from labelers.base import Prices

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise


def _price(label: StrPromise, help_text: StrPromise | str = "") -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        help_text=help_text,
        min_value=Decimal(0),
        max_value=MOST_OF_A_LABELER,
        max_digits=12,
        decimal_places=6,
        initial=Decimal(0),
    )


_PRINTABLE = RegexValidator(
    r"\A[!-~]+\Z", _("A key has only letters, digits and signs, no spaces or line breaks. Copy it again.")
)


@dataclass(frozen=True)
class Section:
    """Fields that belong together; `folded` ones are out of sight until somebody opens them."""

    title: StrPromise | str
    fields: list[forms.BoundField]
    help: StrPromise | str = ""
    folded: bool = False

    @property
    def is_open(self) -> bool:
        """Whether a folded section has to be open: a fault in it must be seen."""
        return any(field.errors for field in self.fields)


class LabelerForm(forms.Form):
    """What every kind of labeler is told; a kind's own form adds its fields and says how they make parameters.

    Without `labeler` it is for a new one. Name and prices are set once here and changed on the labeler's page.
    """

    # (title, help, names of fields, folded) in the order of the page; the first ones are those of every kind.
    SECTIONS: tuple[tuple[StrPromise, StrPromise | str, tuple[str, ...], bool], ...] = ()

    name = forms.CharField(label=_("Name"), max_length=100, help_text=_("As it appears in plans and exports."))
    api_key = forms.CharField(
        label=_("A new key"),
        required=False,
        max_length=500,
        validators=[_PRINTABLE],
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "spellcheck": "false"}),
        help_text=_("Stored encrypted, never shown again, sent to this endpoint only."),
    )
    credential = forms.ModelChoiceField(
        queryset=Credential.objects.none(), label=_("A key entered before"), required=False, empty_label=_("none")
    )
    api_key_env = forms.ChoiceField(
        label=_("A key of the operator"),
        required=False,
        help_text=_("Variables the operator has allowed (LABELER_KEYS). The key itself is never stored."),
    )
    price_per_million_input = _price(_("Price of a million input tokens"))
    price_per_million_output = _price(_("Price of a million output tokens"))
    price_per_call = _price(_("Price of a call"))

    PRICES = ("price_per_million_input", "price_per_million_output", "price_per_call")
    KEYS = ("api_key", "credential", "api_key_env")

    def __init__(
        self,
        data: object = None,
        *,
        project: Project,
        kind: str,
        labeler: Labeler | None = None,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=dict(initial or {}))  # type: ignore[arg-type]
        self.project, self.kind, self.labeler = project, kind, labeler
        if labeler:
            for name in ("name", *self.PRICES):
                del self.fields[name]
            self.initial["credential"] = (versions.candidate(labeler) or labeler).credential_id
        self._offer_keys()

    def _offer_keys(self) -> None:
        stored = self.project.credentials.order_by("place", "id")
        self.fields["credential"].queryset = stored  # type: ignore[attr-defined]
        named = [(name, f"{name} → {host}") for name, host in sorted(settings.LABELER_KEYS.items())]
        self.fields["api_key_env"].choices = [("", _("none")), *named]  # type: ignore[attr-defined]

    @property
    def sections(self) -> list[Section]:
        common = [*self.SECTIONS, (_("Prices"), self.project.currency, self.PRICES, False)]
        made = [
            Section(title, [self[name] for name in names if self._is_shown(name)], help_text, folded)
            for title, help_text, names, folded in common
        ]
        return [section for section in made if section.fields]

    def _is_shown(self, name: str) -> bool:
        """A choice with nothing to choose is left out, unless somebody chose in it all the same."""
        if name in self.errors:
            return True
        if name == "credential":
            return self.project.credentials.exists()
        return name in self.fields and (name != "api_key_env" or bool(settings.LABELER_KEYS))

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        # Plans call people with so many votes "people:1".
        if name.lower().partition(":")[0].strip() == Route.PEOPLE:
            raise forms.ValidationError(_("“people” is the name of people in plans; choose another."))
        if self.project.labelers.filter(name=name).exists():
            raise forms.ValidationError(_("This project already has a labeler of that name."))
        return str(name)

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        super().clean()
        self._check_addresses()
        cleaned = dict(self.cleaned_data)
        typed, stored, named = (cleaned.get(name) for name in self.KEYS)
        if typed and named:
            self.add_error("api_key_env", _("One key is enough: choose “none” here, or leave the new key empty."))
        addresses = self.addresses(cleaned)
        places = {endpoint.place(address) for address in addresses}
        if typed and len(places) != 1:
            words = _("A key needs one endpoint to be sent to; give the address of a server.")
            self.add_error("api_key", words if not places else _("A key is for one endpoint; these are two."))
        elif typed:
            self._check_way("api_key", addresses)
        elif stored and stored.place not in places:
            words = _("This key was entered for %(place)s and is sent nowhere else. Enter one for %(other)s, or none.")
            other = ", ".join(sorted(places)) or "–"
            self.add_error("credential", words % {"place": stored.place, "other": other})
        return cleaned

    def _check_addresses(self) -> None:
        """What is shaped like an address and names no place, such as one with a port past 65535."""
        for name in [name for name in self.cleaned_data if name.rpartition("__")[2] == "base_url"]:
            try:
                endpoint.place(self.cleaned_data[name])
            except ValueError as error:
                self.add_error(name, _("This is not an address: %(reason)s") % {"reason": error})

    def _check_way(self, field: str, addresses: list[str]) -> None:
        try:
            for address in addresses:
                keys.check_way(address)
        except StepRefused as refusal:
            self.add_error(field, str(refusal))

    def addresses(self, cleaned: Mapping[str, Any]) -> list[str]:
        """The endpoints that `cleaned` names; a kind without any has none."""
        return [cleaned["base_url"]] if cleaned.get("base_url") else []

    def chosen(self) -> dict[str, Any]:
        """What the lead chose, as a version's parameters hold it."""
        raise NotImplementedError

    def key(self) -> keys.Key:
        return keys.Key(self.cleaned_data["api_key"], self.cleaned_data["credential"])

    def price(self) -> Prices:
        """What was given; a kind that asks for no prices is free."""
        given = [self.cleaned_data.get(f"price_per_{of}") for of in ("call", "million_input", "million_output")]
        return Prices(*(price or Decimal(0) for price in given))


class OwnForm(LabelerForm):
    """A labeler of ours that has nothing to be told: it gets a name, costs nothing and sends nothing anywhere."""

    SECTIONS = ((_("The labeler"), "", ("name",), False),)

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        for name in (*self.PRICES, *self.KEYS):
            del self.fields[name]

    @property
    def sections(self) -> list[Section]:
        return [Section(title, [self[name] for name in names]) for title, _help, names, _folded in self.SECTIONS]

    def chosen(self) -> dict[str, Any]:
        return {}

    def key(self) -> keys.Key:
        return keys.Key()


class PricesForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a labeler costs from now on; calls that were made keep their cost."""

    class Meta:
        model = Labeler
        fields = ["price_per_call", "price_per_million_input", "price_per_million_output"]

    def __init__(self, data: object = None, *, instance: Labeler) -> None:
        names = self._meta.fields or ()
        initial = {name: f"{getattr(instance, name).normalize():f}" for name in names}
        super().__init__(data, instance=instance, initial=initial)  # type: ignore[arg-type]
        if instance.kind == "recorded":
            self.fields["price_per_call"].label = _("Price of one comparison's verdict")
            del self.fields["price_per_million_input"], self.fields["price_per_million_output"]
        for field in self.fields.values():
            field.min_value = Decimal(0)  # type: ignore[attr-defined]
            field.validators += [_not_negative, MaxValueValidator(MOST_OF_A_LABELER)]


def _not_negative(value: Decimal) -> None:
    if value < 0:
        raise forms.ValidationError(_("A price cannot be negative."))
