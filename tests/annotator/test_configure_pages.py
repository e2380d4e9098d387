"""Labelers of every kind are added and edited in the browser; keys go in and never come out again."""

from decimal import Decimal

import numpy as np
import pytest
from django.urls import reverse

from annotator.models import Credential, Gold, Job, Judgment, Labeler, LabelerVersion
from annotator.pipeline import configure, evidence, label, versions, work
from annotator.pipeline.model_fields import FIELDS
from tests.builders import (
    make_comparison,
    make_disclosure,
    make_judgment,
    make_labeler,
    make_member,
    make_person,
    make_project,
)

pytestmark = pytest.mark.django_db

HERE = "http://127.0.0.1:9/v1"
KEY = "sk-a-key-nobody-may-see"
COMMIT = "0123456789" * 4
JUDGE = {
    "name": "judge",
    "base_url": HERE,
    "model": "m",
    "price_per_million_input": "2",
    "price_per_million_output": "4",
    "price_per_call": "0",
    "variant": "plain",
    "attribute_calls": "both",
    "disagreement": "mean",
    "structured": "off",
    "samples": "1",
    "temperature": "0",
    "exemplar_pool": "0",
    "exemplar_count": "2",
    "concurrency": "4",
    "timeout": "60",
}


@pytest.fixture
def project():
    return make_project(guidelines="Prefer the truth.")


@pytest.fixture
def lead(client, project):
    client.force_login(make_member(project, "lead"))
    return client


def new(project, kind="llm_judge"):
    return reverse("labeler_new", args=[project.pk, kind])


def of(name, labeler):
    return reverse(name, args=[labeler.project_id, labeler.pk])


def parameters(name="judge"):
    return versions.in_use(Labeler.objects.get(name=name)).parameters


def test_every_kind_has_a_card_and_a_form_that_opens(lead, project):
    page = lead.get(reverse("labeler_add", args=[project.pk])).content.decode()
    for kind in ("llm_judge", *FIELDS):
        assert new(project, kind) in page
        assert lead.get(new(project, kind)).status_code == 200
    assert lead.get(new(project, "null_longest")).status_code == 404


def test_relevance_by_words_is_added_by_its_name_and_judges_at_once(lead, project):
    make_comparison(project, "What is rain?", a="Rain is water that falls.", b="No idea.")
    cards = reverse("labeler_add", args=[project.pk])
    assert new(project, "null_relevance") in lead.get(cards).content.decode()
    assert lead.get(new(project, "null_relevance")).status_code == 200
    assert lead.post(new(project, "null_relevance"), {"name": ""}).status_code == 422
    answer = lead.post(new(project, "null_relevance"), {"name": "relevance"})
    assert answer.url == reverse("run", args=[project.pk, Job.objects.get().pk])
    work.work(Job.Kind.LABEL, label.label_job)
    judgment = Judgment.objects.get(rater__labeler_version__labeler__name="relevance")
    assert judgment.p_b < 0.5 and len(judgment.provenance["scores"]) == 2
    assert new(project, "null_relevance") not in lead.get(cards).content.decode(), "one is enough"


def test_a_plain_judge_has_no_more_parameters_than_it_needs(lead, project):
    lead.post(new(project), {**JUDGE, "logprobs": "on"})
    assert set(parameters()) == {
        *("base_url", "model", "api_key_env", "temperature", "concurrency", "logprobs"),
        *("question", "tie", "guidelines", "guidelines_version", "protocol_version"),
    }


