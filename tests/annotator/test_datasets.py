"""Data sets and their versions: kept, written anew, compared; links that end; what pages say of all this."""

import copy
import html
import json
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.core import signing
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.db.models import signals
from django.template import Context, Template
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import translation
from django.utils.timezone import now

from annotator import readings, stored
from annotator.formats import changes as rows_of
from annotator.forms.exports import said
from annotator.models import Dataset, Export, Job, Judgment, Membership, Profile
from annotator.pipeline import aggregate, changes, datasets, export, links, push, work
from annotator.readings.raters import pseudonym
from annotator.views import datasets as datasets_view
from tests.builders import make_comparison, make_judgment, make_labeler, make_member, make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


@pytest.fixture
def project():
    project = make_project(name="Rain")
    for number in range(3):
        judged(project, f"Number {number}?")
    return project


@pytest.fixture
def lead(project, client):
    user = make_member(project, "lead")
    client.force_login(user)
    return user


def judged(project, prompt, level=1):
    comparison = make_comparison(project, prompt)
    make_judgment(comparison, make_person(project), level)
    return comparison


def begun(project, format="trl_reward", container="jsonl", name="rain", **options):
    made, _first = datasets.begin(
        project, name, None, format=format, container=container, recipe=aggregate.recipe(project, "routed"),
        options=options, filters={},
    )  # fmt: skip
    export.run_exports()
    return made


def another(dataset):
    """The job that wrote a new version, or found that none was needed."""
    _export, job = datasets.write_version(dataset, None)
    export.run_exports()
    job.refresh_from_db()
    return job


def compared(dataset, old=1, new=2):
    before, after = (dataset.versions.get(version=number) for number in (old, new))
    job = changes.request_changes(before, after, None)
    changes.run_changes()
    job.refresh_from_db()
    return job.result


def change(project):
    """One comparison more, one judged the other way round, one that is not judged any more."""
    first, second, third = project.comparisons.order_by("pk")
    judged(project, "A new one?")
    Judgment.objects.filter(comparison=first).update(preference=-1, level=-2)
    Judgment.objects.filter(comparison=second).delete()
    return first, second, third


def test_an_export_is_kept_as_the_first_version_of_a_data_set(project, client, lead):
    asked = export.request_export(project, "trl_reward", "jsonl", aggregate.recipe(project, "people"), {}, lead)[0]
    export.run_exports()
    address = reverse("export_keep", args=[project.pk, asked.number])
    assert client.post(address, {"name": " "}).status_code == 422
    answer = client.post(address, {"name": "Rain <b>"})
    made = Dataset.objects.get()
    assert answer.url == reverse("dataset", args=[project.pk, made.pk])
    assert (made.format, made.container, made.recipe.source, made.options) == (
        "trl_reward", "jsonl", "people", Export.objects.get().options,
    )  # fmt: skip
    again = client.post(address, {"name": "other"})
    assert "a version of a data set already" in again.content.decode()
    assert Dataset.objects.count() == 1
    shown = client.get(reverse("datasets", args=[project.pk])).content.decode()
    assert "Rain &lt;b&gt;" in shown


@pytest.mark.slow
def test_comparing_two_versions_loads_those_two(project):
    made = begun(project)
    for number in range(3):
        judged(project, f"Another {number}?")
        another(made)
    before, after = (made.versions.get(version=number) for number in (1, 2))
    changes.request_changes(before, after, None)
    loaded = []
    signals.post_init.connect(on_load := lambda instance, **_: loaded.append(instance.version), sender=Export)
    try:
        changes.run_changes()
    finally:
        signals.post_init.disconnect(on_load, sender=Export)
    assert sorted(loaded) == [1, 2]


def test_a_name_is_given_once_in_a_project(project):
    begun(project)
    with pytest.raises(work.StepRefused, match="of that name already"):
        begun(project)
    assert Export.objects.count() == 1


