"""Pairs of a prompt's responses: the best against the worst or a worse one, with who scored them and how."""

import pytest
from django.urls import reverse

from annotator.models import Comparison, Job, Labeler, Prompt, Response
from annotator.pipeline import models, pairs, versions, work
from annotator.pipeline.work import StepRefused
from tests.builders import make_comparison, make_member, make_project

# Rows are stored beside a heart that beats on a connection of its own, so they are really committed.
pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = ("middling words", "w", "the longest words of all", "short")


@pytest.fixture
def project():
    return make_project()


def prompt_of(project, *texts, name=""):
    number = Prompt.objects.count()
    prompt = Prompt.objects.create(
        project=project,
        external_id=name or f"p{number}",
        turns=[{"role": "user", "content": f"What is rain? {number}"}],
        text_hash=str(number),
    )
    for place, text in enumerate(texts):
        Response.objects.create(prompt=prompt, external_id=f"r{place}", text=text, text_hash=text, model=f"m{place}")
    return prompt


def scorer(project, kind="null_longest"):
    return Labeler.objects.create(project=project, name=kind, kind=kind)


def run(labeler, rule="best_worst", seed=0):
    job = pairs.request(labeler, rule, seed, by=None)
    assert pairs.run_pairs() == 1
    job.refresh_from_db()
    return job


def texts_of(comparison):
    return {comparison.response_a.text, comparison.response_b.text}


@pytest.mark.parametrize(("kind", "best", "worst"), [("null_longest", TEXTS[2], "w"), ("null_shortest", "w", TEXTS[2])])
def test_the_best_meets_the_worst_and_the_comparison_says_why(project, kind, best, worst):
    prompt_of(project, *TEXTS)
    labeler = scorer(project, kind)
    job = run(labeler)
    assert (job.state, job.result) == (Job.State.DONE, {"comparisons": 1})
    made = Comparison.objects.get()
    assert texts_of(made) == {best, worst}
    sign = 1 if kind == "null_longest" else -1
    assert made.metadata == {
        "pair_rule": "best_worst",
        "pair_seed": 0,
        "pair_labeler": kind,
        "pair_version": versions.current_version(labeler).digest,
        "pair_best": f"r{TEXTS.index(best)}",
        "pair_margin": len(TEXTS[2]) - 1,
        "pair_scores": {f"r{place}": sign * len(text) for place, text in enumerate(TEXTS)},
    }


def test_relevance_by_words_scores_a_response_by_itself(project):
    prompt_of(project, "Rain is water.", "No idea at all.", "What rain is? It is water that falls from clouds as rain.")
    assert run(scorer(project, "null_relevance")).result == {"comparisons": 1}
    made = Comparison.objects.get()
    assert made.metadata["pair_best"] == "r2" and made.metadata["pair_scores"]["r1"] == 0
    assert texts_of(made) == {"No idea at all.", "What rain is? It is water that falls from clouds as rain."}


@pytest.mark.slow
def test_a_repeat_makes_nothing_and_what_stands_the_other_way_round_is_not_made_again(project):
    compared = make_comparison(project, a="long words", b="short")
    prompt_of(project, *TEXTS)
    labeler = scorer(project)
    assert run(labeler).result == {"comparisons": 1}
    assert run(labeler).result == {"comparisons": 0}
    assert run(scorer(project, "null_shortest")).result == {"comparisons": 0}
    assert Comparison.objects.exclude(pk=compared.pk).count() == 1


@pytest.mark.parametrize("texts", [("same", "same"), ("1234", "abcd"), ("alone",), ()])
def test_equal_texts_and_equal_scores_never_meet(project, texts):
    prompt_of(project, *texts)
    job = run(scorer(project))
    assert (job.state, Comparison.objects.count()) == (Job.State.DONE, 0)
    assert ("without a better and a worse one" in job.message) == (len(set(texts)) > 1)


