"""Labelers with models of one's own in a project: real tiny models in folders, judgments, heat maps, stored scores."""

from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="models need torch and transformers (MODELS=no)")

import torch  # noqa: E402

from annotator.models import CachedScore, Gold, HeatMap, Job, Judgment, Labeler, LabelerCall, LabelerVersion  # noqa: E402
from annotator.pipeline import label, models, scope, verdicts, versions, work  # noqa: E402
from annotator.pipeline.work import StepRefused  # noqa: E402
from labelers.exemplars import Exemplar  # noqa: E402
from tests.builders import make_comparison, make_disclosure, make_project  # noqa: E402
from tests.labelers import tiny_models as tiny  # noqa: E402
from tests.labelers.test_reward_model import saved as saved_reward_model  # noqa: E402

COMMIT = "a" * 40
TEXTS = [("because short waves scatter", "yes."), ("no, thanks! " * 5, "42"), ("17 plus 25 makes 42", "why")]


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """Two language models with the same tokens, and a reward model with two attributes."""
    shelf = tmp_path_factory.mktemp("models")
    for name, seed in (("strong", 0), ("weak", 1)):
        tiny.model("chatml", seed).save_pretrained(shelf / name)
        tiny.tokenizer("chatml").save_pretrained(shelf / name)
    saved_reward_model(shelf / "reward", ["helpfulness", "verbosity"])
    return shelf


@pytest.fixture
def project(shelf, settings):
    settings.MODELS, settings.MODEL_FOLDERS = True, [shelf]
    project = make_project()
    for a, b in TEXTS:
        make_comparison(project, prompt="solve 17 plus 25", a=a, b=b)
    return project


def labeler_of(project, kind, **chosen):
    labeler = Labeler.objects.create(project=project, name=f"{kind} {Labeler.objects.count()}", kind=kind)
    versions.new_version(labeler, models.parameters(project, kind, chosen))
    return labeler


def ratio_of(project, shelf, **chosen):
    named = {"strong": {"name": str(shelf / "strong")}, "weak": {"name": str(shelf / "weak")}}
    return labeler_of(project, "density_ratio", **{**named, **chosen})


def run(labeler):
    job = label.request_run(labeler, scope="everything")
    work.work(Job.Kind.LABEL, label.label_job, job.queue)
    job.refresh_from_db()
    return job


@pytest.fixture
def built(monkeypatch):
    """Every labeler that is built during the test, to see what its engines did."""
    made, build = [], models.build
    monkeypatch.setattr(models, "build", lambda *given: made.append(build(*given)) or made[-1])
    return made


def effort(one):
    sides = (one.built.above, one.built.below)
    return [(side.effort.computed, side.loaded.loads) for side in sides]


@pytest.mark.django_db
def test_a_density_ratio_judges_a_project_and_a_second_one_computes_nothing(project, shelf, built):
    job = run(ratio_of(project, shelf))
    assert (job.state, job.message, job.queue) == (Job.State.DONE, "3 comparisons judged", "gpu")
    judgments = Judgment.objects.order_by("comparison")
    assert {judgment.outcome for judgment in judgments} == {"level"}
    assert all(judgment.provenance["models"]["above"].startswith("sha256:") for judgment in judgments)
    assert (LabelerCall.objects.count(), CachedScore.objects.count()) == (0, 12)
    elsewhere = make_project()
    for a, b in TEXTS:
        make_comparison(elsewhere, prompt="solve 17 plus 25", a=b, b=a)
    assert run(ratio_of(elsewhere, shelf, reduction="mean")).state == Job.State.DONE
    assert [effort(one) for one in built] == [[(6, 1), (6, 1)], [(0, 0), (0, 0)]]
    assert all(side.loaded.model is None for one in built for side in (one.built.above, one.built.below))


@pytest.mark.slow
@pytest.mark.django_db
def test_a_heat_map_is_stored_with_the_judgment_and_adds_up_to_its_score(project, shelf):
    run(ratio_of(project, shelf, score_end=False))
    maps = HeatMap.objects.select_related("judgment__comparison__response_a").order_by("judgment__comparison")
    assert len(maps) == 3
    for each in maps:
        above, below = each.judgment.provenance["a"]["log_p"]
        assert sum(value for _start, _end, value in each.side_a) == pytest.approx(above - below, abs=1e-2)
        text = each.judgment.comparison.response_a.text
        assert "".join(text[start:end] for start, end, _value in each.side_a) == text


