"""The page of mixtures: scores by fidelity, CSV out and in, trainings asked for; by those who may."""

import csv
import io
import json
from datetime import timedelta

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils.timezone import now

from annotator.models import FeatureSet, Job, MixtureScore
from annotator.pipeline import external, grounds, measure, signals, work
from routing import reward_trainer
from tests.builders import (
    make_comparison,
    make_judgment,
    make_labeler,
    make_member,
    make_mixtures,
    make_person,
    make_project,
)

pytestmark = pytest.mark.django_db

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


@pytest.fixture
def project():
    return make_project(name="Rain")


@pytest.fixture
def mixtures(project):
    features = FeatureSet.objects.create(project=project, version=1, state="ready", names=["length"], digest="x")
    return make_mixtures(project, features, 6)


@pytest.fixture
def lead(project, client):
    client.force_login(make_member(project, "lead"))
    return client


def page(project):
    return reverse("mixtures", args=[project.pk])


def bring(client, project, text, name=""):
    content = text if isinstance(text, bytes) else text.encode()
    file = SimpleUploadedFile("scores.csv", content, content_type="text/csv")
    return client.post(page(project), {"what": "scores", "file": file, "name": name})


def stored():
    rows = MixtureScore.objects.exclude(fidelity="proxy").order_by("mixture__number", "seed")
    return [(row.mixture.key, row.fidelity, row.seed, row.score) for row in rows]


def test_the_file_that_goes_out_comes_back_with_scores(lead, project, mixtures):
    reply = lead.get(reverse("mixtures_sheet", args=[project.pk, 1]))
    rows = list(csv.DictReader(io.StringIO(reply.content.decode())))
    assert [row["mixture"] for row in rows] == [f"M1-{number}" for number in range(1, 7)]
    assert rows[5]["people_share"] == "1.0" and float(rows[5]["cost_share"]) == pytest.approx(1.0)
    assert {"share judge", "length 1/2", "length 2/2", "proxy"} <= set(rows[0]) and rows[0]["score"] == ""
    rows[1]["score"], rows[3]["score"], rows[3]["seed"] = "0.71", "0.74", "2"
    back = io.StringIO()
    writer = csv.DictWriter(back, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    assert bring(lead, project, back.getvalue(), "RewardBench").status_code == 302
    assert stored() == [("M1-2", "external:RewardBench", 0, 0.71), ("M1-4", "external:RewardBench", 2, 0.74)]
    assert MixtureScore.objects.get(score=0.74).detail == {"file": "scores.csv", "line": 5}


def test_a_second_file_replaces_what_it_names_and_leaves_the_rest(lead, project, mixtures):
    bring(lead, project, "mixture,score,name\nM1-1,0.6,a\nM1-2,0.7,a\n")
    bring(lead, project, "\ufeffmixture;score;name\r\nM1-2;0.8;a\r\nM1-2;71.5;b\r\n")
    assert stored() == [("M1-1", "external:a", 0, 0.6), ("M1-2", "external:a", 0, 0.8), ("M1-2", "external:b", 0, 71.5)]


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("mixture\nM1-1\n", 1, "score", "names no such column"),
        ("mixture,score\nM1-1,0.6\nM9-1,0.7\n", 3, "mixture", "“M9-1” is no mixture"),
        ("mixture,score\n3.1,0.6\n", 2, "mixture", "ids look like M3-17"),
        ("mixture,score\nM1-1,0.6\nM1-2,high\n", 3, "score", "“high” is no number"),
        ("mixture,score\nM1-1,nan\n", 2, "score", "no number"),
        ('mixture,score\nM1-1,"0,7"\n', 2, "score", "write 0.713"),
        ("mixture,score,seed\nM1-1,0.6,-1\n", 2, "seed", "no whole number"),
        ("mixture,score,seed\nM1-1,0.6,99999999999\n", 2, "seed", "no whole number"),
        ("mixture,score,name\nM1-1,0.6,=cmd()\n", 2, "name", "beginning with a letter"),
        ("mixture,score\nM1-1,0.6\nM1-1,0.7\n", 3, "seed", "line 2"),
        ("mixture,score\nM1-1,0.6,extra\n", 2, "", "more cells"),
        ("mixture,score\nM1-1,\n", 1, "score", "no row has a score"),
        ("mixture,score\nM1-1,0.6\nM1-2,\udcff0.6\n".encode(errors="surrogateescape"), 3, "", "not UTF-8"),
    ],
)
def test_a_file_with_an_error_changes_nothing_and_says_where_it_is(lead, project, mixtures, text, line, column, words):
    with pytest.raises(external.ScoresInvalid) as refused:
        external.read(project, text if isinstance(text, bytes) else text.encode(), "x.csv")
    (error,) = refused.value.errors
    assert (error["line"], error["column"]) == (line, column) and words in error["reason"]
    reply = bring(lead, project, text)
    assert reply.status_code == 422 and stored() == []
    assert "Nothing was stored" in reply.content.decode()


