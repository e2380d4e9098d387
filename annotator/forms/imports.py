from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from annotator import formats, protocols
from annotator.formats import entries, mapped
from annotator.formats.entries import Way
from annotator.forms.prices import check_people
from annotator.models import Project

PRESET_WORDS = {
    "plain": _("Plain: A, tie or B, as in chat arenas"),
    "multipref": _("MultiPref: helpful, truthful, harmless and overall on five levels"),
    "helpsteer2": _("HelpSteer2: five ratings of each response, then six levels without a tie"),
    "arena": _("Arena: one question, four answers, fast"),
    "summarize9": _("Learning to summarize: nine points"),
    "helpsteer3": _("HelpSteer3: seven levels, feedback on each response, the better one edited"),
    "fine-grained": _("Fine-Grained: errors are marked where they stand"),
    "rag": _("Answers from documents: citation, abstention, conflict, completeness"),
    "criterion": _("Criterion: each comparison says by what to judge"),
    "ranking": _("Ranking: three to eight responses in order"),
    "best-worst": _("Best and worst of three to eight responses"),
}


FIELD_WORDS = {
    "id": _("Name of the row"),
    "prompt": _("Prompt"),
    "system": _("System turn"),
    "response_a": _("Response A"),
    "response_b": _("Response B"),
    "model_a": _("Who wrote response A"),
    "model_b": _("Who wrote response B"),
    "winner": _("Which response is better"),
    "rater": _("Who says so"),
    "justification": _("Why"),
}
VERDICT_WORDS = {
    "a": _("A is better"),
    "b": _("B is better"),
    "tie": _("a tie"),
    "neither": _("neither is valid"),
    "": _("no judgment"),
}
CONTAINER_WORDS = {
    "json lines": _("JSON Lines"),
    "json list": _("JSON list"),
    "csv": "CSV",
    "parquet": "Parquet",
    "folder": _("folder"),
    "zip": "zip",
}
RATER_WORDS = {"person": _("people"), "ai": _("AI, by the name of the judge")}


def read_way(data: QueryDict) -> Way:
    """How the preview's form says that the file is to be read; checked where it is used."""
    mapping: dict[str, Any] = {}
    if data.get("format") == entries.MAPPED:
        columns = {field: data.get(f"column-{field}", "") for field in mapped.FIELDS}
        winner = dict(zip(data.getlist("value"), data.getlist("means"), strict=False))
        mapping = {
            "columns": {field: column for field, column in columns.items() if column},
            "winner": {value: verdict for value, verdict in winner.items() if verdict != "?"},
            "by": data.get("by", "person"),
        }
    table = data.get("table", "")
    if data.get("of", table) != table:  # what was said was said of another table
        return Way(table=table)
    return Way(data.get("format", ""), mapping, table)


def format_choices(fitting: list[str], chosen: str) -> list[tuple[str, Any]]:
    """What the file can be read as: "" as its rows are recognised, each by itself; by one reader; by mapped columns."""
    others = [*fitting[1:], *([chosen] if chosen in formats.READERS and chosen not in fitting[1:] else [])]
    found = [("", entries.reader(fitting[0]).TITLE)] if fitting else []
    named = [(name, format_lazy("{} {}", entries.reader(name).TITLE, _("(all rows)"))) for name in others]
    return [*found, *named, (entries.MAPPED, _("columns of its own"))]


class NewProject(forms.ModelForm):
    preset = forms.ChoiceField(
        label=_("Protocol"),
        help_text=_("What a judgment contains. It can be revised later; judgments keep their version."),
    )
    cap = forms.DecimalField(
        label=_("Hard budget"), min_value=Decimal(0), max_digits=14, decimal_places=6, initial=0,
        help_text=_("What the project may spend at most. 0 for now is fine: the settings change it."),
    )  # fmt: skip

    class Meta:
        model = Project
        fields = ("name", "description", "currency", "price_per_judgment", "votes")
        widgets = {"description": forms.Textarea(attrs={"rows": 3})}
        help_texts = {
            "currency": _("Three letters, for example USD or EUR."),
            "price_per_judgment": _("What one judgment of one person costs you."),
            "votes": _("How many people judge a comparison that goes to people."),
        }

    field_order = ("name", "description", "preset", "votes", "currency", "price_per_judgment", "cap")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["preset"].choices = [  # type: ignore[attr-defined]
            (name, PRESET_WORDS.get(name, name)) for name in protocols.PRESETS
        ]

    def clean_currency(self) -> str:
        currency = self.cleaned_data["currency"].upper()
        if len(currency) != 3 or not (currency.isascii() and currency.isalpha()):
            raise forms.ValidationError(_("Give the three letters of the currency, for example USD."))
        return currency

    def clean_votes(self) -> int:
        votes = self.cleaned_data["votes"]
        if not 1 <= votes <= 100:
            raise forms.ValidationError(_("Between 1 and 100 people."))
        return votes

    def clean(self) -> dict[str, Any]:
        return check_people(self, {**(super().clean() or {}), **self.cleaned_data})


class Upload(forms.Form):
    file = forms.FileField(
        label=_("File"),
        help_text=_(
            "JSON Lines, a JSON list or CSV (also .gz), Parquet, or a zip of an exported folder. Nothing is imported"
            " before you have seen a preview."
        ),
    )
    source = forms.CharField(
        label=_("Source of the recorded judgments"),
        required=False,
        max_length=100,
        help_text=_(
            "Only when the file brings judgments: people are told apart by source and name. Empty: as the rows say."
        ),
    )
