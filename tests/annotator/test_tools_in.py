"""Files of other tools go the whole way: from the tool's file to comparisons, judgments, and what was left."""

import json
from pathlib import Path

import pytest

from annotator.formats.files import RowFile
from annotator.models import Import
from annotator.pipeline import ingest
from tests.builders import make_project

ROWS = Path(__file__).parent / "rows"
pytestmark = pytest.mark.django_db


def test_label_studio_comes_in_as_the_one_list_that_it_writes(tmp_path):
    tasks = [row for _line, row in RowFile(ROWS / "label_studio.jsonl")]
    (tmp_path / "export.json").write_text(json.dumps(tasks, indent=2, ensure_ascii=False))
    project = make_project("helpsteer3")
    report = ingest.ingest_file(project, tmp_path / "export.json")
    assert (report.comparisons, report.judgments) == (2, 3)
    assert report.left["a cancelled annotation"] == report.left["a draft"] == 1
    person = project.judgments.get(rater__external_id="10")
    assert (person.level, person.active_ms, person.provenance["ground_truth"]) == (-3, 42125, True)
    assert project.judgments.get(rater__external_id="kim@example.org").level == 0
    assert project.judgments.get(p_b=1).rater.labeler_version.labeler.name == "judge-2"
    again = ingest.ingest_file(project, tmp_path / "export.json")
    assert (again.comparisons, again.judgments, again.skipped_existing) == (0, 0, 2)


@pytest.mark.parametrize(
    ("reader", "preset", "judgments"),
    [("argilla", "plain", 3), ("argilla-nested", "ranking", 2), ("label_studio-ranker", "ranking", 1),
     ("doccano", "plain", 1), ("doccano-text", "multipref", 1), ("potato", "plain", 3), ("potato-first", "arena", 1)],
)  # fmt: skip
def test_every_tool_comes_in_and_what_it_left_is_counted(reader, preset, judgments):
    project = make_project(preset)
    report = ingest.ingest_file(project, ROWS / f"{reader}.jsonl")
    assert report.judgments == project.judgments.count() == judgments
    assert Import.objects.get().format == reader.partition("-")[0]
