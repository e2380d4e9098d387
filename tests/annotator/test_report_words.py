"""A report names domains and languages in the reader's words."""

import pytest
from django.utils.translation import override

from annotator.readings import report_lines, report_tables
from labelers.domains import DOMAINS

VALUE = {"value": 0.7, "low": 0.6, "high": 0.8, "n": 40}


def cell(domain, language):
    measures = {"accuracy": VALUE, "ece": VALUE}
    return {"domain": domain, "language": language, "raw": measures, "calibrated": measures}


def test_every_domain_has_words_of_its_own():
    assert set(report_lines.DOMAINS) == set(DOMAINS)


@pytest.mark.parametrize(
    ("code", "words"),
    [("en", "English"), ("de", "German"), ("zh", "Chinese"), ("other", "other languages"), ("", "–"), ("la", "la")],
)
def test_a_language_is_called_by_its_name(code, words):
    (shown,) = report_tables.slices({"slices": [cell("chat", code)]})
    assert (shown["domain"], shown["language"]) == ("chat", words)


def test_names_and_what_stands_between_them_are_the_readers(monkeypatch):
    monkeypatch.setattr(report_lines, "COMMA", "، ")
    with override("ar"):
        (shown,) = report_tables.slices({"slices": [cell("", "de")]})
    assert shown["language"] == "الألمانية" and shown["domain"] == "–"
    member = {"label": "judge", "alone": VALUE, "domains": ["chat", "safety"]}
    (row,) = report_tables.members({"ensemble": {"members": [member]}})
    assert row["domains"] == "chat، safety"
