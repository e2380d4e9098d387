"""What leads set about quality, and what annotators do not want to see."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.models import Comparison, Gold, Harm, Project, Standards

# A pause must never hang on one answer.
ACCURACY_LEAST = 3


class PercentField(forms.IntegerField):
    """A share, as people write it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0, max_value=100, **options)

    def prepare_value(self, value: Any) -> Any:
        return round(100 * value) if isinstance(value, float) else value

    def clean(self, value: Any) -> float | None:  # type: ignore[override]
        percent = super().clean(value)
        return None if percent is None else percent / 100


# Fields of `Standards` by the part of the page they stand in.
STANDARDS = (
    (
        _("Before work begins"),
        ("tutorial_required", "qualification_required", "pass_mark", "attempts_allowed", "recertify"),
    ),
    (_("Mixed in unseen"), ("gold_share", "repeat_share", "repeat_after", "gold_feedback")),
    (_("Pausing by known answers"), ("accuracy_window", "accuracy_least", "pause_below")),
    (_("Pace and respect"), ("reading_rate", "daily_cap", "break_after_minutes")),
)


class StandardsForm(forms.ModelForm):  # type: ignore[type-arg]
    """Everything in `Standards`."""

    pass_mark = PercentField(label=_("Right answers needed to qualify, %"))
    gold_share = PercentField(label=_("Comparisons with a known answer, %"))
    repeat_share = PercentField(label=_("Comparisons shown to the same person again, %"))
    pause_below = PercentField(label=_("Pause below this share of right answers, %"))

    class Meta:
        model = Standards
        fields = [name for _title, names in STANDARDS for name in names]
        labels = {
            "gold_feedback": _("Annotators may see the known answers they missed"),
            "accuracy_window": _("Known answers looked at"),
            "accuracy_least": _("Known answers before anything is concluded"),
        }
        help_texts = {
            "gold_feedback": _("On their own statistics page, after the answer can no longer be undone."),
            "reading_rate": _("Faster answers are shown to you, never punished."),
            "daily_cap": _("Empty: no limit. The day is the server's."),
            "break_after_minutes": _("0: no suggestion."),
            "attempts_allowed": _("After that a lead lets them go on."),
        }

    def clean_accuracy_least(self) -> int:
        if self.cleaned_data["accuracy_least"] < ACCURACY_LEAST:
            raise forms.ValidationError(_("at least %(n)s: nobody is paused for one miss") % {"n": ACCURACY_LEAST})
        return int(self.cleaned_data["accuracy_least"])

    def clean_reading_rate(self) -> int:
        if self.cleaned_data["reading_rate"] < 1:
            raise forms.ValidationError(_("at least 1 word a minute"))
        return int(self.cleaned_data["reading_rate"])

    def clean(self) -> dict[str, Any]:
        cleaned = {**(super().clean() or {}), **self.cleaned_data}
        if cleaned.get("gold_share", 0) + cleaned.get("repeat_share", 0) > 0.5:
            self.add_error("gold_share", _("Known answers and repeats together may be at most half of the work."))
        if cleaned.get("accuracy_least", 0) > cleaned.get("accuracy_window", 1):
            self.add_error("accuracy_window", _("Look at no fewer answers than are needed to conclude something."))
        return cleaned

    def parts(self) -> list[tuple[Any, list[forms.BoundField]]]:
        return [(title, [self[name] for name in names]) for title, names in STANDARDS]


class PauseForm(forms.Form):
    reason = forms.CharField(
        label=_("What they read"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("Say what you saw and what they can do next."),
    )


class GoldForm(forms.ModelForm):  # type: ignore[type-arg]
    """The known answer of one comparison."""

    better = forms.MultipleChoiceField(
        label=_("Right answers"), choices=Gold.Better.choices, widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = Gold
        fields = ["use", "better", "explanation"]
        labels = {"use": _("Used for"), "explanation": _("Why")}
        widgets = {"explanation": forms.Textarea(attrs={"rows": 4})}
        help_texts = {
            "explanation": _(
                "Markdown. Name the responses by what they say, not as A and B: people see them in either order."
            )
        }

    def __init__(self, data: Any = None, *, instance: Gold, **options: Any) -> None:
        super().__init__(data, instance=instance, **options)


class OptOutForm(forms.Form):
    kinds = forms.MultipleChoiceField(
        label=_("Do not offer me comparisons that touch"),
        choices=Harm.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )


def new_gold(project: Project, comparison: Comparison) -> Gold:
    """What the form of a comparison that is no gold yet begins with."""
    return Gold(project=project, comparison=comparison, better=[])