@pytest.mark.slow
def test_a_new_version_is_written_only_when_something_changed(project, client, lead):
    made = begun(project)
    job = another(made)
    assert (job.state, job.message) == (
        Job.State.DONE, "Nothing has changed since version 1; no new one was written.",
    )  # fmt: skip
    assert [each.version for each in made.versions.filter(completed_at__isnull=False)] == [1]
    judged(project, "A new one?")
    client.post(reverse("dataset_version", args=[project.pk, made.pk]))
    export.run_exports()
    assert [(each.version, each.rows) for each in made.versions.exclude(version=None).order_by("version")] == [
        (1, 3),
        (2, 4),
    ]


@pytest.mark.slow
def test_a_version_has_the_choices_of_the_first(project):
    made = begun(project, validation=0.5, seed=7)
    judged(project, "A new one?")
    another(made)
    first, second = made.versions.order_by("version")
    assert first.options == second.options
    assert second.options["validation"] == 0.5


@pytest.mark.parametrize(
    ("format", "container"),
    [
        ("trl_reward", "jsonl"),
        pytest.param("judgments", "parquet", marks=pytest.mark.slow),
    ],
)
def test_two_versions_tell_what_was_added_removed_and_changed(project, format, container):
    made = begun(project, format, container)
    first, second, _third = change(project)
    another(made)
    found = compared(made)
    assert {name: found[name] for name in ("before", "after", "added", "removed", "changed", "turned")} == {
        "before": 3, "after": 3, "added": 1, "removed": 1, "changed": 1, "turned": 1,
    }  # fmt: skip
    added = project.comparisons.latest("pk").external_id
    assert (found["examples"]["added"], found["examples"]["removed"]) == ([added], [second.external_id])
    (changed,) = found["examples"]["changed"]
    assert changed["key"] == first.external_id
    names = {name for name, _before, _after in changed["columns"]}
    assert names & {"chosen", "p_b"}


@pytest.mark.slow
def test_a_change_of_certainty_alone_turns_nothing(project):
    make_judgment(project.comparisons.first(), make_person(project), 1)
    made = begun(project, "judgments", "jsonl")
    make_judgment(project.comparisons.first(), make_person(project), -1)
    another(made)
    found = compared(made)
    assert (found["changed"], found["turned"]) == (1, 0)