@pytest.mark.slow
@pytest.mark.django_db
def test_none_is_kept_where_none_was_asked_for(project, shelf):
    run(ratio_of(project, shelf, per_token=False))
    assert (Judgment.objects.count(), HeatMap.objects.count()) == (3, 0)


@pytest.mark.slow
@pytest.mark.django_db
def test_a_reward_model_gives_attributes_and_exactly_equal_scores_are_a_tie(project, shelf, built):
    make_comparison(project, a="yes.", b="yes.")
    chosen = {"model": {"name": str(shelf / "reward")}, "weights": {"helpfulness": 0.65, "verbosity": -0.4}}
    assert run(labeler_of(project, "reward_model", **chosen)).message == "4 comparisons judged"
    judgments = list(Judgment.objects.order_by("comparison"))
    assert [judgment.p_b == 0.5 for judgment in judgments] == [False, False, False, True]
    assert set(judgments[0].attributes) == {"helpfulness", "verbosity"}
    run(labeler_of(project, "reward_model", **{**chosen, "weights": {"helpfulness": 1.0}}))
    assert [one.built.computed for one in built] == [7, 0]
    assert all(one.built.model is None for one in built)


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["implicit_reward", "contrastive_prompts", "follow_up"])
def test_the_other_kinds_judge_too(project, shelf, kind):
    strong, weak = ({"name": str(shelf / name)} for name in ("strong", "weak"))
    chosen = {"policy": strong, "reference": weak} if kind == "implicit_reward" else {"model": strong}
    assert run(labeler_of(project, kind, **chosen)).message == "3 comparisons judged"


@pytest.mark.slow
@pytest.mark.django_db
def test_a_run_stops_between_batches_of_an_engine_and_what_it_computed_stays(project, shelf, monkeypatch):
    monkeypatch.setattr(verdicts, "BEAT", 0.0)
    monkeypatch.setattr("labelers.logprobs.engine.BUDGET", {"cpu": 60})
    job = label.request_run(ratio_of(project, shelf), scope="everything")
    beat = Job.beat

    def cancelled_at_the_third(self, *told):
        if CachedScore.objects.count() >= 3:
            Job.objects.filter(pk=self.pk).update(cancel_requested=True)
        beat(self, *told)

    monkeypatch.setattr(Job, "beat", cancelled_at_the_third)
    work.work(Job.Kind.LABEL, label.label_job, work.GPU)
    job.refresh_from_db()
    assert (job.state, Judgment.objects.count()) == (Job.State.CANCELLED, 0)
    assert 3 <= CachedScore.objects.count() < 12


@pytest.mark.slow
@pytest.mark.django_db
def test_only_a_worker_that_may_load_models_takes_such_a_job(project, shelf, settings):
    job = label.request_run(ratio_of(project, shelf), scope="everything")
    assert label.run_labels() == 0
    job.refresh_from_db()
    assert (job.state, label.run_model_labels()) == (Job.State.WAITING, 1)
    routes = {name: route["queue"] for name, route in settings.CELERY_TASK_ROUTES.items()}
    first = next(pattern for pattern in routes if Path(work.GPU_TASKS[Job.Kind.LABEL]).match(pattern))
    assert routes[first] == "gpu"


@pytest.mark.django_db
def test_a_site_without_models_says_so(project, shelf, settings):
    settings.MODELS = False
    labeler = ratio_of(project, shelf)
    job = run(labeler)
    assert (job.state, job.queue) == (Job.State.FAILED, "")
    assert "started without models (MODELS=no)" in job.message
    with pytest.raises(StepRefused, match="without models"):
        scope.estimate(labeler, project.comparisons.all())


