"""What an annotator may tell of themselves: coarse, every question may stay empty, published only by consent."""

from __future__ import annotations

import hashlib
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotator.models import Profile

_Choices = list[tuple[str, str | Promise]]

# The keys stand in exports; what they are called is for the page.
AGES: _Choices = [(age, age.replace("-", "–")) for age in ("18-24", "25-34", "35-44", "45-54", "55-64")] + [
    ("65+", _("65 or older"))
]
GENDERS: _Choices = [
    ("woman", _("Woman")),
    ("man", _("Man")),
    ("non_binary", _("Non-binary")),
    ("other", _("Another")),
]
REGIONS: _Choices = [
    ("africa", _("Africa")),
    ("central_west_asia", _("Central and Western Asia")),
    ("east_southeast_asia", _("East and South-East Asia")),
    ("south_asia", _("South Asia")),
    ("europe", _("Europe")),
    ("latin_america", _("Latin America and the Caribbean")),
    ("north_america", _("North America")),
    ("oceania", _("Oceania")),
]
EDUCATIONS: _Choices = [
    ("none", _("No school leaving certificate")),
    ("school", _("School leaving certificate")),
    ("vocational", _("Vocational training")),
    ("bachelor", _("Bachelor's degree")),
    ("master", _("Master's degree or more")),
]
MODEL_USES: _Choices = [
    ("never", _("Never")),
    ("rarely", _("Less than once a month")),
    ("monthly", _("Every month")),
    ("weekly", _("Every week")),
    ("daily", _("Every day")),
]
LANGUAGES: _Choices = [
    ("ar", _("Arabic")),
    ("bn", _("Bengali")),
    ("zh", _("Chinese")),
    ("en", _("English")),
    ("fr", _("French")),
    ("de", _("German")),
    ("hi", _("Hindi")),
    ("id", _("Indonesian")),
    ("ja", _("Japanese")),
    ("pt", _("Portuguese")),
    ("ru", _("Russian")),
    ("es", _("Spanish")),
    ("sw", _("Swahili")),
    ("tr", _("Turkish")),
    ("other", _("Another language")),
]
NOT_TOLD = ("", _("I would rather not say"))

CONSENT = _(
    "The answers above may be published together with my judgments in this project, under my pseudonym and never with "
    "my name. They may be used for research and to train and examine language models. Where fewer than five people "
    "share a combination of answers, it is left out. I can withdraw at any time: then my answers are deleted here and "
    "no export made later holds them."
)


class ProfileForm(forms.Form):
    """Answers by question of `per_rater.QUESTIONS`; saved with `agree`, which is why consent is required."""

    age = forms.ChoiceField(label=_("Age"), choices=[NOT_TOLD, *AGES], required=False)
    gender = forms.ChoiceField(label=_("Gender"), choices=[NOT_TOLD, *GENDERS], required=False)
    region = forms.ChoiceField(label=_("Where you live"), choices=[NOT_TOLD, *REGIONS], required=False)
    education = forms.ChoiceField(label=_("Education you finished"), choices=[NOT_TOLD, *EDUCATIONS], required=False)
    model_use = forms.ChoiceField(
        label=_("How often you use language models outside this work"), choices=[NOT_TOLD, *MODEL_USES], required=False
    )
    languages = forms.MultipleChoiceField(
        label=_("Languages you read well"), choices=LANGUAGES, widget=forms.CheckboxSelectMultiple, required=False
    )
    # Which words were on the page when somebody agreed to them.
    words = forms.CharField(widget=forms.HiddenInput)
    consent = forms.BooleanField(
        label=_("I agree"), error_messages={"required": _("Without your consent nothing is kept: tick this or leave.")}
    )

    def __init__(self, *arguments: Any, profile: Profile | None, **options: Any) -> None:
        told = profile.about if profile else {}
        agreed = bool(profile and profile.is_agreed)
        options["initial"] = {**told, "words": digest(), "consent": agreed}
        super().__init__(*arguments, **options)

    def clean_words(self) -> str:
        """Raises ValidationError when the words are others by now: what is stored is what was read."""
        if self.cleaned_data["words"] != digest():
            raise forms.ValidationError(_("The words you agree to have changed. Read them again, then save."))
        return str(CONSENT)

    @property
    def about(self) -> dict[str, Any]:
        """The answers that were given."""
        return {name: value for name, value in self.cleaned_data.items() if name not in ("words", "consent") and value}


def digest() -> str:
    """A name for the words of the consent as they read now, in the language of the page."""
    return hashlib.sha256(str(CONSENT).encode()).hexdigest()[:16]
