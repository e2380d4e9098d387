"""Features of a project: what they are made with, how tags get in, what a change of either makes anew."""

from __future__ import annotations

import functools
import json
from decimal import Decimal

import numpy as np
import pytest

from annotator.models import Features, Job, Labeler, LabelerCall, Loop, PromptTags, Rater
from annotator.pipeline import disclosures, feature_sets, featurise, ledger, signals, tag, taggers, work
from annotator.readings.comparison import features as told_of
from labelers import tagger as asking
from labelers.base import Prices
from labelers.chat import Retries
from labelers.endpoint import place
from routing import features, tags
from tests.builders import make_comparison, make_member, make_project
from tests.labelers.conftest import one_server, server  # noqa: F401

pytestmark = pytest.mark.django_db
SAID = {
    "subject": ["law"], "expertise": "expert", "language": ["english"], "openness": "low", "safety": "Moderate",
    "complexity": "simple", "material": False, "format": "sonnet",
}  # fmt: skip
PRICE = Prices(per_call=Decimal("0.01"), per_million_output=Decimal(1000))


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(asking, "Retries", functools.partial(Retries, first=0.01, longest=0.02))


@pytest.fixture
def project():
    project = make_project()
    ledger.set_cap(project, Decimal(100))
    for question in ("Is this contract void under the statute?", "Write a poem about the moon, please."):
        make_comparison(project, question)
    return project


def tagger_of(project, server, price=PRICE, **chosen):  # noqa: F811
    parameters = {"base_url": server.url, "model": "tiny", "max_tokens": 200, "concurrency": 1, "timeout": 5.0}
    labeler = taggers.add(project, f"tagger {project.labelers.count()}", price, {**parameters, **chosen})
    disclosures.confirm(project, place(server.url), disclosures.parts_of(labeler.version), None)
    return labeler


def run(labeler, reserve=Decimal(5)):
    job = tag.request(labeler, reserve=None if labeler.is_free else reserve, by=None)
    work.work(Job.Kind.TAG, tag.tag_job)
    job.refresh_from_db()
    return job


def column(project, name):
    known = signals.load(project)
    return known.features[:, known.names.index(name)].tolist()


def test_columns_are_those_of_the_texts_then_of_the_embedding_then_tags_by_keywords(project):
    featurise.featurise(project)
    feature_set = project.feature_sets.get()
    assert tuple(feature_set.names) == (*features.NAMES, *features.measured(features.TFIDF), *tags.NAMES)
    assert feature_set.made_with["tagger"] == taggers.KEYWORDS and feature_set.made_with["embedding"] == {}
    assert column(project, "tag_subject_law") == [1, 0] and column(project, "tag_openness_high") == [0, 1]
    assert not featurise.is_outdated(project)
    row = Features.objects.first()
    assert len(row.values) == len(feature_set.names)
    spread = feature_set.made_with["spread"]
    assert not set(spread) & set(tags.NAMES) and set(map(len, spread.values())) == {feature_sets.STEPS}
    words = sorted(column(project, "prompt_words"))
    assert (spread["prompt_words"][0], spread["prompt_words"][-1]) == (words[0], words[-1])


def test_a_values_place_is_told_without_reading_the_other_comparisons(project, django_assert_num_queries):
    featurise.featurise(project)
    asks = next(each for each in project.comparisons.all() if "?" in each.prompt.turns[-1]["content"])
    with django_assert_num_queries(1):
        told = {each.name: each.place for each in told_of(asks)}
    assert told["prompt_questions"] > 0.7
    Features.objects.exclude(comparison=asks).delete()
    assert {each.name: each.place for each in told_of(asks)} == told


