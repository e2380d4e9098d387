"""Guidelines: versions, what changed between them, who is told and who has read what."""

from __future__ import annotations

import re
import threading

import pytest
from django.db import connection
from django.urls import reverse

from annotator import difference, protocols
from annotator.models import Guidelines, Rater, Standing
from annotator.pipeline import guidelines, start
from annotator.readings import guidelines as reading
from tests.builders import make_comparison, make_judgment, make_member, make_person, make_project, make_user

pytestmark = pytest.mark.django_db

FIRST = "# Judge\n\nBe fair.\n\n## Truthfulness\n\nWrong facts count more than bad style.\n"
SECOND = FIRST.replace("Be fair.", "Be fair and quick.")


@pytest.fixture
def project():
    return make_project("multipref", guidelines=FIRST)


@pytest.fixture
def lead(project, client):
    user = make_member(project, "lead")
    client.force_login(user)
    return user


def publish(project, text=SECOND, base=1, **options):
    author = make_member(project, "lead")
    return guidelines.publish(project, text, author=author, base=base, **options)


# Versions


def test_a_new_project_starts_with_version_1_of_its_guidelines():
    lead = make_user()
    made = start.create_project("New", lead=lead, guidelines=FIRST)
    only = made.guidelines_versions.get()
    assert (only.version, only.text, only.created_by, only.must_acknowledge) == (1, FIRST, lead, False)


def test_a_changed_text_is_a_new_version_and_the_old_one_stays(project):
    publish(project, change_note="Speed counts.", must_acknowledge=True)
    project.refresh_from_db()
    assert (project.guidelines, project.guidelines_version) == (SECOND, 2)
    stored = list(project.guidelines_versions.order_by("version").values_list("version", "text", "must_acknowledge"))
    assert stored == [(1, FIRST, False), (2, SECOND, True)]


def test_the_same_text_again_is_no_new_version(project):
    publish(project)
    again = publish(project, base=2, change_note="nothing", must_acknowledge=True)
    assert (again.version, again.must_acknowledge) == (2, False)
    assert project.guidelines_versions.count() == 2


def test_a_text_written_from_an_older_version_is_refused_and_changes_nothing(project):
    publish(project)
    with pytest.raises(guidelines.Outdated) as refusal:
        publish(project, "# Judge\n\nBe kind.\n", base=1)
    assert refusal.value.newest.version == 2
    project.refresh_from_db()
    assert (project.guidelines, project.guidelines_versions.count()) == (SECOND, 2)


@pytest.mark.django_db(transaction=True)
def test_of_two_leads_who_publish_at_once_one_is_told():
    project = make_project(guidelines=FIRST)
    lead = make_member(project, "lead")
    done = []

    def run(text):
        try:
            done.append(guidelines.publish(project, text, author=lead, base=1).version)
        except guidelines.Outdated:
            done.append("outdated")
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done, key=str) == [2, "outdated"]
    assert project.guidelines_versions.count() == 2


# What changed


def kinds(passages):
    return [(piece.kind, piece.text) for passage in passages for piece in passage.pieces]


def test_the_difference_says_which_words_were_added_and_taken_out():
    found = kinds(difference.between("Be fair.\nBe quick.", "Be fair.\nBe very slow."))
    assert found == [
        ("same", "Be fair."),
        ("same", "Be "),
        ("removed", "quick"),
        ("added", "very slow"),
        ("same", "."),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "a"),
        ("a", ""),
        ("a\n\nb\n\nc", "a\n\nc\n\nd e f"),
        (FIRST, SECOND),
        ("x y " * 3000, "y z " * 3000),
        ("日本語 の 規則", "日本語 の 新しい 規則"),
    ],
)
def test_the_difference_holds_both_texts(old, new):
    pieces = [passage.pieces for passage in difference.between(old, new)]
    for text, left_out in ((old, "added"), (new, "removed")):
        lines = ["".join(piece.text for piece in row if piece.kind != left_out) for row in pieces]
        assert "\n".join(filter(None, lines)).replace("\n", "") == text.replace("\n", "")


def test_long_guidelines_are_compared_in_well_under_a_second():
    old = "\n".join(f"Rule {n}: judge by what the prompt asks for." for n in range(2000))
    changed = reading.changed_passages(old, old.replace("Rule 1000:", "Rule one thousand:"))
    assert sum(len(piece.text) for passage in changed for piece in passage.pieces) < 400


# What somebody has read


def test_somebody_new_has_no_changes_to_read(project):
    assert reading.changed(project, make_person(project)) is None


def test_a_change_is_new_until_it_is_acknowledged(project):
    rater = make_person(project)
    make_judgment(make_comparison(project), rater, 1, guidelines_version=1)
    publish(project, change_note="Speed counts.")
    changed = reading.changed(project, rater)
    assert (changed.since, changed.newest.version, changed.must_acknowledge) == (1, 2, False)
    assert [version.change_note for version in changed.notes] == ["Speed counts."]
    assert ("added", " and quick") in kinds(changed.passages) or ("added", "and quick") in kinds(changed.passages)
    guidelines.acknowledge(rater, 2)
    assert reading.changed(project, rater) is None


def test_what_must_be_acknowledged_is_new_to_somebody_who_read_nothing(project):
    publish(project, must_acknowledge=True)
    changed = reading.changed(project, make_person(project))
    assert (changed.since, changed.must_acknowledge) == (0, True)


def test_nobody_acknowledges_what_does_not_exist_yet_and_nothing_is_taken_back(project):
    rater = make_person(project)
    publish(project)
    rater.project.refresh_from_db()
    guidelines.acknowledge(rater, 99)
    assert Standing.objects.get(rater=rater).acknowledged == 2
    guidelines.acknowledge(rater, 1)
    assert Standing.objects.get(rater=rater).acknowledged == 2