# What may be named


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"name": "/etc"}, "lies in no folder"),
        ({"name": "{shelf}"}, "lies in no folder"),
        ({"name": "{shelf}/../../etc"}, "lies in no folder"),
        ({"name": "{shelf}/link"}, "lies in no folder"),
        ({"name": "./strong"}, "lies in no folder"),
        ({"name": "~/models"}, "lies in no folder"),
        ({"name": "tests/labelers", "revision": COMMIT}, "names no model"),
        ({"name": "owner/../etc", "revision": COMMIT}, "names no model"),
        ({"name": "https://example.org/model", "revision": COMMIT}, "names no model"),
        ({"name": "", "revision": COMMIT}, "names no model"),
        ({"name": "owner/model"}, "needs its commit"),
        ({"name": "owner/model", "revision": "main"}, "needs its commit"),
        ({"name": "owner/model", "revision": COMMIT, "adapter": "owner/lora"}, "needs its commit"),
        ({"name": "owner/model", "revision": COMMIT, "adapter": "/etc"}, "lies in no folder"),
    ],
)
def test_a_lead_can_name_no_other_folder_and_nothing_that_may_change(shelf, settings, model, reason):
    settings.MODEL_FOLDERS = [shelf]
    if not (shelf / "link").is_symlink():
        (shelf / "link").symlink_to("/etc")
    with pytest.raises(StepRefused, match=reason):
        models.checked({part: value.replace("{shelf}", str(shelf)) for part, value in model.items()})


def test_what_may_be_named_loses_its_empty_parts(shelf, settings):
    settings.MODEL_FOLDERS = [shelf]
    assert models.checked({"name": str(shelf / "weak"), "revision": "", "template": ""}) == {
        "name": str(shelf / "weak")
    }
    pinned = {"name": "owner/model", "revision": COMMIT}
    assert models.checked(pinned) == pinned
    assert set(models.folders()) == {str(shelf / name) for name in ("strong", "weak", "reward")}


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["density_ratio", "reward_model"])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_weights_that_are_not_safetensors_are_refused(project, shelf, settings, tmp_path, kind, name):
    """A pickle runs whatever code it holds: this one would leave a file."""
    folder, source = tmp_path / "pickled", shelf / ("strong" if kind == "density_ratio" else "reward")
    folder.mkdir()
    for file in source.glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    for file in source.glob("*.jinja"):
        (folder / file.name).write_bytes(file.read_bytes())
    trace = tmp_path / "ran"
    torch.save(Trap(trace), folder / name)
    settings.MODEL_FOLDERS = [shelf, tmp_path]
    named = {"name": str(folder)}
    chosen = (
        {"strong": named, "weak": named} if kind == "density_ratio" else {"model": named, "weights": {"helpfulness": 1}}
    )
    job = run(labeler_of(project, kind, **chosen))
    assert (job.state, Judgment.objects.count(), trace.exists()) == (Job.State.FAILED, 0, False)
    assert "safetensors" in job.message


class Trap:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


@pytest.mark.slow
@pytest.mark.django_db
def test_files_exchanged_under_a_version_that_has_judged_are_refused(project, shelf, settings, tmp_path):
    import shutil

    settings.MODEL_FOLDERS = [shelf, tmp_path]
    shutil.copytree(shelf / "weak", tmp_path / "weak")
    labeler = ratio_of(project, shelf, weak={"name": str(tmp_path / "weak")})
    assert run(labeler).state == Job.State.DONE
    shutil.copyfile(shelf / "strong" / "model.safetensors", tmp_path / "weak" / "model.safetensors")
    make_comparison(project)
    job = run(labeler)
    assert (job.state, Judgment.objects.count()) == (Job.State.FAILED, 3)
    assert "are not those that this version judged with" in job.message
    changed = {**labeler.version.parameters, "weak": {"name": str(tmp_path / "weak"), "revision": "exchanged"}}
    versions.new_version(labeler, models.parameters(project, "density_ratio", changed))
    assert run(labeler).message == "4 comparisons judged"


# Exemplars and domains


def gold(project, better, use="tutorial", **texts):
    return Gold.objects.create(project=project, comparison=make_comparison(project, **texts), use=use, better=better)


@pytest.mark.django_db
def test_exemplars_are_gold_by_reference_and_never_hidden_gold(project, shelf):
    gold(project, ["a"], use="hidden", prompt="solve 3 plus 4", a="7", b="8")
    known = gold(project, ["b"], prompt="solve 1 plus 1", a="11", b="2")
    gold(project, ["tie"], prompt="solve 2 plus 2")
    gold(project, ["a", "tie"], prompt="solve 2 plus 3")
    references = models.gold_references(project, 5)
    assert [each["gold"] for each in references] == [known.pk]
    assert models.exemplars(project, references) == [Exemplar("solve 1 plus 1", "2", "11")]
    Gold.objects.filter(pk=known.pk).update(use=Gold.Use.HIDDEN)
    with pytest.raises(work.StepRefused, match="has changed"):
        models.exemplars(project, references)
    assert models.gold_references(make_project(), 5) == []