def test_everything_a_judge_can_be_told_reaches_the_judge(lead, project):
    gold = make_comparison(project, "Which is red?", a="Blood", b="Grass")
    hidden = make_comparison(project, "Which is blue?", a="Sky", b="Coal")
    Gold.objects.create(project=project, comparison=hidden, better=["a"])
    teaching = {"project": project, "use": Gold.Use.TUTORIAL}
    Gold.objects.create(**teaching, comparison=gold, better=["a"], explanation="Grass is green.")
    Gold.objects.create(**teaching, comparison=make_comparison(project), better=["a", "tie"])
    chosen = {
        **{"variant": "critique", "attributes": ["helpfulness", "verbosity"], "by_criterion": "on"},
        **{"exemplar_pool": "5", "exemplar_count": "1", "tools": ["calculator"], "samples": "2", "temperature": "0.7"},
        **{"max_tokens": "512", "structured": "json", "calls_per_minute": "60", "tokens_per_minute": "90000"},
        **{"disagreement": "tie", "attribute_calls": "each", "ratings_only": "on"},
    }
    answer = lead.post(new(project), {**JUDGE, **chosen})
    assert answer.status_code == 302, answer.context["form"].errors
    made = parameters()
    assert [each["key"] for each in made["attributes"]] == ["helpfulness", "verbosity"]
    assert made["attributes"][0]["levels"][0][0] == 0 and made["attributes"][0]["levels"][-1][0] == 4
    assert made["exemplars"] == [
        {"prompt": "Which is red?", "a": "Blood", "b": "Grass", "verdict": "A", "reason": "Grass is green."}
    ], "only known answers that are one, and none that is mixed in unseen"
    judge = versions.build(LabelerVersion.objects.get()).design
    assert (judge.variant, judge.samples, judge.max_tokens, judge.structured) == ("critique", 2, 512, "json")
    assert (judge.pairwise, judge.disagreement, judge.attribute_calls, tuple(judge.tools)) == (
        *(False, "tie", "each"),
        ("calculator",),
    )
    page = lead.get(of("labeler_edit", Labeler.objects.get()))
    shown = page.context["form"]
    assert (shown["exemplar_pool"].value(), shown["ratings_only"].value()) == (1, True)
    assert shown["attributes"].value() == ["helpfulness", "verbosity"]


def test_what_a_reviewer_settled_is_an_example_unless_its_answer_is_known(project):
    def settled(prompt, level):
        comparison = make_comparison(project, prompt, a="Blood", b="Grass")
        return make_judgment(comparison, reviewer, level, purpose="review", justification="Anna is colour-blind.")

    reviewer = make_person(project)
    red, even, hidden = settled("Which is red?", -1), settled("Which lives?", 0), settled("Which is dead?", 1)
    Gold.objects.create(project=project, comparison=hidden.comparison, better=["b"])
    make_judgment(make_comparison(project, "Only a vote"), reviewer, 1)
    both = {"a": "Blood", "b": "Grass", "reason": ""}
    assert configure.exemplars(project, 5) == [
        {"prompt": "Which is red?", **both, "verdict": "A", "judgment": red.pk},
        {"prompt": "Which lives?", **both, "verdict": "tie", "judgment": even.pk},
    ]
    judge = Labeler.objects.create(project=project, name="shown", kind="llm_judge")
    version = versions.new_version(judge, {"exemplars": configure.exemplars(project, 1)})
    known = evidence.load(project)
    said = evidence.Said(version, np.full(len(known), 0.5), None, None, {})
    unseen = known.ids[~np.isnan(evidence.unseen(said, known).p_b)]
    assert red.comparison_id not in unseen and even.comparison_id in unseen and hidden.comparison_id not in unseen


@pytest.mark.parametrize("preset", ["quick", "critique", "attributes"])
def test_a_preset_fills_a_form_that_can_be_sent_as_it_is(lead, project, preset):
    form = lead.get(new(project) + f"?preset={preset}").context["form"]
    filled = {name: form[name].value() for name in form.fields}
    data = {name: value for name, value in filled.items() if value is not None and value is not False}
    answer = lead.post(new(project), {**data, "name": preset, "base_url": HERE, "model": "m"})
    assert answer.status_code == 302, answer.context["form"].errors
    assert parameters(preset).get("variant", "plain") == ("critique" if preset == "critique" else "plain")
    assert bool(parameters(preset).get("attributes")) == (preset == "attributes")


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"variant": "critique", "max_tokens": "8"}, "max_tokens", "at least 64"),
        ({"samples": "3"}, "temperature", "every answer is the same"),
        ({"ratings_only": "on"}, "ratings_only", "Choose above"),
        ({"exemplar_pool": "3"}, "base_url", "no known answers"),
        ({"api_key": "two words"}, "api_key", "no spaces"),
        ({"api_key": KEY, "base_url": "http://judge.example/v1"}, "api_key", "begins with https"),
        ({"calls_per_minute": "0"}, "calls_per_minute", "greater than or equal to 1"),
    ],
)
def test_an_error_names_its_field_and_what_to_do(lead, project, changes, field, words):
    answer = lead.post(new(project), {**JUDGE, **changes})
    assert answer.status_code == 422
    assert words in str(answer.context["form"].errors[field])
    assert words in answer.content.decode(), "and it can be seen"
    assert not Labeler.objects.exists() and not Credential.objects.exists()


