"""Published files come into projects that ask for less: nothing refuses them, and what is left is counted."""

from __future__ import annotations

import pytest

from annotator import protocols
from annotator.formats import recorded
from annotator.formats.rows import Vote
from annotator.models import Import
from annotator.pipeline import ingest, preview
from tests.annotator.test_readers import SAMPLES, reader_of
from tests.builders import make_project

PUBLISHED = [path for path in SAMPLES if reader_of(path) != "native"]


@pytest.mark.django_db
@pytest.mark.parametrize("preset", ["plain", "helpsteer2"])
def test_every_published_format_comes_into_a_project_that_asks_for_something_else(preset):
    project = make_project(preset)
    refused = {}
    for path in PUBLISHED:
        seen = preview.preview(project, path)
        if not seen.can_import:
            refused[path.stem] = (seen.problem, seen.errors.shown)
    assert refused == {}


def test_parts_of_an_answer_that_are_not_asked_for_are_named_and_wrong_values_stay():
    definition = protocols.read(protocols.PRESETS["helpsteer2"])
    answer = {
        "level": 1,
        "attributes": {"helpfulness": {"a": 9, "b": 1}, "safety": {"a": 1}},
        "aspects": {"truthful": {"level": 1}},
        "feedback": {"a": "Good."},
        "spans": [{"side": "a", "start": 0, "end": 1}],
    }
    left = recorded.leave(definition, Vote("v", 0, "ann", False, "", answer), "helpsteer3")
    assert left == [
        f"{what}: this project's protocol does not ask for it; the preset helpsteer3 does"
        for what in (
            "ratings (safety)",
            "answers on aspects (truthful)",
            "feedback on the responses",
            "marked passages",
        )
    ]
    assert answer == {"level": 1, "attributes": {"helpfulness": {"a": 9, "b": 1}}, "aspects": {}}


def test_what_an_ai_said_stays_as_it_said_it():
    definition = protocols.read(protocols.PRESETS["plain"])
    vote = Vote("v", 0, "judge", True, "", {"attributes": {"safety": {"a": 1}}}, p_b=0.5)
    assert recorded.leave(definition, vote) == [] and recorded.cannot_say(definition, vote) == ""
    assert vote.answer == {"attributes": {"safety": {"a": 1}}}


@pytest.mark.django_db
def test_an_import_is_noted_with_its_hash_and_once_where_it_brings_nothing(tmp_path):
    path = next(path for path in PUBLISHED if path.stem == "preference_rows")
    project = make_project()
    ingest.ingest_file(project, path, source="survey")
    ingest.ingest_file(project, path, source="survey")
    noted = Import.objects.get()
    assert (noted.filename, noted.format, noted.source, noted.rows) == (path.name, "preference_rows", "survey", 2)
    assert noted.bytes == path.stat().st_size and len(noted.sha256) == 64 and noted.report["comparisons"] == 2