@pytest.mark.slow
def test_the_other_is_drawn_by_the_seed_among_those_that_are_worse(project):
    for _number in range(30):
        prompt_of(project, *TEXTS)
    labeler = scorer(project)
    drawn = {}
    for seed in (1, 1, 2):
        Comparison.objects.all().delete()
        run(labeler, "best_random", seed)
        made = Comparison.objects.select_related("response_a", "response_b").order_by("prompt")
        assert all(TEXTS[2] in texts_of(each) for each in made)
        found = [(texts_of(each) - {TEXTS[2]}).pop() for each in made]
        assert drawn.setdefault(seed, found) == found
        assert set(found) == set(TEXTS) - {TEXTS[2]}
        best_is_a = sum(each.response_a.text == TEXTS[2] for each in made)
        assert 5 < best_is_a < 25, "the best is on one side"
    assert drawn[1] != drawn[2]


def test_a_labeler_that_only_compares_or_is_switched_off_makes_none(project):
    prompt_of(project, *TEXTS)
    assert list(pairs.scorers(project)) == []
    job = run(scorer(project, "null_random"))
    assert (job.state, Comparison.objects.count()) == (Job.State.FAILED, 0)
    off = Labeler.objects.create(project=project, name="off", kind="null_longest", enabled=False)
    assert "switched off before its run began" in run(off).message


def test_a_lead_starts_it_on_a_page(client, project):
    labeler = scorer(project)
    client.force_login(make_member(project, "lead"))
    address = reverse("pairs", args=[project.pk])
    assert "No prompt of this project has two different responses" in client.get(address).content.decode()
    prompt_of(project, *TEXTS)
    assert "1 prompt with several responses" in client.get(address).content.decode()
    given = {"labeler": labeler.pk, "rule": "best_random", "seed": 7}
    assert client.post(address, {**given, "rule": "worst_worst"}).status_code == 422
    other = scorer(make_project())
    assert client.post(address, {**given, "labeler": other.pk}).status_code == 422
    answer = client.post(address, given)
    job = Job.objects.get()
    assert answer.url == reverse("job", args=[project.pk, job.pk])
    assert (job.kind, job.queue, job.parameters) == (
        "pairs",
        "",
        {"labeler": labeler.pk, "rule": "best_random", "seed": 7},
    )


def test_models_score_in_their_own_queue_and_a_site_without_them_says_so(client, project, settings):
    labeler = scorer(project, "reward_model")
    settings.MODELS = True
    assert pairs.request(labeler, "best_worst", 0, by=None).queue == work.GPU
    assert pairs.run_pairs() == 0
    settings.MODELS = False
    with pytest.raises(StepRefused, match="without models"):
        pairs.refuse(labeler)
    prompt_of(project, *TEXTS)
    client.force_login(make_member(project, "lead"))
    answer = client.post(reverse("pairs", args=[project.pk]), {"labeler": labeler.pk, "rule": "best_worst", "seed": 0})
    assert (answer.status_code, "MODELS=no" in answer.content.decode()) == (422, True)


@pytest.mark.slow
def test_a_model_scores_responses_and_a_repeat_computes_nothing(project, settings, tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason="models need torch and transformers (MODELS=no)")
    from tests.labelers.test_reward_model import saved

    saved(tmp_path / "reward", ["reward"])
    settings.MODELS, settings.MODEL_FOLDERS = True, [tmp_path]
    labeler = scorer(project, "reward_model")
    versions.new_version(
        labeler, models.parameters(project, labeler.kind, {"model": {"name": str(tmp_path / "reward")}})
    )
    prompts = [prompt_of(project, *TEXTS), prompt_of(project, "yes.", "no, thanks!", "yes.")]
    built, build = [], models.build
    monkeypatch.setattr(models, "build", lambda *given: built.append(build(*given)) or built[-1])
    for made in (2, 0):
        job = pairs.request(labeler, "best_worst", 0, by=None)
        assert pairs.run_model_pairs() == 1
        job.refresh_from_db()
        assert (job.state, job.result) == (Job.State.DONE, {"comparisons": made})
    assert [one.built.computed for one in built] == [6, 0]
    for comparison in Comparison.objects.filter(prompt__in=prompts):
        scores = comparison.metadata["pair_scores"]
        places = (comparison.response_a.external_id, comparison.response_b.external_id)
        assert {scores[place] for place in places} == {max(scores.values()), min(scores.values())}


def test_one_of_each_is_told_as_one():
    told = pairs.Tally(prompts=1, nothing=1, unscored=1).words().split("; ")
    assert (told[0], told[2]) == ("1 prompt with several responses", "1 response could not be scored")