def test_a_key_goes_in_and_never_comes_out(lead, project, caplog):
    answer = lead.post(new(project), {**JUDGE, "api_key": KEY})
    judge = Labeler.objects.get()
    assert judge.credential.place == "127.0.0.1:9"
    assert answer.headers["Location"] == of("labeler_disclosure", judge)
    refused = lead.post(new(project), {**JUDGE, "name": "judge", "api_key": KEY})
    pages = [lead.get(of(name, judge)) for name in ("labeler", "labeler_edit", "labeler_disclosure")]
    for page in (refused, *pages, lead.get(reverse("labelers", args=[project.pk]))):
        assert KEY not in page.content.decode()
    assert KEY not in caplog.text and KEY not in repr(refused.context["form"])


def test_a_page_that_breaks_shows_no_key_even_while_debugging(lead, project, settings, monkeypatch):
    settings.DEBUG = True
    lead.raise_request_exception = False

    def broken(*args, **kwargs):
        secret_of_ours = args  # noqa: F841
        raise RuntimeError("a bug")

    monkeypatch.setattr(configure, "add", broken)
    answer = lead.post(new(project), {**JUDGE, "api_key": KEY})
    assert answer.status_code == 500 and b"a bug" in answer.content
    assert KEY not in answer.content.decode()


def test_editing_keeps_the_key_at_its_place_and_asks_for_one_elsewhere(lead, project):
    lead.post(new(project), {**JUDGE, "api_key": KEY})
    judge, key = Labeler.objects.get(), Credential.objects.get()
    edit = of("labeler_edit", judge)
    lead.post(edit, {**JUDGE, "model": "larger", "credential": key.pk})
    judge.refresh_from_db()
    assert judge.credential == key and parameters()["model"] == "larger"
    answer = lead.post(edit, {**JUDGE, "base_url": "http://127.0.0.1:10/v1", "credential": key.pk})
    assert "sent nowhere else" in str(answer.context["form"].errors["credential"])
    lead.post(edit, {**JUDGE, "base_url": "http://127.0.0.1:10/v1", "api_key": "sk-another"})
    judge.refresh_from_db()
    assert judge.credential.place == "127.0.0.1:10"
    assert Credential.objects.count() == 1, "what nobody uses is forgotten"
    lead.post(edit, {**JUDGE, "base_url": "http://127.0.0.1:10/v1"})
    assert not Credential.objects.exists()


def test_a_key_of_another_project_cannot_be_chosen(lead, project):
    other = make_project()
    stranger = Credential.objects.create(project=other, name="x", place="127.0.0.1:9", sealed=b"x")
    answer = lead.post(new(project), {**JUDGE, "credential": stranger.pk})
    assert answer.status_code == 422 and "credential" in answer.context["form"].errors


def test_an_edit_of_a_judge_that_has_judged_waits_and_shows_what_changed(lead, project):
    lead.post(new(project), JUDGE)
    judge = Labeler.objects.get()
    make_judgment(make_comparison(project), judge.version.rater, p_b=0.5)
    lead.post(of("labeler_edit", judge), {**JUDGE, "model": "larger", "temperature": "0.5"})
    assert parameters()["model"] == "m", "the one in use stays"
    assert versions.candidate(judge).parameters["model"] == "larger"
    page = lead.get(of("labeler", judge))
    newest = page.context["history"][0]
    assert newest.state == "candidate"
    assert [(change.name, change.before, change.after) for change in newest.changes] == [
        ("model", "m", "larger"),
        ("temperature", "0.0", "0.5"),
    ]
    assert b"waits for your word" in page.content and b"larger</ins>" in page.content