def test_the_order_of_a_comparisons_rows_and_their_split_make_no_difference(tmp_path):
    rows = [{"meta_comparison_id": key, "chosen": side} for key in "ab" for side in ("x", "y")]
    for name, order in (("one", rows), ("two", rows[::-1][:1]), ("rest", rows[::-1][1:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in order))
    found = rows_of.compare(
        [tmp_path / "one.jsonl"], [tmp_path / "two.jsonl", tmp_path / "rest.jsonl"], "meta_comparison_id"
    )
    assert (found.before, found.after, found.added, found.removed, found.changed) == (2, 2, 0, 0, 0)


@pytest.mark.slow
def test_rows_that_do_not_name_their_comparison_are_counted_only(project, client, lead, monkeypatch):
    made = begun(project)
    judged(project, "A new one?")
    another(made)
    monkeypatch.setattr(rows_of, "KEYS", ("nothing",))
    assert compared(made)["key"] == ""
    page = client.get(reverse("dataset_changes", args=[project.pk, made.pk])).content.decode()
    assert "only their numbers can be compared" in page
    assert '<td class="n">3</td><td class="n">4</td>' in page


@pytest.mark.slow
def test_what_was_compared_once_is_kept(project):
    made = begun(project)
    change(project)
    another(made)
    compared(made)
    before, after = made.versions.order_by("version")
    assert changes.request_changes(before, after, None) == changes.known(before, after)
    assert Job.objects.filter(kind=Job.Kind.CHANGES).count() == 1


@pytest.mark.slow
def test_versions_of_different_data_sets_are_not_compared(project):
    one, other = begun(project), begun(project, name="other")
    with pytest.raises(work.StepRefused, match="two versions of one data set"):
        changes.request_changes(one.versions.get(), other.versions.get(), None)


@pytest.mark.slow
def test_pages_show_versions_facts_and_changes(project, client, lead):
    made = begun(project)
    make_labeler(project)
    project.price_per_judgment = 3
    project.save()
    first, *_others = change(project)
    another(made)
    page = html.unescape(client.get(reverse("dataset", args=[project.pk, made.pk])).content.decode())
    assert "<b>2 versions</b>" in page
    for version in made.versions.all():
        assert version.sha256[:12] in page
        assert reverse("export_download", args=[project.pk, version.number]) in page
    address = reverse("dataset_changes", args=[project.pk, made.pk]) + "?before=1&after=2"
    assert "Compare the rows" in client.get(address).content.decode()
    client.post(address.partition("?")[0], {"before": 1, "after": 2})
    changes.run_changes()
    job = Job.objects.get(kind=Job.Kind.CHANGES)
    assert reverse("dataset_changes", args=[project.pk, made.pk]) in client.get(
        reverse("job", args=[project.pk, job.pk])
    ).content.decode()  # fmt: skip
    page = html.unescape(client.get(address).content.decode())
    assert "1 of them to the other side" in page
    assert first.external_id in page
    assert "price of a person's judgment" in page


@pytest.mark.slow
def test_the_page_of_a_data_set_costs_the_same_queries_however_many_versions(
    project, client, lead, django_assert_max_num_queries
):
    made = begun(project)
    for number in range(2):
        judged(project, f"Another {number}?")
        another(made)
    with django_assert_max_num_queries(16):
        client.get(reverse("dataset", args=[project.pk, made.pk]))


@pytest.fixture
def made(project):
    return begun(project).versions.get()


def link(client, made, name="README.md"):
    page = client.post(reverse("export_link", args=[made.project_id, made.number]), {"name": name}).content.decode()
    return urlsplit(html.unescape(page).partition('readonly value="')[2].partition('"')[0]).path


def test_a_link_gives_one_file_to_somebody_without_an_account(made, client, lead):
    answer = Client().get(link(client, made))
    assert b"".join(answer.streaming_content).startswith(b"---\nlicense:")
    assert answer["Content-Disposition"] == 'attachment; filename="README.md"'
    whole = Client().get(link(client, made, ""))
    assert whole["Content-Type"] == "application/zip"


def test_a_link_ends_after_a_day_and_with_its_export(made, client, lead, monkeypatch):
    address = link(client, made)
    monkeypatch.setattr(links, "KEPT", timedelta(seconds=-1))
    assert Client().get(address).status_code == 404
    monkeypatch.undo()
    monkeypatch.setattr(work, "nudge", lambda task: None)
    assert Client().get(address).status_code == 200
    made.delete()
    assert Client().get(address).status_code == 404


def test_a_link_ends_when_its_maker_may_not_read_any_more(made, client, lead):
    address = link(client, made)

    def answers():
        return Client().get(address).status_code

    Membership.objects.filter(user=lead).update(role="annotator")
    assert answers() == 404
    Membership.objects.filter(user=lead).update(role="viewer")
    assert answers() == 200
    lead.is_active = False
    lead.save()
    assert answers() == 404
    lead.is_active = True
    lead.save()
    Membership.objects.filter(user=lead).delete()
    assert answers() == 404


def test_a_changed_link_and_a_link_to_no_file_lead_nowhere(made, client, lead):
    address = link(client, made)
    assert Client().get(address[:-1] + ("A" if address[-1] != "A" else "B")).status_code == 404
    assert client.post(reverse("export_link", args=[made.project_id, made.number]), {"name": "../x"}).status_code == 404


def test_a_part_of_a_file_can_be_asked_for(made, client, lead):
    file = next(file for file in made.files if file["name"] == "README.md")
    whole = default_storage.open(file["address"]).read()
    address = reverse("export_download", args=[made.project_id, made.number, "README.md"])
    for asked, status, start, stop in (
        ("", 200, 0, None),
        ("bytes=0-9", 206, 0, 10),
        ("bytes=10-", 206, 10, None),
        ("bytes=-5", 206, -5, None),
        ("bytes=3-3", 206, 3, 4),
        ("bytes=0-999999999", 200, 0, None),
        ("bytes=1-2,4-5", 200, 0, None),
        ("lines=1-2", 200, 0, None),
    ):
        answer = client.get(address, headers={"Range": asked})
        content = b"".join(answer.streaming_content)
        assert (answer.status_code, content) == (status, whole[start:stop]), asked
        assert answer["Content-Length"] == str(len(content))
    for asked in ("bytes=999999999-", "bytes=5-4", "bytes=-0", "bytes=-"):
        assert client.get(address, headers={"Range": asked}).status_code == 416, asked


def test_a_part_of_another_file_than_before_is_the_whole(made, client, lead):
    address = reverse("export_download", args=[made.project_id, made.number, "README.md"])
    tag = client.get(address)["ETag"]
    asked = {"Range": "bytes=0-9"}
    assert client.get(address, headers={**asked, "If-Range": tag}).status_code == 206
    assert client.get(address, headers={**asked, "If-Range": '"other"'}).status_code == 200


def test_stored_files_are_read_from_any_byte_on():
    name = default_storage.save("stored/x.bin", ContentFile(bytes(range(100))))
    assert b"".join(stored.pieces(name, 10, 20)) == bytes(range(10, 20))
    assert b"".join(stored.pieces(name, 0, 1000)) == bytes(range(100))
    default_storage.delete(name)


def test_numbers_of_a_version_have_their_thousands_apart(made):
    facts = copy.deepcopy(made.manifest)
    facts["counted"] |= {"comparisons_by_source": {"people": 1512}, "judgments_by_source": {"people": 10512}}
    told = readings.datasets.facts(facts)
    assert (told["comparisons"], told["judgments"]) == ("1,512", "people 10,512")


@pytest.mark.slow
def test_the_page_to_publish_says_what_leaves_and_takes_no_push_without_a_word(made, client, lead):
    address = reverse("export_push", args=[made.project_id, made.number])
    page = html.unescape(client.get(address).content.decode())
    assert "not stated 3" in page
    # What a card's tables, code and quotations are laid out by.
    assert "reading.css" in page.partition("</head>")[0]
    assert "people, under pseudonyms" in page
    asked = {"hub": "http://127.0.0.1:9", "repository": "a/b", "token": "t"}
    assert client.post(address, asked).status_code == 422
    assert not made.pushes.exists()
    answer = client.post(address, {**asked, "confirmed": "on"})
    assert answer.url == reverse("job", args=[made.project_id, Job.objects.get(kind=Job.Kind.PUSH).pk])
    push = made.pushes.get()
    assert (push.is_private, push.created_by) == (True, lead)
    page = client.get(address).content.decode()
    assert 'type="password"' in page
    assert 'value="t"' not in page


def test_a_stored_token_can_be_forgotten(made, client, lead):
    address = reverse("export_push", args=[made.project_id, made.number])
    client.post(address, {"hub": "http://127.0.0.1:9", "repository": "a/b", "token": "t", "confirmed": "on"})
    stored_token = made.project.credentials.get()
    forget = reverse("token_forget", args=[made.project_id, stored_token.pk])
    assert forget in client.get(address).content.decode()
    client.post(forget)
    assert not made.project.credentials.exists()


def test_unfinished_exports_can_be_neither_linked_kept_nor_pushed(project, client, lead):
    made = Export.objects.create(project=project, number=9, format="judgments", created_at=now())
    for name in ("export_link", "export_keep", "export_push"):
        assert client.post(reverse(name, args=[project.pk, made.number])).status_code == 404


@pytest.fixture
def told(project):
    """An export with what two people told of themselves; a third person tells nothing."""
    for person in project.raters.order_by("pk")[:2]:
        Profile(rater=person).agree({"age": "25-34"}, "Yes.")
    # Agreed, but judged nothing here.
    Profile(rater=make_person(project)).agree({"age": "65+"}, "Yes.")
    return begun(project, "per_rater").versions.get()


@pytest.mark.slow
def test_the_manifest_names_whose_profiles_are_in_the_data(told, client, lead):
    agreed = told.project.raters.order_by("pk")[:2]
    assert told.manifest["counted"]["profiles"] == sorted(pseudonym(person) for person in agreed)
    assert begun(told.project, name="others").versions.get().manifest["counted"]["profiles"] == []
    page = html.unescape(client.get(reverse("export_push", args=[told.project_id, told.number])).content.decode())
    assert "what they agreed to publish</th><td><bdi>2</bdi></td>" in page.replace("\n", "")


@pytest.mark.slow
def test_after_a_withdrawal_an_older_export_is_neither_linked_nor_published(told, client, lead):
    address = reverse("export_push", args=[told.project_id, told.number])
    asked = {"hub": "http://127.0.0.1:9", "repository": "a/b", "token": "t", "confirmed": "on"}
    shared = link(client, told)
    assert client.post(address, asked).status_code == 302
    waiting = told.pushes.get()
    assert Client().get(shared).status_code == 200
    Profile.objects.order_by("pk").first().withdraw()
    assert Client().get(shared).status_code == 404
    page = client.get(address).content.decode()
    assert "1 person whose answers about themselves are in this export has withdrawn since" in page
    assert "<button" not in page.partition('id="where"')[2]
    answer = client.post(reverse("export_link", args=[told.project_id, told.number]), {"name": ""}, follow=True)
    assert (answer.status_code, "export again, then it is left out" in answer.content.decode()) == (410, True)
    with pytest.raises(work.StepRefused, match="withdrawn since"):
        push.write_push(waiting)
    waiting.delete()
    assert client.post(address, asked).status_code == 422
    assert not told.pushes.exists()
    # The next version holds nothing of that person, so it may go.
    another(told.dataset)
    later = told.dataset.versions.get(version=2)
    assert len(later.manifest["counted"]["profiles"]) == 1
    assert Client().get(link(client, later)).status_code == 200


def test_after_a_withdrawal_nobody_downloads_what_still_tells_of_that_person(told, client, lead):
    other = begun(told.project, name="others").versions.get()
    everything, readme = ([told.project_id, told.number, *name] for name in ([], ["README.md"]))
    page, read = reverse("exports", args=[told.project_id]), reverse("export_download", args=everything)
    assert client.get(read).status_code == 200 and read in client.get(page).content.decode()
    profile = Profile.objects.order_by("pk").first()
    profile.withdraw()
    for address in (read, reverse("export_download", args=readme)):
        refused = client.get(address)
        assert (refused.status_code, refused["Content-Type"]) == (410, "text/html; charset=utf-8")
        assert "has withdrawn since" in html.unescape(refused.content.decode())
    assert client.get(reverse("export_download", args=[other.project_id, other.number])).status_code == 200
    shown = client.get(page).content.decode()
    assert read not in shown and "has withdrawn since" in html.unescape(shown)
    assert reverse("export_download", args=[other.project_id, other.number]) in shown
    profile.agree({}, "Yes.")
    assert client.get(read).status_code == 200


def test_a_lead_sees_the_live_links_and_takes_one_back(made, client, lead):
    kept, taken = link(client, made), link(client, made, "")
    over = link(client, made)
    made.links.filter(pk=made.links.latest("pk").pk).update(until=now() - timedelta(minutes=1))
    page = reverse("export_links", args=[made.project_id, made.number])
    assert page in client.get(reverse("exports", args=[made.project_id])).content.decode()
    shown = client.get(page).content.decode()
    assert "<b>2 links</b>" in shown and str(lead) in shown
    assert not any(address.rpartition("/")[2] in shown for address in (kept, taken, over))
    row = made.links.get(name="")
    back = reverse("export_link_take_back", args=[made.project_id, made.number, row.pk])
    assert client.post(back, follow=True).redirect_chain[0][0] == page
    assert [Client().get(address).status_code for address in (kept, taken, over)] == [200, 404, 404]
    assert client.post(back).status_code == 404
    link(client, made)
    assert made.links.count() == 2, "what is over is swept when another is made"


@pytest.mark.slow
def test_who_made_a_link_sees_it_and_takes_it_back_and_nobody_elses(made, client, lead):
    link(client, made)
    theirs, viewer = made.links.get(), make_member(made.project, "viewer")
    client.force_login(viewer)
    links_page, exports_page = (
        reverse("export_links", args=[made.project_id, made.number]), reverse("exports", args=[made.project_id])
    )  # fmt: skip
    assert links_page not in client.get(exports_page).content.decode()
    address = link(client, made, "")
    assert links_page in client.get(exports_page).content.decode()
    shown = client.get(links_page).content.decode()
    assert "<b>1 link</b> of yours" in shown and str(lead) not in shown
    back = [reverse("export_link_take_back", args=[made.project_id, made.number, pk]) for pk in
            (theirs.pk, made.links.get(maker=viewer).pk)]  # fmt: skip
    assert [client.post(each).status_code for each in back] == [404, 302]
    assert Client().get(address).status_code == 404 and list(made.links.all()) == [theirs]


def test_a_link_of_an_earlier_version_is_over(made, client, lead):
    old = signing.dumps([made.pk, "README.md", lead.pk], salt=links.SALT)
    assert Client().get(reverse("linked_download", args=[old])).status_code == 404


@pytest.mark.slow
def test_versions_are_shown_page_by_page_without_their_manifests(project, client, lead, monkeypatch):
    made = begun(project)
    for number in range(2):
        judged(project, f"Another {number}?")
        another(made)
    monkeypatch.setattr(datasets_view, "SHOWN", 2)
    address = reverse("dataset", args=[project.pk, made.pk])
    with CaptureQueriesContext(connection) as queries:
        first = client.get(address).content.decode()
    assert sum('"annotator_export"."manifest"' in each["sql"] for each in queries) == 1, "of the one that is open"
    assert "<b>3 versions</b>" in first and "What version 3 was made from" in first
    assert '?of=2#facts"' in first and '?of=1#facts"' not in first
    older = client.get(address, {"before": "2"}).content.decode()
    assert '?of=1&amp;before=2#facts"' in older and "Older versions" not in older
    assert "What version 2 was made from" in client.get(address, {"of": "2"}).content.decode()
    for odd in ("x", "9", "-1", "1" * 30):
        assert client.get(address, {"of": odd, "before": odd}).status_code == 200


def test_what_was_chosen_is_shown_in_the_words_of_the_form(project, client, lead):
    first = begun(project, ties="both", validation=0.25)
    page = html.unescape(client.get(reverse("dataset", args=[project.pk, first.pk])).content.decode())
    assert "Ties: write them both ways round; " in page and "Validation split, % of prompts: 25" in page
    assert "ties = both" not in page
    filters = {"agreement": 0.5, "plan": 3, "protocol": 2, "metadata": {"language": "en"}}
    words = "Least agreement, %: 50; Comparisons in: plan 3; People answered: version 2; language = en"
    assert said(filters) == words
    assert said({"ties": "sell", "gone": 1, "metadata": {}}) == "Ties: sell; gone = 1"


@pytest.mark.slow
def test_a_lossless_store_tells_what_its_tables_hold_under_its_own_name(project, client, lead):
    made = begun(project, "judgments", "parquet", name="بيانات (v1)")
    known = {fact.key: fact.value for fact in readings.datasets.published(made.versions.get())}
    assert known["comparisons"] == str(project.comparisons.count()) != "0"
    assert known["judgments"] == str(Judgment.objects.filter(comparison__project=project).count()) != "0"
    assert known["people_by_pseudonym"].startswith(f"{project.raters.count()} rater")
    page = html.unescape(client.get(reverse("dataset", args=[project.pk, made.pk])).content.decode())
    # A name of another direction turns round nothing of the title around it.
    assert f"<title>\u2068{made.name}\u2069 · \u2068{project.name}\u2069 · Switchyard</title>" in page


def test_facts_are_told_apart_by_keys_in_every_language(made, client, lead, monkeypatch):
    monkeypatch.setattr(readings.datasets, "_", lambda text: "the same word")
    with translation.override("de"):
        found = {fact.key: fact.value for fact in readings.datasets.published(made)}
    assert (found["comparisons"], found["judgments"]) == ("3", "people 3")
    template = Template('{% include "datasets/_fact.html" %}')
    for key in {**readings.datasets.facts(made.manifest), **found}:
        words = template.render(Context({"fact": readings.datasets.Fact(key, "")}))
        assert words and "_" not in words, key