@pytest.mark.slow
def test_a_tagger_is_asked_once_a_prompt_and_each_call_is_paid(project, server):  # noqa: F811
    featurise.featurise(project)
    labeler = tagger_of(project, server)
    Loop.objects.create(project=project, tagger=labeler)
    server.script.extend([f"text:{json.dumps(SAID)}", "text:I would rather not."])
    whole = tag.estimate(labeler)
    assert whole.calls == 2
    job = run(labeler, whole.most)
    assert job.state == Job.State.DONE and job.message == "1 prompt tagged; of 1 the answer could not be read"
    asked = server.requests[0]
    assert "you do not answer them" in asked["messages"][0]["content"].lower()
    assert asked["response_format"]["json_schema"]["schema"] == tags.schema()
    said = PromptTags.objects.order_by("prompt_id").values_list("tags", flat=True)
    assert said[0]["safety"] == "moderate" and said[0]["material"] == "no", "case and truth values are forgiven"
    assert said[0]["format"] is None, "a stray value is null"
    assert said[1] == {}
    ledger.settle()
    account = ledger.account_of(project)
    calls = LabelerCall.objects.all()
    assert account.reserved == 0 and account.spent == sum(call.cost for call in calls) <= whole.most
    assert set(calls.values_list("status", flat=True)) == {"ok", "unparsed"}
    assert not Rater.objects.exists() and labeler not in Labeler.objects.judging()
    assert run(labeler).message == "0 prompts tagged" and len(server.requests) == 2, "nothing is bought twice"


@pytest.mark.slow
def test_tags_become_columns_and_a_change_of_the_tagger_makes_a_new_set(project, server):  # noqa: F811
    featurise.featurise(project)
    labeler = tagger_of(project, server)
    Loop.objects.create(project=project, tagger=labeler)
    assert featurise.is_outdated(project)
    featurise.featurise(project)
    assert project.feature_sets.count() == 2
    assert np.isnan(column(project, "tag_subject_law")).all(), "nobody has tagged yet"
    server.always = f"text:{json.dumps(SAID)}"
    run(labeler)
    assert column(project, "tag_subject_law") == [1, 1], "rows that were there learn their tags"
    assert np.isnan(column(project, "tag_format_yes")).all()
    work.work(Job.Kind.FEATURISE, featurise.featurise_job)
    make_comparison(project, "A third one?")
    featurise.featurise(project)
    assert project.feature_sets.count() == 2
    assert np.isnan(column(project, "tag_subject_law")).tolist() == [False, False, True]
    Loop.objects.update(tagger=None)
    featurise.featurise(project)
    assert project.feature_sets.count() == 3 and column(project, "tag_subject_law") == [1, 0, 0]


@pytest.mark.slow
def test_tags_that_come_while_rows_are_made_reach_them(project, server, monkeypatch):  # noqa: F811
    labeler = tagger_of(project, server, Prices())
    Loop.objects.create(project=project, tagger=labeler)
    version = taggers.current_version(labeler)
    make = featurise._featurise_batch

    def meanwhile(feature_set, embedding, batch):
        made = make(feature_set, embedding, batch)
        for comparison in batch:
            PromptTags.objects.create(prompt=comparison.prompt, tagger=version.digest, tags={"material": "yes"})
        return made

    monkeypatch.setattr(featurise, "_featurise_batch", meanwhile)
    featurise.featurise(project)
    assert column(project, "tag_material_yes") == [1, 1]


@pytest.mark.slow
def test_nothing_leaves_without_a_leads_word_and_the_money_stops_it(project, server):  # noqa: F811
    labeler = tagger_of(project, server, Prices(per_call=Decimal(1)))
    server.always = f"text:{json.dumps(SAID)}"
    job = run(labeler, Decimal(1))
    assert job.state == Job.State.FAILED and "is used up" in job.message and "1 prompt tagged" in job.message
    disclosures.withdraw(project, place(server.url))
    job = run(labeler, Decimal(1))
    assert job.state == Job.State.FAILED and "Texts may not leave" in job.message
    assert len(server.requests) == PromptTags.objects.count() == 1


@pytest.mark.slow
def test_an_endpoint_that_knows_no_schema_is_asked_without(project, server):  # noqa: F811
    server.unknown = ("response_format",)
    server.always = f"text:```json\n{json.dumps(SAID)}\n```"
    labeler = tagger_of(project, server, Prices(), model="schemaless")
    assert run(labeler).message == "2 prompts tagged"
    assert PromptTags.objects.first().tags["subject"] == ["law"]