def test_what_leaves_is_shown_as_the_request_itself_and_confirmed_and_withdrawn(lead, project):
    comparison = make_comparison(project, "Is <b>water</b> wet?", a="<script>alert(1)</script>", b="No.")
    lead.post(new(project), JUDGE)
    judge = Labeler.objects.get()
    address = of("labeler_disclosure", judge)
    page = lead.get(address)
    said = page.content.decode()
    assert "POST http://127.0.0.1:9/v1/chat/completions" in page.context["sample"]
    assert "Prefer the truth." in page.context["sample"] and comparison.response_b.text in page.context["sample"]
    assert "<script>alert" not in said and "&lt;script&gt;alert" in said
    assert lead.post(address, {"place": "127.0.0.1:9", "parts": ["prompt"]}).status_code == 302
    assert not project.disclosures.exists(), "less than what would leave is no word for it"
    parts = [part for part, _words in page.context["parts"]]
    lead.post(address, {"place": "127.0.0.1:9", "parts": parts})
    assert project.disclosures.get().confirmed_by.username
    assert "Nothing may leave" not in lead.get(of("labeler", judge)).content.decode()
    lead.post(of("disclosure_withdraw", judge), {"place": "127.0.0.1:9"})
    assert "Nothing may leave" in lead.get(of("labeler", judge)).content.decode()


def test_what_a_judge_is_asked_can_be_read(lead, project):
    make_comparison(project)
    lead.post(new(project), JUDGE)
    assert b"Prefer the truth." in lead.get(of("labeler_asked", Labeler.objects.get())).content
    null = make_labeler(project, kind="null_longest").labeler_version.labeler
    assert b"Prefer" not in lead.get(of("labeler_asked", null)).content


def model_form(kind, **changes):
    """What a browser would send of the form with every field at its initial value."""
    from annotator.forms.model_labelers import ModelLabelerForm

    form = ModelLabelerForm(project=make_project(), kind=kind)
    filled = {name: form[name].value() for name in form.fields}
    return {**{name: value for name, value in filled.items() if value is not None and value is not False}, **changes}


def test_a_density_ratio_is_told_its_models_and_keeps_what_was_chosen(lead, project):
    models = {
        **{
            "strong__name": "lab/strong",
            "strong__revision": COMMIT,
            "weak__name": "lab/weak",
            "weak__revision": COMMIT,
        },
        **{"preset": "cdr", "reduction": "mean", "name": "ratio"},
    }
    answer = lead.post(new(project, "density_ratio"), model_form("density_ratio", **models))
    assert answer.status_code == 302, answer.context["form"].errors
    made = parameters("ratio")
    assert made["strong"] == {"name": "lab/strong", "revision": COMMIT}
    assert (made["preset"], made["reduction"], made["slope"]) == ("cdr", "mean", 0.1)
    assert answer.headers["Location"] == of("labeler", Labeler.objects.get(name="ratio")), "nothing leaves"
    edited = {**model_form("density_ratio", **models), "reduction": "sum"}
    lead.post(of("labeler_edit", Labeler.objects.get()), edited)
    assert parameters("ratio")["reduction"] == "sum" and parameters("ratio")["preset"] == "cdr"


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        ("reward_model", {"model__name": "lab/reward"}, "model__revision"),
        ("reward_model", {"model__name": ""}, "model__name"),
        ("reward_model", {"model__name": "lab/r", "model__revision": COMMIT, "weights": "helpful 0.5"}, "weights"),
        ("follow_up", {"model__name": "m", "model__backend": "vllm"}, "model__base_url"),
        ("implicit_reward", {"beta": "-1"}, "beta"),
    ],
)
def test_what_a_model_labeler_lacks_is_said_at_its_field(lead, project, kind, changes, field):
    answer = lead.post(new(project, kind), model_form(kind, name="x", **changes))
    assert answer.status_code == 422 and field in answer.context["form"].errors
    assert not Labeler.objects.exists()


