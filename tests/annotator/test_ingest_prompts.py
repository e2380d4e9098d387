"""A file may bring prompts alone; comparisons that the site makes of their responses come in as a file's do."""

import json

import pytest
from django.urls import reverse

from annotator.formats import native
from annotator.formats.rows import ComparisonRow, Entry, PromptRow, ResponseRow
from annotator.models import Comparison, Job, Prompt, Response
from annotator.pipeline import ingest
from tests.annotator.test_ingest import ROW, refusal, write
from tests.builders import make_member, make_project

pytestmark = pytest.mark.django_db

ALONE = {"id": "p1", "prompt": "What is hail?", "system": "Be brief.", "metadata": {"domain": "weather"}}


def test_a_prompt_alone_is_stored_under_its_rows_id_with_its_metadata(tmp_path):
    project = make_project()
    path = write(tmp_path, [ALONE, {"id": 2, "prompt_id": "named", "prompt": "And snow?"}])
    report = ingest.ingest_file(project, path)
    assert (report.prompts, report.comparisons, report.alone) == (2, 0, 2)
    assert "2 rows hold a prompt without responses" in str(report)
    prompt = project.prompts.get(external_id="p1")
    assert prompt.turns == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is hail?"},
    ]
    assert prompt.metadata == {"domain": "weather"}
    assert project.prompts.filter(external_id="named").exists()
    again = ingest.ingest_file(project, path)
    assert (again.prompts, again.alone, Prompt.objects.count()) == (0, 2, 2)


def test_prompts_alone_and_whole_rows_may_stand_in_one_file(tmp_path):
    project = make_project()
    report = ingest.ingest_file(project, write(tmp_path, [ALONE, ROW]))
    assert (report.prompts, report.responses, report.comparisons, report.alone) == (2, 2, 1, 1)


def test_a_prompt_alone_with_another_text_under_a_known_id_is_refused(tmp_path):
    project = make_project()
    ingest.ingest_file(project, write(tmp_path, [ALONE]))
    errors = refusal(project, write(tmp_path, [{**ALONE, "prompt": "What is sleet?"}]))["errors"]
    assert errors == [{"line": 1, "field": "prompt", "reason": "the project has prompt p1 with another text"}]


@pytest.mark.parametrize("column", ["respones", "chosen", "gold", "judgments", "criterion"])
def test_a_row_with_any_other_column_is_not_taken_for_a_prompt_alone(tmp_path, column):
    project = make_project()
    assert not native.claims({**ALONE, column: "x"})
    errors = refusal(project, write(tmp_path, [ROW, {**ALONE, column: "x"}]))["errors"]
    assert f"put into metadata: {column}" in errors[0]["reason"]
    assert not Prompt.objects.exists()


def test_the_preview_shows_the_prompt_and_says_that_it_waits_for_responses(tmp_path, client):
    project = make_project()
    client.force_login(make_member(project, "lead"))
    path = write(tmp_path, [ALONE, ROW])
    with path.open("rb") as file:
        shown = client.post(reverse("import_upload", args=[project.pk]), {"file": file}, follow=True)
    assert shown.status_code == 200
    words = shown.content.decode()
    assert "1 of these rows holds a prompt without responses" in words
    assert "What is hail?" in words and "Falling drops of water." in words


def entry(prompt, first, second):
    """The comparison of two stored responses, as a reader would give it."""
    asked = PromptRow(prompt.external_id, json.dumps(prompt.turns), "[]", "{}", prompt.text_hash)
    sides = [ResponseRow(one.external_id, one.text, one.model, "{}", one.text_hash, "x") for one in (first, second)]
    return Entry(asked, sides, [ComparisonRow(f"{prompt.external_id}:1-2", 0, 1, '{"rule": "test"}', "x")], [])


def test_what_the_site_makes_itself_comes_in_as_a_file_does(tmp_path):
    project = make_project()
    ingest.ingest_file(project, write(tmp_path, [ALONE]))
    prompt = project.prompts.get()
    first, second = (
        Response.objects.create(prompt=prompt, external_id=f"r{n}", text=f"Ice {n}.", model="m", text_hash=f"{n}")
        for n in (1, 2)
    )
    Job.objects.all().delete()
    report = ingest.ingest_entries(project, lambda _beat: [entry(prompt, first, second)])
    assert (report.prompts, report.responses, report.comparisons) == (0, 0, 1)
    made = Comparison.objects.get()
    assert (made.prompt, made.response_a, made.response_b) == (prompt, first, second)
    assert made.metadata == {"rule": "test"}
    assert Job.objects.get().kind == Job.Kind.FEATURISE
    assert ingest.ingest_entries(project, lambda _beat: [entry(prompt, first, second)]).skipped_existing == 1
