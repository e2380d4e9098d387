"""End to end: judged comparisons → mixtures → export → TRL's RewardTrainer → scores → stack → performance model."""

import os
from decimal import Decimal

import numpy as np
import pytest

from annotator.models import Job, Mixture, MixtureScore
from annotator.pipeline import aggregate, featurise, grounds, measure, mixture_sets, retrain, signals, start, work
from routing import performance
from routing.reward_trainer import Recipe
from tests.builders import make_comparison, make_judgment, make_labeler, make_person, make_user
from tests.routing import tiny_encoder

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

GOOD, BAD = "Yes , this is right and short", "Well , it depends on many things , perhaps one might say so"


@pytest.fixture
def project(monkeypatch):
    """150 comparisons of 50 prompts: people judged 120, a recorded judge all, mostly wrong where code is asked."""
    monkeypatch.setattr(work, "nudge", lambda task: None)
    lead = make_user("walker")
    made = start.create_project("Walk", lead=lead, preset="plain", price_per_judgment=Decimal(1), votes=1)
    person, judge = make_person(made), make_labeler(made, "judge", price_per_call=Decimal("0.01"))
    rng = np.random.default_rng(7)
    for number in range(150):
        is_code = number % 2 == 0
        b_is_good = bool(rng.integers(2))
        a, b = (BAD, GOOD) if b_is_good else (GOOD, BAD)
        comparison = make_comparison(
            made, f"Write code x{number % 50}" if is_code else f"What is {number % 50} ?", a=a, b=b
        )
        if number < 120:
            make_judgment(comparison, person, level=1 if b_is_good else -1)
        right = rng.random() < (0.1 if is_code else 0.8)
        make_judgment(comparison, judge, p_b=0.8 if b_is_good == right else 0.2)
    featurise.featurise(made)
    aggregate.aggregate()
    return made


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(retrain, "MIXTURES", 40)
    monkeypatch.setattr(retrain, "PUBLISHED", 20)
    monkeypatch.setitem(performance.KINDS, "gaussian_process", lambda column, seed: performance.Ridge())
    monkeypatch.setitem(performance.KINDS, "lightgbm", lambda column, seed: performance.LightGBM(trees=20, seed=seed))


@pytest.fixture
def encoder(tmp_path, settings):
    settings.MODEL_FOLDERS = [tmp_path]
    texts = [GOOD, BAD, "Write code What is ?", *(f"x{number} {number}" for number in range(50))]
    return tiny_encoder.save(tmp_path / "encoder", texts)


def test_from_judgments_to_a_performance_model_of_two_fidelities(project, small, encoder):
    first = retrain.retrain(project)
    assert first.metrics["fidelities"]["target"] == "proxy" and first.metrics["mixture_set"] == 1

    recipe = Recipe(encoder, rate=3e-3, epochs=3)
    asked = measure.request(project, recipe, mixtures=7, seeds=1)
    assert asked.queue == work.GPU and measure.run_measures() == 0  # for workers that may hold a model
    assert measure.run_model_measures() == 1
    job = Job.objects.get(pk=asked.pk)
    assert job.state == Job.State.DONE, job.message
    scores = MixtureScore.objects.filter(fidelity=MixtureScore.TRAINED).select_related("mixture__mixture_set")
    assert scores.count() == 7 and {row.mixture.mixture_set.number for row in scores} == {1}
    detail = scores[0].detail
    assert (
        detail["model"].startswith("encoder@sha256:") and detail["recipe"]["rate"] == 3e-3 and detail["versions"]["trl"]
    )

    # A reward model knows what its mixture knew: the judge alone, wrong more often than not, is no teacher.
    evidence = grounds.gather(project, signals.load(project))
    people = {row.score for row in scores if _people_share(row.mixture, evidence) > 0.8}
    few = {row.score for row in scores if _people_share(row.mixture, evidence) < 0.2}
    assert people and few and min(people) > max(few)

    second = retrain.retrain(project)
    told = second.metrics["fidelities"]
    assert told["target"] == "trained" and told["trained"]["mixtures"] == 7
    assert told["trained"]["low"] < told["trained"]["spearman"] <= told["trained"]["high"]
    assert told["trained"]["spearman"] > 0 and "7 mixtures" in told["text"]
    assert second.metrics["sampling_error"] > first.metrics["sampling_error"]  # what the stack leaves open is in it
    learnt = retrain.load(second)
    assert learnt.chosen.kind_ == second.kind and learnt.paper.gains(evidence.members).shape == (120,)

    # Asked again it trains nothing that is there, and more seeds only what is missing.
    again = measure.request(project, recipe, mixtures=7, seeds=1)
    assert again.pk != asked.pk


def _people_share(mixture, evidence):
    assignment = mixture_sets.on(evidence, mixture)
    return float((assignment == 0).mean())


def test_what_the_trainer_reads_is_what_an_export_of_the_mixture_holds(project, small):
    retrain.retrain(project)
    evidence = grounds.gather(project, signals.load(project))
    mixture = Mixture.objects.get(mixture_set__number=1, number=2)  # the second source alone
    rows = list(mixture_sets.training_rows(project, evidence, mixture_sets.on(evidence, mixture)))
    assert {row["meta_source"] for row in rows} == {"judge"} and len(rows) == 120
    assert rows[0]["chosen"][-1]["role"] == "assistant" and rows[0]["margin"] == pytest.approx(0.6)
    unseen = evidence.held_out(0)
    kept = list(mixture_sets.training_rows(project, evidence, mixture_sets.on(evidence, mixture), but=unseen))
    held = mixture_sets.held_out(project, evidence, unseen)
    trained_on = {str(row["chosen"][:-1]) for row in kept}
    assert len(kept) + len(held) == 120 and not trained_on & {str(each.a[:-1]) for each in held}