def test_questions_lead_to_the_heading_of_their_name(project):
    definition = protocols.read(project.protocol.definition)
    anchors = {topic.key: topic.anchor for topic in reading.topics(definition, FIRST)}
    assert anchors["truthful"] == "guide-truthfulness" and not anchors.get("helpful")
    assert 'id="guide-truthfulness"' in reading.to_html(FIRST)


def test_levels_with_a_meaning_are_shown_with_their_example():
    levels = [[-1, "A"], [0, "Tie", "both serve *equally*", "**Case**: same facts"], [1, "B"]]
    definition = protocols.read({"question": "Which?", "levels": levels})
    (topic,) = reading.topics(definition, "")
    assert [(each.value, each.meaning) for each in topic.examples] == [(-1, ""), (0, "both serve *equally*"), (1, "")]
    assert "<strong>Case</strong>" in topic.examples[1].html


def test_the_numbers_of_a_rating_are_explained_in_the_drawer():
    definition = protocols.read(protocols.PRESETS["helpsteer2"])
    levels = {topic.key: [each.label for each in topic.examples] for topic in reading.topics(definition, "")}
    assert set(levels) == {"helpfulness", "correctness", "coherence", "complexity", "verbosity"}
    assert len(levels["correctness"]) == 5 and all(levels["correctness"])


def test_headings_are_no_way_to_write_html():
    html = reading.to_html('## <img src=x onerror=alert(1)> " onclick="x\n\n## Same\n\n## Same\n')
    assert re.findall(r"<[^>]*(?:<|onclick=|src=)[^>]*>", html) == []
    assert html.count('id="guide-same"') == 1


# Pages


def test_the_page_shows_versions_and_the_difference_between_two(project, lead, client):
    publish(project, change_note="Speed counts.")
    page = client.get(reverse("guidelines", args=[project.pk]), {"old": 1, "new": 2})
    assert page.context["shown"].version == 2
    words = page.content.decode()
    assert "Speed counts." in words and "<ins>" in words and "<del>" not in words
    older = client.get(reverse("guidelines", args=[project.pk]), {"version": 1})
    assert older.context["shown"].version == 1 and "no longer in force" in older.content.decode()
    assert client.get(reverse("guidelines", args=[project.pk]), {"version": "9" * 40}).status_code == 200


def test_publishing_tells_a_lead_whose_text_is_outdated_what_it_would_change(project, lead, client):
    publish(project)
    given = {"text": "# Judge\r\n\r\nBe kind.\r\n", "change_note": "", "base": 1}
    refused = client.post(reverse("guidelines_edit", args=[project.pk]), given)
    assert refused.status_code == 422 and "published version 2 while you wrote" in refused.content.decode()
    assert ("added", "kind") in kinds(refused.context["passages"])
    assert refused.context["form"]["base"].value() == 2 and "Be kind." in refused.context["form"]["text"].value()
    assert client.post(reverse("guidelines_edit", args=[project.pk]), {**given, "base": 2}).status_code == 302
    newest = project.guidelines_versions.get(version=3)
    assert (newest.text, newest.created_by) == ("# Judge\n\nBe kind.\n", lead)


def test_the_line_ends_of_a_browser_are_no_change(project, lead, client):
    text = FIRST.replace("\n", "\r\n")
    client.post(reverse("guidelines_edit", args=[project.pk]), {"text": text, "base": 1})
    project.refresh_from_db()
    assert project.guidelines_version == 1


def test_the_preview_renders_what_is_being_written(project, lead, client):
    preview = client.post(reverse("guidelines_preview", args=[project.pk]), {"text": "**new** <script>"})
    assert "<strong>new</strong>" in preview.content.decode() and "<script>" not in preview.content.decode()
    assert not Guidelines.objects.filter(text__contains="new").exists()


def test_reading_is_stored_once_and_leads_back_to_the_work(project, client):
    user = make_member(project, "annotator")
    client.force_login(user)
    publish(project, change_note="Speed counts.", must_acknowledge=True)
    page = client.get(reverse("guidelines_read", args=[project.pk]))
    assert "Please read the guidelines first." in page.content.decode()
    assert Standing.objects.count() == 0
    for _twice in range(2):
        answer = client.post(reverse("guidelines_read", args=[project.pk]), {"version": 2})
        assert (answer.status_code, answer.headers["Location"]) == (302, reverse("annotate", args=[project.pk]))
    assert Standing.objects.get(rater=Rater.objects.get(user=user)).acknowledged == 2


def test_the_drawer_says_what_changed_and_takes_the_reading(project, client):
    user = make_member(project, "annotator")
    client.force_login(user)
    make_judgment(make_comparison(project), make_person(project, user), 1, guidelines_version=1)
    publish(project, change_note="Speed counts.")
    drawer = client.get(reverse("guidelines_drawer", args=[project.pk])).content.decode()
    assert 'data-version="2"' in drawer and "Speed counts." in drawer and "<ins>" in drawer
    after = client.post(
        reverse("guidelines_read", args=[project.pk]), {"version": 2}, headers={"HX-Request": "true"}
    ).content.decode()
    assert 'data-version="2"' in after and "Speed counts." not in after


def test_the_seat_shows_the_drawer_and_each_comparison_says_its_version(project, client):
    client.force_login(make_member(project, "annotator"))
    make_comparison(project, votes_wanted=1, places_open=1)
    page = client.get(reverse("annotate", args=[project.pk])).content.decode()
    assert 'data-guidelines="1"' in page and 'href="#guide-truthfulness"' in page and "Wrong facts count more" in page