def test_a_mixture_of_another_project_is_none_of_this_one(lead, project, mixtures):
    other = make_project()
    features = FeatureSet.objects.create(project=other, version=1, state="ready", names=["length"], digest="x")
    make_mixtures(other, features, 9)
    assert bring(lead, project, "mixture,score\nM1-8,0.7\n").status_code == 422
    assert stored() == []


def test_the_page_shows_each_fidelity_with_its_rank_correlation(lead, project, mixtures):
    assert "Nothing but proxies has measured" in lead.get(page(project)).content.decode()
    for number, mixture in enumerate(mixtures):
        MixtureScore.objects.create(
            mixture=mixture, fidelity="trained", score=0.5 + number / 20, detail={"seconds": 12}
        )
    MixtureScore.objects.create(mixture=mixtures[0], fidelity="external:bench", score=70)
    text = lead.get(page(project)).content.decode()
    assert "reward models trained here" in text and "bench" in text and "too few" in text
    assert "1.00" in text and "12 s lately" in text and "M1-6" in text


def test_without_mixtures_the_page_says_what_draws_them(lead, project):
    assert "Training a performance model draws them" in lead.get(page(project)).content.decode()


def test_a_model_that_may_not_be_loaded_is_refused_in_the_form(lead, project, mixtures, settings, tmp_path):
    settings.MODEL_FOLDERS = [tmp_path]
    asked = {"mixtures": 6, "seeds": 1, "epochs": 1, "rate": 1e-4, "batch": 8, "longest": 256}
    for model, revision, words in (
        ("owner/encoder", "main", "needs its commit"),
        ("/etc", "", "no folder that models may be read from"),
        ("", "", "required"),
    ):
        reply = lead.post(page(project), {**asked, "model": model, "revision": revision})
        assert reply.status_code == 422 and words in reply.content.decode()
    assert not Job.objects.exists()
    reply = lead.post(page(project), {**asked, "model": "owner/encoder", "revision": COMMIT})
    job = Job.objects.get()
    assert reply.status_code == 302 and (job.kind, job.queue) == ("measure", "gpu")
    assert len(job.parameters["mixtures"]) == 6 and job.parameters["recipe"]["epochs"] == 1.0
    lead.post(page(project), {**asked, "model": "owner/encoder", "revision": COMMIT})
    assert Job.objects.count() == 1  # asking twice asks once


# The step, with a trainer that only counts


@pytest.fixture
def judged(project, mixtures, monkeypatch):
    """24 comparisons that people and a judge have judged, and a set of mixtures over them."""
    from annotator.pipeline import featurise

    mixtures[0].mixture_set.delete()
    person, judge = make_person(project), make_labeler(project, "judge")
    for number in range(24):
        comparison = make_comparison(project, f"What is {number // 2}?", a=f"It is {number}.", b="I do not know that.")
        make_judgment(comparison, person, level=-1, effective_at=now() - timedelta(minutes=5))
        make_judgment(comparison, judge, p_b=0.3)
    FeatureSet.objects.all().delete()
    featurise.featurise(project)
    project.refresh_from_db()  # prices as the database holds them
    monkeypatch.setattr(grounds, "ENOUGH_JUDGED", 10)
    return make_mixtures(project, project.feature_sets.get(), 5)


@pytest.fixture
def trained(monkeypatch):
    calls = []

    def train(rows, held, recipe, *, seed, beat):
        calls.append((len(rows), len(held), seed))
        beat(1.0)
        detail = {"model": reward_trainer.exact(recipe), "recipe": vars(recipe), "seed": seed, "seconds": 1.0}
        return reward_trainer.Outcome(0.5 + len(calls) / 100, detail)

    monkeypatch.setattr(reward_trainer, "train", train)
    return calls


RECIPE = reward_trainer.Recipe("owner/encoder", COMMIT)