@pytest.mark.slow
def test_a_model_of_sentences_is_for_workers_that_may_hold_one(project, settings, tmp_path):
    from tests.routing import tiny_sentences

    settings.MODELS, settings.MODEL_FOLDERS = True, [tmp_path]
    folder = tiny_sentences.save(tmp_path / "small")
    Loop.objects.create(project=project, embedding={"name": str(folder)})
    job = featurise.request(project)
    assert job.queue == work.GPU
    Job.objects.filter(pk=job.pk).update(queue="")
    work.work(Job.Kind.FEATURISE, featurise.featurise_job)
    assert not project.feature_sets.exists(), "a worker without a model hands it on"
    work.work(Job.Kind.FEATURISE, featurise.featurise_job, work.GPU)
    feature_set = project.feature_sets.get()
    assert feature_set.state == "ready" and feature_set.made_with["identity"].startswith("sha256:")
    assert "bertscore_f1" in feature_set.names and "soft_alignment" not in feature_set.names
    assert signals.load(project).a.shape == (2, 16)
    featurise.featurise(project)
    assert project.feature_sets.count() == 1
    tiny_sentences.save(folder, seed=1)
    featurise.featurise(project)
    assert project.feature_sets.count() == 2, "other weights under the same name make another set"


@pytest.mark.slow
def test_a_model_that_cannot_be_read_is_refused_in_words(project, settings, tmp_path):
    settings.MODELS, settings.MODEL_FOLDERS = True, [tmp_path / "shelf"]
    loop = Loop.objects.create(project=project, embedding={"name": str(tmp_path / "elsewhere")})
    with pytest.raises(work.StepRefused, match="MODEL_FOLDERS"):
        feature_sets.current(project)
    (tmp_path / "shelf" / "empty").mkdir(parents=True)
    loop.embedding = {"name": str(tmp_path / "shelf" / "empty")}
    loop.save()
    with pytest.raises(work.StepRefused, match="no modules.json"):
        featurise.featurise(project)
    settings.MODELS = False
    with pytest.raises(work.StepRefused, match="MODELS=no"):
        featurise.featurise(project)


@pytest.mark.slow
def test_a_lead_chooses_a_tagger_confirms_what_leaves_and_computes(client, project, server):  # noqa: F811
    client.force_login(make_member(project, "lead"))
    address = f"/projects/{project.pk}/features/"
    shown = client.get(address).content.decode()
    assert "No comparison has features yet" in shown and "nothing: all is computed on this site" in shown
    typed = {"name": "small", "base_url": server.url, "model": "tiny", "max_tokens": 200, "structured": "on"}
    paces = {"concurrency": 1, "timeout": 5, "price_per_call": "0.01"}
    prices = {"price_per_million_input": 0, "price_per_million_output": 0}
    assert client.post(f"/projects/{project.pk}/taggers/add", typed | paces | prices).status_code == 302
    labeler = Labeler.objects.get(kind=Labeler.TAGGER)
    assert Loop.objects.get().tagger == labeler
    shown = client.get(address).content.decode()
    assert "Before the tagger is asked, confirm below what leaves" in shown and "0.02 USD" in shown
    client.post(f"{address}run", {"most": "0.02"})
    assert not Job.objects.filter(kind=Job.Kind.TAG).exists(), "nothing leaves before it is confirmed"
    said = {"place": place(server.url), "answer": "confirm", "parts": disclosures.parts_of(labeler.version)}
    assert said["parts"] == ["prompt", "documents"]
    client.post(f"{address}disclosure", said)
    assert client.post(f"{address}run", {"most": "0.01"}).status_code == 422, "it can cost more than was confirmed"
    assert client.post(f"{address}run", {"most": "0.02"}).status_code == 302
    server.always = f"text:{json.dumps(SAID)}"
    work.work(Job.Kind.TAG, tag.tag_job)
    work.work(Job.Kind.FEATURISE, featurise.featurise_job)
    assert column(project, "tag_subject_law") == [1, 1]
    shown = client.get(address).content.decode()
    assert "<b>2</b> of 2 comparisons have their 108 features" in shown and "Compute what is missing" in shown


def test_a_model_that_may_not_be_named_is_refused_where_it_is_typed(client, project, settings, tmp_path):
    settings.MODEL_FOLDERS = [tmp_path]
    client.force_login(make_member(project, "lead"))
    address = f"/projects/{project.pk}/features/settings"
    answer = client.post(address, {"embedding": "sentences", "name": "owner/model", "revision": "main"})
    assert answer.status_code == 422 and "needs its commit" in answer.content.decode()
    assert client.post(address, {"embedding": "sentences", "name": str(tmp_path / "m")}).status_code == 302
    assert Loop.objects.get().embedding == {"name": str(tmp_path / "m")}
    assert client.post(address, {"embedding": "tfidf", "name": "left over"}).status_code == 302
    assert Loop.objects.get().embedding == {}