def test_a_reward_models_weights_are_read_line_by_line(lead, project):
    told = {"model__name": "lab/r", "model__revision": COMMIT, "weights": "helpful = 0.65\n\ncorrect = 0.8\n"}
    answer = lead.post(new(project, "reward_model"), model_form("reward_model", name="rm", **told))
    assert answer.status_code == 302, answer.context["form"].errors
    assert parameters("rm")["weights"] == {"helpful": 0.65, "correct": 0.8}
    page = lead.get(of("labeler_edit", Labeler.objects.get()))
    assert b"helpful = 0.65" in page.content


def test_prices_are_set_with_a_judge_and_the_labelers_page_leads_to_adding_one(lead, project):
    lead.post(new(project), JUDGE)
    assert Labeler.objects.get().price_per_million_output == Decimal(4)
    assert (
        reverse("labeler_add", args=[project.pk]) in lead.get(reverse("labelers", args=[project.pk])).content.decode()
    )


def test_a_confirmed_judge_is_offered_a_dry_run_next(lead, project):
    lead.post(new(project), JUDGE)
    make_disclosure(project, HERE)
    page = lead.get(of("labeler", Labeler.objects.get())).content.decode()
    assert "Dry run on 20 comparisons" in page


THERE = "http://127.0.0.1:10/v1"


def with_a_candidate_elsewhere(lead, project):
    """A judge with a key that has judged, and a candidate behind another endpoint with another key."""
    lead.post(new(project), {**JUDGE, "api_key": KEY})
    judge = Labeler.objects.get()
    make_judgment(make_comparison(project), versions.in_use(judge).rater, 0.2)
    edited = lead.post(of("labeler_edit", judge), {**JUDGE, "base_url": THERE, "api_key": f"{KEY}-other"})
    assert edited.status_code == 302
    return Labeler.objects.get()


def key_of(version):
    return versions.build(LabelerVersion.objects.get(pk=version.pk)).chat._secret


def test_a_candidate_has_its_own_key_and_the_one_in_use_keeps_its(lead, project):
    judge = with_a_candidate_elsewhere(lead, project)
    assert (key_of(versions.in_use(judge)), key_of(versions.candidate(judge))) == (KEY, f"{KEY}-other")
    shown = lead.get(of("labeler_edit", judge)).context["form"]
    assert shown["base_url"].value() == THERE and shown["credential"].value() == versions.candidate(judge).credential_id
    assert key_of(versions.of_today(versions.candidate(judge))) == f"{KEY}-other", "looked at anew it is the same"


def test_discarding_a_candidate_leaves_the_keys_as_they_were(lead, project):
    judge = with_a_candidate_elsewhere(lead, project)
    versions.discard(versions.candidate(judge))
    assert key_of(versions.in_use(judge)) == KEY
    assert Credential.objects.get() == judge.credential


def test_the_key_of_an_accepted_candidate_is_the_labelers(lead, project):
    judge = with_a_candidate_elsewhere(lead, project)
    accepted = versions.accept(versions.candidate(judge))
    assert key_of(accepted) == f"{KEY}-other"
    assert Credential.objects.get() == Labeler.objects.get().credential, "the old one is forgotten"


def test_a_candidate_at_the_same_place_begins_with_the_same_key(lead, project):
    judge = with_a_candidate_elsewhere(lead, project)
    candidate = versions.edit(judge, {**versions.in_use(judge).parameters, "max_tokens": 9})
    assert candidate.accepted_at is None and key_of(candidate) == KEY


@pytest.mark.parametrize("weight", ["nan", "1e999", "-inf"])
def test_a_weight_that_is_no_number_is_told_where_it_was_typed(lead, project, weight):
    answer = lead.post(new(project, "reward_model"), {"name": "r", "weights": f"h = {weight}"})
    assert answer.status_code == 422
    assert "Line 1" in answer.context["form"].errors["weights"][0]


@pytest.mark.parametrize("port", ["65536", "99999"])
def test_a_port_that_is_none_is_told_where_it_was_typed(lead, project, port):
    away = {"base_url": f"http://localhost:{port}/v1", "api_key": KEY}
    answer = lead.post(new(project), {**JUDGE, **away})
    assert answer.status_code == 422 and not Labeler.objects.exists()
    assert "not an address" in answer.context["form"].errors["base_url"][0]
    assert lead.post(new(project, "reward_model"), {"model__base_url": away["base_url"]}).status_code == 422