@pytest.mark.slow
def test_trainings_are_stored_one_by_one_and_a_job_goes_on_where_it_stopped(project, judged, trained, monkeypatch):
    job = measure.request(project, RECIPE, mixtures=5, seeds=2)
    store, seen = measure._store, []

    def pause_after_three(*given):
        store(*given)
        seen.append(given)
        if len(seen) == 3:
            assert Job.objects.get(pk=job.pk).pause()

    monkeypatch.setattr(measure, "_store", pause_after_three)
    monkeypatch.setattr(measure, "BEAT", 0.0)
    measure.run_model_measures()
    job.refresh_from_db()
    assert job.state == Job.State.PAUSED and MixtureScore.objects.filter(fidelity="trained").count() == 3
    assert job.resume() and measure.run_model_measures() == 1
    job.refresh_from_db()
    assert job.state == Job.State.DONE and MixtureScore.objects.filter(fidelity="trained").count() == 10
    assert len(trained) == 10 and {seed for _rows, _held, seed in trained} == {0, 1}
    assert all(rows + held == 24 and held for rows, held, _seed in trained)
    assert measure.measure(project, job.parameters["mixtures"], 2, RECIPE) == 0


@pytest.mark.slow
def test_another_recipe_is_another_scale_and_is_trained_anew(project, judged, trained):
    ids = [mixture.pk for mixture in judged]
    evidence = grounds.gather(project, signals.load(project))
    assert measure.measure(project, ids, 1, RECIPE) == 5
    other = reward_trainer.Recipe("owner/encoder", COMMIT, rate=1e-3)
    assert measure.measure(project, ids[:2], 1, other) == 2
    from annotator.pipeline import mixture_sets

    found = mixture_sets.dearer(project, evidence)
    assert len(found.drawn) == 2 and [place for place, _score in found.scores["trained"]] == [0, 1]


@pytest.mark.slow
def test_asking_for_more_keeps_those_that_are_measured(project, judged, trained):
    first = [mixture.pk for mixture in measure.choose(project, 2)]
    measure.measure(project, first, 1, RECIPE)
    assert set(first) < {mixture.pk for mixture in measure.choose(project, 4)}


def test_a_mixture_is_told_on_todays_sources_and_comparisons(project, judged):
    from annotator.pipeline import mixture_sets

    evidence = grounds.gather(project, signals.load(project))
    half = judged[2]
    now_ = mixture_sets.on(evidence, half)
    assert (now_ == 0).sum() == (now_ == 1).sum() == 12
    half.mixture_set.sources = ["people", "gone"]
    assert mixture_sets.on(evidence, half) is None
    only_people = judged[4]
    only_people.mixture_set.sources = ["people", "gone"]
    np.testing.assert_array_equal(mixture_sets.on(evidence, only_people), np.zeros(24))


def test_the_rows_of_a_mixture_are_what_a_trainer_reads(lead, project, judged):
    reply = lead.get(reverse("mixture_rows", args=[project.pk, judged[0].mixture_set.number, 3]))
    rows = [json.loads(line) for line in b"".join(reply.streaming_content).decode().splitlines()]
    assert len(rows) == 24 and {row["meta_source"] for row in rows} == {"people", "judge"}
    assert set(rows[0]) >= {"chosen", "rejected", "margin", "meta_comparison_id"}
    assert rows[0]["chosen"][-1]["content"] == "It is 0." and rows[0]["margin"] == 1.0


@pytest.mark.slow
def test_the_rows_of_a_mixture_need_no_features_and_no_labeler_that_it_does_not_use(lead, project, judged, monkeypatch):
    monkeypatch.setattr(signals, "load", lambda project: pytest.fail("reads the whole project"))
    address = reverse("mixture_rows", args=[project.pk, judged[0].mixture_set.number, 3])
    assert len(b"".join(lead.get(address).streaming_content).splitlines()) == 24
    project.labelers.filter(name="judge").update(name="other")
    reply = lead.get(address, follow=True)
    assert "“judge”, which is not there any more" in reply.content.decode()
    people = reverse("mixture_rows", args=[project.pk, judged[0].mixture_set.number, 5])
    assert len(b"".join(lead.get(people).streaming_content).splitlines()) == 24


@pytest.mark.slow
def test_rows_of_fewer_votes_are_the_first_that_were_given(project, judged):
    from annotator.pipeline import mixture_rows

    mixture = judged[4]
    mixture.mixture_set.sources = ["people:2", "judge"]
    assert list(mixture_rows.rows(project, mixture)) == []  # one person judged each
    other, (first, second) = make_person(project), project.comparisons.order_by("pk")[:2]
    make_judgment(first, other, level=-1, effective_at=now() - timedelta(minutes=4))
    make_judgment(second, other, level=1, effective_at=now() - timedelta(minutes=4))
    (row,) = mixture_rows.rows(project, mixture)  # the second is a tie
    assert row["meta_comparison_id"] == first.external_id and row["margin"] == 1.0