@pytest.mark.slow
@pytest.mark.django_db
def test_a_cdr_ratio_shows_an_exemplar_of_the_projects_gold(project, shelf):
    known = gold(project, ["b"], prompt="solve 1 plus 1", a="11", b="2")
    labeler = ratio_of(project, shelf, preset="cdr", exemplars=5)
    digest = models.exemplar_of(known).digest
    assert labeler.version.parameters["exemplars"] == [{"gold": known.pk, "digest": digest}]
    assert run(labeler).state == Job.State.DONE
    judgments = Judgment.objects.exclude(comparison=known.comparison)
    assert {(each.provenance["a"]["domain"], each.provenance["a"]["exemplar"]) for each in judgments} == {
        ("reasoning", digest)
    }


@pytest.mark.django_db
def test_gold_that_changed_stops_a_version_that_shows_it(project, shelf):
    known = gold(project, ["b"], prompt="solve 1 plus 1", a="11", b="2")
    labeler = ratio_of(project, shelf, preset="cdr", exemplars=1)
    Gold.objects.filter(pk=known.pk).update(better=["a"])
    job = run(labeler)
    assert (job.state, Judgment.objects.count()) == (Job.State.FAILED, 0)
    assert f"Known answer {known.pk}, an exemplar of this labeler, has changed" in job.message


@pytest.mark.django_db
def test_what_is_missing_or_wrong_is_said_before_anything_is_stored(project, shelf):
    with pytest.raises(StepRefused, match="Weak model is missing"):
        models.parameters(project, "density_ratio", {"strong": {"name": str(shelf / "strong")}})
    assert not LabelerVersion.objects.exists()


@pytest.mark.parametrize(
    "router",
    [
        {"base_url": "https://93.184.215.14/v1", "model": "m"},
        {"base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key_env": "KEY"},
    ],
)
@pytest.mark.django_db
def test_who_says_what_prompts_are_about_stands_where_nobody_sends_a_bill(project, shelf, settings, router):
    settings.LABELER_PRIVATE_ENDPOINTS = True
    with pytest.raises(StepRefused, match="outside the budget"):
        ratio_of(project, shelf, preset="cdr", router=router)
    labeler = ratio_of(project, shelf, preset="cdr", router={"base_url": "http://127.0.0.1:9/v1", "model": "m"})
    labeler.versions.update(parameters={**labeler.version.parameters, "router": router})
    with pytest.raises(StepRefused, match="outside the budget"):
        models.build(labeler.version)


# Models behind a server


def served_ratio(project, shelf, server):
    """The strong model behind a scoring server, the weak one loaded here."""
    strong = {"name": str(shelf / "strong"), "backend": "vllm", "base_url": server}
    return ratio_of(project, shelf, strong=strong, per_token=False)


AWAY = "http://127.0.0.1:9"


@pytest.mark.django_db
def test_no_text_leaves_for_a_server_without_a_leads_word(project, shelf):
    job = run(served_ratio(project, shelf, AWAY))
    assert (job.state, Judgment.objects.count()) == (Job.State.FAILED, 0)
    assert "Texts may not leave for 127.0.0.1:9" in job.message


@pytest.mark.slow  # it is asked again and again, later each time
@pytest.mark.django_db
def test_a_server_that_is_away_is_named(project, shelf):
    make_disclosure(project, AWAY)
    labeler = served_ratio(project, shelf, AWAY)
    job = run(labeler)
    assert (job.state, Judgment.objects.count()) == (Job.State.FAILED, 0)
    assert f"The models of {labeler}" in job.message
    assert "cannot score" in job.message


@pytest.mark.parametrize(
    ("part", "reason"),
    [({"tokenizer": "/etc"}, "lies in no folder"), ({"device": "cuda:7"}, "has no part named device")],
)
def test_a_server_is_no_way_around_what_may_be_read(shelf, settings, part, reason):
    settings.MODEL_FOLDERS = [shelf]
    served = {"name": str(shelf / "strong"), "backend": "vllm", "base_url": "http://127.0.0.1:9"}
    with pytest.raises(StepRefused, match=reason):
        models.checked({**served, **part})
