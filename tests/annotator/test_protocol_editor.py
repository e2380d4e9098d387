"""The protocol editor: rows added, moved and removed, a live preview, and a new version that changes no judgment."""

import json
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from annotator import protocols
from annotator.forms import protocol_editor, protocol_tree
from annotator.models import Assignment, Judgment, Protocol
from annotator.pipeline import assign, publish
from annotator.readings import protocols as reading
from tests.builders import make_comparison, make_judgment, make_member, make_person, make_project

READ = {name: protocols.read(stored) for name, stored in protocols.PRESETS.items()}
TWO = [[-1, "A"], [1, "B"]]


class Form(HTMLParser):
    """What a browser would send of the editor's form, without its button."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sent: dict[str, str] = {}
        self.buttons: list[str] = []
        self._inside = False
        self._area = self._select = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "form":
            self._inside = given.get("id") == "protocol-form"
        name = given.get("name")
        if not self._inside:
            return
        if tag == "button" and "disabled" not in given:
            self.buttons.append(given.get("value") or "")
        if tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.sent[name] = given.get("value") or ""
        if tag == "textarea":
            self._area = name
            self.sent[name] = ""
        if tag == "select":
            self._select = name
        if tag == "option" and "selected" in given:
            self.sent[self._select] = given["value"]

    def handle_data(self, data):
        if self._area:
            self.sent[self._area] += data

    def handle_endtag(self, tag):
        if tag == "textarea":
            self._area = ""
        if tag == "form":
            self._inside = False


class Lead:
    """A lead at a browser without scripts."""

    def __init__(self, project):
        self.project = project
        self.client = Client()
        self.user = make_member(project, "lead")
        self.client.force_login(self.user)
        self.address = reverse("protocol_edit", args=[project.pk])

    def open(self, query=""):
        return self.client.get(self.address + query)

    def do(self, form, do, **changes):
        return self.client.post(self.address, {**form.sent, **changes, "do": do})

    def begin(self, query=""):
        return Form(self.open(query).content.decode())


def form_of(reply):
    return Form(reply.content.decode())


# ---------- rows ----------


@pytest.mark.parametrize("preset", READ)
def test_a_preset_goes_through_the_rows_and_asks_the_same_afterwards(preset):
    tree = protocol_tree.tree_of(READ[preset])
    definition = protocol_tree.definition_of(tree)
    assert protocols.faults(definition) == []
    assert protocols.read(definition) == READ[preset]
    assert protocol_editor.sections(tree)


def boxes_of(sections):
    """Every box on the page, however deep."""
    waiting = list(sections)
    while waiting:
        each = waiting.pop()
        yield from (*each.boxes, *([each.first, *each.hidden] if hasattr(each, "first") else []))
        for grid in each.grids:
            waiting += grid.rows


@pytest.mark.parametrize("preset", READ)
def test_what_the_boxes_of_a_preset_send_is_the_preset(preset):
    tree = protocol_tree.tree_of(READ[preset])
    sent = {}
    for box in boxes_of(protocol_editor.sections(tree)):
        if box.kind != "check" or box.value:
            sent[box.name] = str(box.value)
    assert protocols.read(protocol_tree.definition_of(protocol_tree.tree_sent(sent))) == READ[preset]


def test_rows_are_added_moved_and_removed_and_levels_are_numbered_anew():
    tree = protocol_tree.tree_of(READ["plain"])
    assert protocol_tree.changed(tree, "levels.add") == "levels.3.label"
    assert [row["value"] for row in tree["levels"]] == [-2, -1, 1, 2]
    assert protocol_tree.changed(tree, "reasons.0.down") == "reasons.1.down"
    assert [row["key"] for row in tree["reasons"]][:2] == ["complete", "correct"]
    assert protocol_tree.changed(tree, "reasons.0.remove") == "reasons.add"
    assert [row["key"] for row in tree["reasons"]][:2] == ["correct", "clear"]
    protocol_tree.changed(tree, "aspects.add")
    assert protocol_tree.changed(tree, "aspects.0.reasons.add") == "aspects.0.reasons.0.label"
    assert len(tree["aspects"][0]["levels"]) == 5


@pytest.mark.parametrize(
    "do", ["", "levels", "levels.9.up", "levels.0.up", "question.add", "levels.-1.remove", "x.y.z"]
)
def test_a_button_that_fits_nothing_changes_nothing(do):
    tree = protocol_tree.tree_of(READ["plain"])
    before = json.dumps(tree)
    assert protocol_tree.changed(tree, do) == ""
    assert json.dumps(tree) == before


def test_a_row_without_a_key_gets_one_of_its_words_and_keeps_those_that_are_there():
    tree = protocol_tree.tree_of(READ["plain"])
    tree["reasons"] = [
        {"label": "Näher dran!", "key": ""},
        {"label": "Naher dran", "key": ""},
        {"label": "x", "key": "k"},
    ]
    tree["flags"] = [{"label": "危険", "key": ""}]
    definition = protocol_tree.definition_of(tree)
    assert [key for key, _label in definition["reasons"]] == ["naher_dran", "naher_dran_2", "k"]
    assert definition["flags"] == [["row", "危険"]]


# ---------- faults ----------


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"question": " "}, "question", "Question: is empty"),
        ({"levels": [[-1, "A"], [1, ""]]}, "levels.1.label", "level 2"),
        ({"levels": [[-1, "A"]]}, "levels", "2 to 9 levels"),
        ({"levels": [[-1, "A"], [2, "B"]]}, "levels", "mirror"),
        ({"reasons": [["a", "A"], ["a", "B"]]}, "reasons.1.key", "Reason 2"),
        ({"flags": [["Ä", "A"]]}, "flags.0.key", "Flag 1"),
        ({"aspects": [{"key": "x", "label": "X", "levels": TWO, "reasons": [["r", ""]]}]},
         "aspects.0.reasons.0.label", "Aspect 1 “X”, reason 1"),
        ({"attributes": [{"key": "x", "label": "X", "minimum": 3, "maximum": 3}]}, "attributes.0.maximum", "above"),
        ({"attributes": [{"key": "x", "label": "X", "minimum": 0, "maximum": 1, "anchors": ["a", "b", "c"]}]},
         "attributes.0.anchors", "more levels in words"),
        ({"justification_min": "many"}, "justification_min", "whole number"),
        ({"justification": "maybe"}, "justification", "one of"),
        ({"spans": {"types": [], "severities": [["a", "A"]]}}, "spans.types", "at least one type"),
        ({"ranking": "full", "aspects": [{"key": "x", "label": "X", "levels": TWO}]}, "aspects", "rank"),
        ({"confidence": "yes"}, "confidence", "true or false"),
        ({"colour": "red"}, "colour", "unknown"),
        ({"aspects": [{"key": "x", "label": "X", "levels": TWO, "size": 1}]}, "aspects.0.size", "unknown"),
    ],
)  # fmt: skip
def test_each_fault_is_named_with_its_row_and_its_field(change, path, words):
    found = protocols.faults({**protocols.PRESETS["plain"], **change})
    assert [fault.path for fault in found] == [path]
    assert words in str(found[0])


@pytest.mark.parametrize("nonsense", [None, [], "x", {"levels": 3}, {"question": "q", "levels": [3]}, {"aspects": [7]}])
def test_nonsense_is_told_and_never_breaks(nonsense):
    assert protocols.faults(nonsense)


# ---------- publishing ----------


@pytest.mark.django_db
def test_a_published_version_is_asked_from_then_on_and_judgments_keep_theirs():
    project = make_project()
    judgment = make_judgment(make_comparison(project), make_person(project), level=1)
    lead = Lead(project)
    reply = lead.do(lead.begin(), "publish", question="Which is kinder?")
    assert reply.status_code == 302
    newest = project.protocol
    assert (newest.version, newest.created_by, newest.definition["question"]) == (2, lead.user, "Which is kinder?")
    assert Judgment.objects.get(pk=judgment.pk).protocol.version == 1


@pytest.mark.slow
@pytest.mark.django_db
def test_publishing_what_is_asked_already_makes_no_version():
    project = make_project("helpsteer2")
    lead = Lead(project)
    for _again in range(2):
        assert lead.do(lead.begin(), "publish").status_code == 302
    assert project.protocols.count() == 1


@pytest.mark.django_db
def test_two_who_revise_the_same_version_are_told_of_each_other():
    project = make_project()
    lead = Lead(project)
    first, second = lead.begin(), lead.begin()
    lead.do(first, "publish", question="First?")
    late = lead.do(second, "publish", question="Second?")
    assert late.status_code == 422 and "published version 2 meanwhile" in late.content.decode()
    assert project.protocols.count() == 2
    assert lead.do(form_of(late), "publish").status_code == 302
    assert project.protocol.definition["question"] == "Second?"


@pytest.mark.django_db(transaction=True)
def test_leads_who_publish_at_once_never_share_a_version():
    project = make_project()

    def one(number):
        try:
            definition = {**protocols.PRESETS["plain"], "question": f"Question {number}?"}
            return publish.publish(project, definition, preset="plain", author=None).version
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(one, range(4)))
    assert sorted(versions) == [2, 3, 4, 5]


@pytest.mark.django_db
def test_what_cannot_be_published_comes_back_with_every_fault_beside_its_box():
    project = make_project()
    lead = Lead(project)
    reply = lead.do(lead.begin(), "publish", **{"question": "", "levels.1.label": ""})
    page = reply.content.decode()
    assert reply.status_code == 422 and not project.protocols.filter(version=2).exists()
    assert 'href="#p-question"' in page and 'id="p-question-error"' in page and 'id="p-levels-1-label-error"' in page


# ---------- the pages ----------


@pytest.mark.django_db
@pytest.mark.parametrize("preset", READ)
def test_the_editor_of_every_preset_sends_back_what_it_shows(preset):
    project = make_project()
    make_comparison(project)
    lead = Lead(project)
    reply = lead.do(lead.begin(f"?from={preset}"), "publish")
    assert reply.status_code == 302
    assert protocols.read(project.protocol.definition) == READ[preset]
    assert project.protocol.preset == preset


@pytest.mark.django_db
def test_rows_are_edited_without_scripts_and_the_focus_goes_where_the_work_is():
    project = make_project()
    lead = Lead(project)
    added = lead.do(lead.begin(), "aspects.add", question="Kept?")
    form = form_of(added)
    assert form.sent["question"] == "Kept?" and form.sent["aspects.0.label"] == ""
    assert 'name="aspects.0.label" value="" dir="auto" autofocus' in added.content.decode()
    form = form_of(lead.do(form, "aspects.add", **{"aspects.0.label": "Truth"}))
    moved = form_of(lead.do(form, "aspects.0.down", **{"aspects.1.label": "Tone"}))
    assert (moved.sent["aspects.0.label"], moved.sent["aspects.1.label"]) == ("Tone", "Truth")
    assert "aspects.0.up" not in moved.buttons and "aspects.1.up" in moved.buttons
    assert lead.do(moved, "publish").status_code == 302
    assert [aspect["key"] for aspect in project.protocol.definition["aspects"]] == ["tone", "truth"]


@pytest.mark.django_db
def test_htmx_gets_the_form_and_the_preview_alone():
    project = make_project()
    lead = Lead(project)
    form = lead.begin()
    reply = lead.client.post(lead.address, {**form.sent, "do": "flags.add"}, headers={"HX-Request": "true"})
    page = reply.content.decode()
    assert "<html" not in page and 'id="protocol-form"' in page and 'hx-swap-oob="innerHTML"' in page


@pytest.mark.django_db
def test_the_preview_is_the_seats_own_form_on_a_comparison_of_the_project_and_stores_nothing():
    project = make_project()
    comparison = make_comparison(project, a="A sample response.")
    lead = Lead(project)
    form = lead.begin("?from=helpsteer3")
    sent = {**form.sent, "question": "Which is braver?"}
    page = lead.client.post(reverse("protocol_preview", args=[project.pk]), sent).content.decode()
    assert "Which is braver?" in page and comparison.response_a.text in page
    assert 'name="feedback.b"' in page and 'name="flags"' in page
    assert 'method="dialog"' in page and "csrfmiddlewaretoken" not in page and "model-a" not in page
    assert project.protocols.count() == 1


@pytest.mark.django_db
def test_the_preview_says_what_changes_and_whose_work_it_meets():
    project = make_project()
    make_judgment(make_comparison(project), make_person(project), level=1)
    make_comparison(project, votes_wanted=1, places_open=1)
    lease = assign.next_assignment(project, make_person(project, make_member(project, "annotator")))
    Assignment.objects.filter(pk=lease.pk).update(draft={"level": 1})
    lead = Lead(project)
    page = lead.do(lead.begin("?from=summarize9"), "").content.decode()
    assert "1 judgment answered the version in force" in page and "The scale changes" in page
    assert "1 comparison is on somebody" in page and "1 draft has answers" in page
    assert "<del>" in page and "<ins>" in page


@pytest.mark.django_db
def test_experts_write_json_and_come_back_to_rows():
    project = make_project()
    lead = Lead(project)
    form = form_of(lead.do(lead.begin(), "json", question="By hand?"))
    written = json.loads(form.sent["written"])
    assert written["question"] == "By hand?"
    broken = lead.do(form, "publish", written='{"question": ')
    assert broken.status_code == 422 and "Line 1" in broken.content.decode()
    wrong = lead.do(form, "rows", written=json.dumps({**written, "colour": 1}))
    assert "colour is unknown" in wrong.content.decode() and "written" in form_of(wrong).sent
    rows = form_of(lead.do(form, "rows", written=json.dumps({**written, "feedback": "optional"})))
    assert rows.sent["feedback"] == "optional"


@pytest.mark.django_db
def test_readers_see_versions_and_what_changed_between_them_and_cannot_write():
    project = make_project()
    definition = {**protocols.PRESETS["plain"], "question": "Which is kinder?", "flags": [["pii", "Personal data"]]}
    author = make_member(project, "lead", "ada")
    publish.publish(project, definition, preset="plain", author=author)
    for role in ("viewer", "reviewer"):
        client = Client()
        client.force_login(make_member(project, role))
        page = client.get(reverse("protocol", args=[project.pk]), {"old": 1, "new": 2}).content.decode()
        assert "ada" in page and "Which is kinder?" in page and "Personal data" in page
        assert reverse("protocol_edit", args=[project.pk]) not in page
        assert client.get(reverse("protocol_edit", args=[project.pk])).status_code == 404
        assert client.post(reverse("protocol_preview", args=[project.pk])).status_code == 404
    assert [(change.before, change.after) for change in reading.changes(READ["plain"], protocols.read(definition))] == [
        ("Which response is better?", "Which is kinder?"),
        ("", "Personal data"),
    ]


@pytest.mark.parametrize("preset", READ)
def test_a_protocol_differs_from_itself_in_nothing_and_from_another_in_something(preset):
    assert reading.changes(READ[preset], READ[preset]) == []
    assert all(reading.changes(READ[preset], other) for name, other in READ.items() if name != preset)


@pytest.mark.django_db
def test_a_version_stored_by_an_earlier_release_can_be_revised():
    project = make_project()
    Protocol.objects.update(
        definition={"question": "Which?", "levels": [[-2, "A"], [2, "B"]], "justification": "optional"}
    )
    lead = Lead(project)
    assert lead.do(lead.begin(), "publish", question="Which one?").status_code == 302
    assert project.protocol.definition["levels"] == [[-2, "A"], [2, "B"]]
